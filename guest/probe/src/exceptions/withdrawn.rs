// SPDX-License-Identifier: BSD-2-Clause
//! Interrupts that change while they are pending, before anybody has taken them.
//!
//! With interrupts masked in `PSTATE`, so that a controller that is emulated has given them to a list register already.

use guest_runtime::console::{Console, UART};
use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::is_off;
use guest_runtime::{mmio, println, timer};

use super::Checker;
use super::interrupts::{FIRST, expect_taken, pend, set_up, switch};

/// The console's interrupt, whose line is a level, and two of its registers (Arm DDI 0183, 3.3).
pub(super) const CONSOLE: u32 = 33;
const UARTIMSC: usize = UART + 0x38;
const UARTICR: usize = UART + 0x44;
/// `UARTIMSC.TXIM`: there is always room to send.
const TRANSMIT: u32 = 1 << 5;

/// Makes the console's line high, or low.
pub(super) fn raise_console(high: bool) {
    if high {
        // Something has been sent, so that there was room for more.
        Console::send(b' ');
    }
    mmio::write(UARTIMSC, if high { TRANSMIT } else { 0 });
}

fn expect_pending(checker: &mut Checker, intid: u32) {
    let pending = gic::read_interface(cpu_interface::HPPIR) & gic::SPURIOUS;
    checker.expect("GICC_HPPIR", intid, pending);
}

/// Disabled, cleared, switched off, set active: it does not arrive; undone, it does if it still is pending.
pub(super) fn withdrawn(checker: &mut Checker) {
    type Change = fn();
    let changes: [(&str, Change, Change, bool); 4] = [
        (
            "GICD_ICENABLER",
            || gic::set_bit(distributor::ICENABLER, FIRST),
            || gic::set_bit(distributor::ISENABLER, FIRST),
            true,
        ),
        ("GICD_CTLR", || switch(false), || switch(true), true),
        (
            "GICD_ISACTIVER",
            || gic::set_bit(distributor::ISACTIVER, FIRST),
            || gic::set_bit(distributor::ICACTIVER, FIRST),
            true,
        ),
        (
            "GICD_ICPENDR",
            || gic::set_bit(distributor::ICPENDR, FIRST),
            || (),
            false,
        ),
    ];
    for (name, change, undo, stays_pending) in changes {
        set_up(FIRST, 0x80, 1);
        pend(FIRST);
        expect_pending(checker, FIRST);
        change();
        let found = gic::read_interface(cpu_interface::IAR);
        checker.expect(format_args!("GICC_IAR after {name}"), gic::SPURIOUS, found);
        undo();
        if stays_pending {
            expect_taken(checker, FIRST);
        }
        expect_taken(checker, gic::SPURIOUS);
    }
}

/// What is made pending twice before it is taken is taken once.
pub(super) fn raised_again(checker: &mut Checker) {
    set_up(FIRST, 0x80, 1);
    pend(FIRST);
    expect_pending(checker, FIRST);
    pend(FIRST);
    expect_taken(checker, FIRST);
    expect_taken(checker, gic::SPURIOUS);
}

/// The priority of what is pending decides, as it is when it is taken.
pub(super) fn reprioritised(checker: &mut Checker) {
    for intid in [FIRST, FIRST + 1] {
        set_up(intid, 0x80, 1);
        pend(intid);
    }
    expect_pending(checker, FIRST);
    gic::set_byte(distributor::IPRIORITYR, FIRST, 0xa0);
    expect_taken(checker, FIRST + 1);
    gic::write_interface(cpu_interface::PMR, 0x90);
    expect_taken(checker, gic::SPURIOUS);
    gic::set_byte(distributor::IPRIORITYR, FIRST, 0x80);
    expect_taken(checker, FIRST);
    gic::write_interface(cpu_interface::PMR, 0xf8);
}

/// A level that falls takes its interrupt along.
pub(super) fn line_fallen(checker: &mut Checker) {
    gic::set_byte(distributor::IPRIORITYR, CONSOLE, 0x80);
    gic::set_byte(distributor::ITARGETSR, CONSOLE, 1);
    gic::set_bit(distributor::ISENABLER, CONSOLE);
    for (name, register, lower) in [("UARTIMSC", UARTIMSC, 0), ("UARTICR", UARTICR, TRANSMIT)] {
        raise_console(true);
        expect_pending(checker, CONSOLE);
        mmio::write(register, lower);
        let found = gic::read_interface(cpu_interface::IAR);
        checker.expect(format_args!("GICC_IAR after {name}"), gic::SPURIOUS, found);
        raise_console(false);
    }
    gic::set_bit(distributor::ICENABLER, CONSOLE);
    println!("");
}

/// So does a timer that is set anew, or masked.
pub(super) fn timer_set_anew(checker: &mut Checker) {
    gic::set_byte(distributor::IPRIORITYR, gic::TIMER_INTID, 0x20);
    gic::set_bit(distributor::ISENABLER, gic::TIMER_INTID);
    for (name, masked) in [("set anew", false), ("masked", true)] {
        timer::set_compare(timer::counter());
        timer::set_control(timer::ENABLE);
        let pending = || gic::read_interface(cpu_interface::HPPIR) == gic::TIMER_INTID;
        if !checker.controller.patiently(pending, |found| found) {
            checker.fail("the timer's interrupt is not pending");
        }
        if masked {
            timer::set_control(timer::ENABLE | timer::MASKED);
        } else {
            timer::set_compare(timer::counter() + timer::ticks(1_000_000_000));
        }
        // An emulated controller learns of it when the guest has something to say.
        let _ = is_off(0);
        let found = gic::read_interface(cpu_interface::IAR);
        checker.expect(format_args!("GICC_IAR, {name}"), gic::SPURIOUS, found);
    }
    timer::set_control(0);
}
