// SPDX-License-Identifier: BSD-2-Clause
//! The interrupt controller's corners, on one vCPU.
//!
//! With interrupts masked in `PSTATE`, what is delivered is seen by reading `GICC_IAR`.

use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::timer;

use super::Checker;
use crate::controller::Controller;

/// The first SPI that is used here, and how many there are.
pub(super) const FIRST: u32 = 40;
const SPIS: u32 = 40;
/// `GICC_RPR` when nothing is active.
const IDLE: u32 = 0xff;
/// More than any CPU interface has list registers.
const MANY: u32 = 20;
/// As many as every CPU interface has list registers.
const FEW: u32 = 4;

pub(super) fn acknowledge() -> u32 {
    gic::read_interface(cpu_interface::IAR)
}

pub(super) fn end(acknowledged: u32) {
    gic::write_interface(cpu_interface::EOIR, acknowledged);
}

/// Enables `intid` for the vCPUs in `targets`, edge-triggered.
pub(super) fn set_up(intid: u32, priority: u8, targets: u8) {
    gic::set_byte(distributor::IPRIORITYR, intid, priority);
    if intid >= 32 {
        gic::set_byte(distributor::ITARGETSR, intid, targets);
        let offset = distributor::ICFGR + (intid as usize / 16) * 4;
        gic::write(offset, gic::read(offset) | 2 << (intid % 16 * 2));
    }
    gic::set_bit(distributor::ISENABLER, intid);
}

/// Takes and ends whatever a case that failed has left behind.
pub(super) fn clean_up() {
    gic::write(distributor::CTLR, 1);
    for intid in FIRST..FIRST + SPIS {
        gic::set_bit(distributor::ICENABLER, intid);
        gic::set_bit(distributor::ICPENDR, intid);
    }
    gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0 | gic::EOI_MODE);
    for intid in (0..16).chain(FIRST..FIRST + SPIS) {
        if gic::bit(distributor::ISACTIVER, intid) {
            end(intid);
            gic::write_interface(cpu_interface::DIR, intid);
        }
    }
    gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0);
    for _ in 0..MANY {
        let acknowledged = acknowledge();
        if acknowledged == gic::SPURIOUS {
            break;
        }
        end(acknowledged);
    }
}

pub(super) fn pend(intid: u32) {
    gic::set_bit(distributor::ISPENDR, intid);
}

pub(super) fn switch(on: bool) {
    gic::write(distributor::CTLR, u32::from(on));
}

pub(super) fn expect_taken(checker: &mut Checker, expected: u32) {
    let acknowledged = expect_acknowledged(checker, expected);
    if acknowledged != gic::SPURIOUS {
        end(acknowledged);
    }
}

/// Acknowledges `expected`, or [`gic::SPURIOUS`]; what it was.
fn expect_acknowledged(checker: &mut Checker, expected: u32) -> u32 {
    let acknowledged = match expected {
        gic::SPURIOUS => acknowledge(),
        _ => checker.controller.acknowledge(),
    };
    let shown = checker.controller.shown(acknowledged);
    checker.expect("GICC_IAR", checker.controller.shown(expected), shown);
    acknowledged
}

fn expect_active(checker: &mut Checker, active: bool, intid: u32) {
    let read = || gic::bit(distributor::ISACTIVER, intid);
    let found = checker.controller.patiently(read, |found| found == active);
    checker.expect(
        format_args!("GICD_ISACTIVER of {intid}"),
        u8::from(active),
        u8::from(found),
    );
}

fn expect_running(checker: &mut Checker, priority: u32) {
    checker.expect(
        "GICC_RPR",
        priority,
        gic::read_interface(cpu_interface::RPR),
    );
}

/// An SGI is delivered once for each vCPU that sent it, and knows which.
pub(super) fn sgi_source(checker: &mut Checker) {
    const SGI: u32 = 5;
    set_up(SGI, 0x80, 1);
    gic::send(SGI, 1);
    expect_taken(checker, SGI);
    // All at once, of which one is taken back.
    let senders: u8 = (1 << checker.vcpus) - 1;
    switch(false);
    gic::set_byte(distributor::SPENDSGIR, SGI, senders);
    checker.expect(
        "GICD_SPENDSGIR",
        senders,
        gic::byte(distributor::SPENDSGIR, SGI),
    );
    let withdrawn = (senders + 1) >> 1;
    gic::set_byte(distributor::CPENDSGIR, SGI, withdrawn);
    let left = senders & !withdrawn;
    checker.expect(
        "GICD_CPENDSGIR",
        left,
        gic::byte(distributor::CPENDSGIR, SGI),
    );
    switch(true);
    let mut seen = 0;
    for _ in 0..left.count_ones() {
        let acknowledged = checker.controller.acknowledge();
        checker.expect("GICC_IAR", SGI, acknowledged & gic::SPURIOUS);
        seen |= 1_u8 << (acknowledged >> 10);
        end(acknowledged);
    }
    if checker.controller == Controller::Physical {
        checker.expect("sources", left, seen);
    }
    expect_taken(checker, gic::SPURIOUS);
    // To all but itself: not to itself (IHI 0048B, 4.3.15).
    gic::write(distributor::SGIR, 1 << 24 | SGI);
    expect_taken(checker, gic::SPURIOUS);
    // To itself only, whatever the target list says.
    gic::write(distributor::SGIR, 2 << 24 | SGI);
    expect_taken(checker, SGI);
}

/// Priorities decide, also when they change while interrupts are pending; then numbers.
pub(super) fn priorities(checker: &mut Checker) {
    switch(false);
    for (intid, priority) in [(FIRST, 0xa0), (FIRST + 1, 0x80), (FIRST + 2, 0xa0)] {
        set_up(intid, priority, 1);
        pend(intid);
    }
    gic::set_byte(distributor::IPRIORITYR, FIRST + 2, 0x40);
    gic::set_byte(distributor::IPRIORITYR, FIRST + 1, 0xa0);
    switch(true);
    checker.expect(
        "GICC_HPPIR",
        FIRST + 2,
        gic::read_interface(cpu_interface::HPPIR),
    );
    expect_taken(checker, FIRST + 2);
    // Of equal priorities, the lower number.
    expect_taken(checker, FIRST);
    expect_taken(checker, FIRST + 1);
    expect_taken(checker, gic::SPURIOUS);
}

/// More pending than there are list registers, delivered in order of priority.
pub(super) fn many_pending(checker: &mut Checker) {
    switch(false);
    for number in 0..MANY {
        set_up(FIRST + number, nested_priority(number), 1);
        pend(FIRST + number);
    }
    switch(true);
    for number in (0..MANY).rev() {
        expect_taken(checker, FIRST + number);
    }
    expect_taken(checker, gic::SPURIOUS);
}

/// However many are pending, one that is more urgent than all of them comes next.
pub(super) fn urgent(checker: &mut Checker) {
    for number in 0..MANY {
        set_up(FIRST + number, 0xa0, 1);
        pend(FIRST + number);
    }
    let urgent = FIRST + MANY;
    set_up(urgent, 0x40, 1);
    pend(urgent);
    expect_taken(checker, urgent);
    let mut taken = 0_u32;
    for _ in 0..MANY {
        let acknowledged = checker.controller.acknowledge();
        if (FIRST..urgent).contains(&acknowledged) {
            taken |= 1 << (acknowledged - FIRST);
            end(acknowledged);
        }
    }
    checker.expect("interrupts taken", (1 << MANY) - 1, taken);
    expect_taken(checker, gic::SPURIOUS);
}

/// Interrupts that interrupt each other, as many as the controller can have active.
pub(super) fn many_active(checker: &mut Checker) {
    let count = most_active(checker);
    for number in 0..count {
        let intid = FIRST + number;
        set_up(intid, nested_priority(number), 1);
        pend(intid);
        expect_acknowledged(checker, intid);
        expect_running(checker, u32::from(nested_priority(number)));
    }
    for number in (0..count).rev() {
        let intid = FIRST + number;
        expect_active(checker, true, intid);
        end(intid);
        expect_active(checker, false, intid);
    }
    expect_running(checker, IDLE);
    expect_taken(checker, gic::SPURIOUS);
}

/// One more than fit into list registers is not lost: it comes when another has ended.
pub(super) fn too_many_active(checker: &mut Checker) {
    for number in 0..MANY {
        let intid = FIRST + number;
        set_up(intid, nested_priority(number), 1);
        pend(intid);
        // Taken or not, that depends on the list registers.
        let _ = acknowledge();
    }
    let mut seen = 0_u32;
    for _ in 0..2 * MANY {
        let active = (FIRST..FIRST + MANY).rev().find(|intid| {
            let number = intid - FIRST;
            gic::bit(distributor::ISACTIVER, *intid)
                && gic::read_interface(cpu_interface::RPR) == u32::from(nested_priority(number))
        });
        match active {
            Some(intid) => {
                seen |= 1 << (intid - FIRST);
                end(intid);
            }
            None => {
                let _ = acknowledge();
            }
        }
    }
    checker.expect("interrupts taken", (1 << MANY) - 1, seen);
    expect_running(checker, IDLE);
}

fn most_active(checker: &Checker) -> u32 {
    match checker.controller {
        Controller::Physical => MANY,
        Controller::Emulated => FEW,
    }
}

/// The higher `number`, the more urgent; [`MANY`] of them fit.
fn nested_priority(number: u32) -> u8 {
    (0xf0 - number * 8).to_le_bytes()[0]
}

/// With `EOImode` 1 interrupts are deactivated in any order, and none comes again before.
pub(super) fn split_end(checker: &mut Checker) {
    gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0 | gic::EOI_MODE);
    for number in 0..FEW {
        let intid = FIRST + number;
        set_up(intid, nested_priority(number), 1);
        pend(intid);
        expect_acknowledged(checker, intid);
        end(intid);
        // Still active: pending again, it does not come.
        pend(intid);
        expect_acknowledged(checker, gic::SPURIOUS);
    }
    expect_running(checker, IDLE);
    for number in [3, 0, 2, 1] {
        let intid = FIRST + number;
        expect_active(checker, true, intid);
        gic::write_interface(cpu_interface::DIR, intid);
        expect_acknowledged(checker, intid);
        end(intid);
        gic::write_interface(cpu_interface::DIR, intid);
    }
    expect_acknowledged(checker, gic::SPURIOUS);
}

/// What is switched off is not delivered, and not lost.
pub(super) fn switches(checker: &mut Checker) {
    set_up(FIRST, 0x80, 1);
    switch(false);
    pend(FIRST);
    expect_taken(checker, gic::SPURIOUS);
    gic::set_bit(distributor::ICENABLER, FIRST);
    switch(true);
    expect_taken(checker, gic::SPURIOUS);
    let pending = gic::bit(distributor::ISPENDR, FIRST);
    checker.expect("GICD_ISPENDR while disabled", 1, u8::from(pending));
    gic::write_interface(cpu_interface::PMR, 0x80);
    gic::set_bit(distributor::ISENABLER, FIRST);
    expect_taken(checker, gic::SPURIOUS);
    gic::write_interface(cpu_interface::PMR, 0xf8);
    expect_taken(checker, FIRST);
    // Taken back before it was delivered.
    gic::set_bit(distributor::ICENABLER, FIRST);
    pend(FIRST);
    gic::set_bit(distributor::ICPENDR, FIRST);
    gic::set_bit(distributor::ISENABLER, FIRST);
    expect_taken(checker, gic::SPURIOUS);
}

/// `GICD_ICACTIVERn` ends an interrupt that the guest has taken.
pub(super) fn deactivated(checker: &mut Checker) {
    set_up(FIRST, 0x80, 1);
    pend(FIRST);
    expect_acknowledged(checker, FIRST);
    expect_active(checker, true, FIRST);
    gic::set_bit(distributor::ICACTIVER, FIRST);
    expect_active(checker, false, FIRST);
    end(FIRST);
    expect_running(checker, IDLE);
    pend(FIRST);
    expect_taken(checker, FIRST);
}

/// A timer that is due while its interrupt is disabled disturbs nobody, and is delivered when it is enabled.
pub(super) fn timer_masked(checker: &mut Checker) {
    gic::set_byte(distributor::IPRIORITYR, gic::TIMER_INTID, 0x20);
    gic::set_bit(distributor::ICENABLER, gic::TIMER_INTID);
    let undisturbed = time_of_work();
    timer::set_compare(timer::counter());
    timer::set_control(timer::ENABLE);
    let disabled = time_of_work();
    expect_acknowledged(checker, gic::SPURIOUS);
    gic::set_bit(distributor::ISENABLER, gic::TIMER_INTID);
    // Now it waits behind PSTATE only.
    let masked = time_of_work();
    for (name, time) in [("disabled", disabled), ("masked", masked)] {
        // An exit for each instruction would make it thousands of times slower.
        if time > undisturbed * 50 + timer::ticks(20_000) {
            checker.fail(format_args!(
                "work took {time} ticks while the timer was {name}, else {undisturbed}"
            ));
        }
    }
    expect_acknowledged(checker, gic::TIMER_INTID);
    timer::set_control(0);
    end(gic::TIMER_INTID);
    expect_taken(checker, gic::SPURIOUS);
}

/// Ticks that a million turns of a loop take.
fn time_of_work() -> u64 {
    let start = timer::counter();
    for turn in 0..1_000_000_u32 {
        core::hint::black_box(turn);
    }
    timer::counter() - start
}
