// SPDX-License-Identifier: BSD-2-Clause
//! What takes a second vCPU: targets of shared interrupts, and switching it off and on.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::{is_off, start_vcpu, stop_vcpu, wait_for_interrupt};
use guest_runtime::{println, timer};

use super::interrupts::{acknowledge, end, set_up};
use super::withdrawn::{CONSOLE, raise_console};
use super::{Checker, reset_interface};

/// How long vCPU 0 waits for vCPU 1, in microseconds of the guest's clock, which runs while QEMU does not get to
/// run: less than a test waits for a line, so that this says what is wrong.
const TIMEOUT: u64 = 30_000_000;
/// The interrupt that makes vCPU 1 switch itself off.
const STOP: u32 = 15;
/// The SPI that is sent here and there.
const SPI: u32 = 70;

/// What vCPU 1 took last; written by it.
static TAKEN: AtomicU32 = AtomicU32::new(0);
/// Interrupts that vCPU 1 took; written by it.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// How often vCPU 1 was started; written by it.
static STARTS: AtomicUsize = AtomicUsize::new(0);

/// vCPU 1: takes interrupts and says which, until it is told to switch itself off.
pub(super) fn serve(vcpu: usize) -> ! {
    reset_interface();
    let own: u64;
    // SAFETY: reads a constant register.
    unsafe {
        core::arch::asm!("mrs {own}, mpidr_el1", own = out(reg) own, options(nostack, nomem))
    };
    // Its identity is what it was started by, each time.
    if own & 0xff == vcpu as u64 {
        STARTS.store(STARTS.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
    gic::set_byte(distributor::IPRIORITYR, STOP, 0x10);
    gic::set_bit(distributor::ISENABLER, STOP);
    loop {
        wait_for_interrupt();
        let acknowledged = acknowledge();
        if acknowledged == gic::SPURIOUS {
            continue;
        }
        end(acknowledged);
        TAKEN.store(acknowledged, Ordering::Relaxed);
        COUNT.store(COUNT.load(Ordering::Relaxed) + 1, Ordering::Release);
        if acknowledged & 0x3ff == STOP {
            stop_vcpu();
        }
    }
}

/// Whether `condition` comes true, for which vCPU 1 has to run.
fn soon(condition: impl Fn() -> bool) -> bool {
    let start = timer::counter();
    while timer::counter() - start < timer::ticks(TIMEOUT) {
        if condition() {
            return true;
        }
    }
    false
}

fn start(checker: &mut Checker) {
    let starts = STARTS.load(Ordering::Acquire);
    if let Err(error) = start_vcpu(1) {
        checker.fail(format_args!("CPU_ON: {error}"));
    }
    if !soon(|| STARTS.load(Ordering::Acquire) == starts + 1) {
        checker.fail("vCPU 1 does not start, or as another");
    }
}

fn stop(checker: &mut Checker) {
    gic::send(STOP, 1 << 1);
    if !soon(|| is_off(1)) {
        checker.fail("vCPU 1 is not off");
    }
}

/// Does `cause`, and expects that vCPU 1 takes `intid`.
fn expect_there(checker: &mut Checker, intid: u32, what: &str, cause: impl FnOnce()) {
    let count = COUNT.load(Ordering::Acquire);
    cause();
    if !soon(|| COUNT.load(Ordering::Acquire) == count + 1) {
        checker.fail(format_args!("{intid} does not arrive at vCPU 1, {what}"));
    }
    checker.expect("GICC_IAR of vCPU 1", intid, TAKEN.load(Ordering::Relaxed));
}

/// `GICD_ITARGETSRn` decides who gets a shared interrupt, also when it changes while it is pending (where QEMU 7.2's own
/// distributor loses it).
pub(super) fn targets(checker: &mut Checker) {
    start(checker);
    set_up(SPI, 0x80, 1 << 1);
    checker.expect(
        "GICD_ITARGETSR",
        1 << 1,
        gic::byte(distributor::ITARGETSR, SPI),
    );
    expect_there(checker, SPI, "its target", || {
        gic::set_bit(distributor::ISPENDR, SPI)
    });
    checker.expect("GICC_IAR of vCPU 0", gic::SPURIOUS, acknowledge());
    gic::set_byte(distributor::ITARGETSR, SPI, 1 << 0);
    gic::set_bit(distributor::ISPENDR, SPI);
    checker.expect("GICC_IAR of vCPU 0", SPI, acknowledge());
    end(SPI);
    // Pending for vCPU 0, which does not take it, then for vCPU 1.
    gic::write(distributor::CTLR, 0);
    gic::set_bit(distributor::ISPENDR, SPI);
    expect_there(checker, SPI, "its target since it is pending", || {
        gic::set_byte(distributor::ITARGETSR, SPI, 1 << 1);
        gic::write(distributor::CTLR, 1);
    });
    checker.expect("GICC_IAR of vCPU 0", gic::SPURIOUS, acknowledge());
    stop(checker);
}

/// A shared interrupt that is pending for one vCPU goes to another when that becomes its target (not so in QEMU 7.2's own
/// distributor, if `GICD_ISPENDR` has made it pending).
pub(super) fn retargeted(checker: &mut Checker) {
    start(checker);
    set_up(SPI, 0x80, 1 << 0);
    gic::set_bit(distributor::ISPENDR, SPI);
    let pending = gic::read_interface(cpu_interface::HPPIR);
    checker.expect("GICC_HPPIR of vCPU 0", SPI, pending);
    expect_there(checker, SPI, "its new target", || {
        gic::set_byte(distributor::ITARGETSR, SPI, 1 << 1);
    });
    checker.expect("GICC_IAR of vCPU 0", gic::SPURIOUS, acknowledge());
    stop(checker);
}

/// What was pending for a vCPU that has switched itself off is there for the next target. The console's, whose line is
/// high all the time.
pub(super) fn off_before_it_is_taken(checker: &mut Checker) {
    start(checker);
    gic::set_byte(distributor::IPRIORITYR, CONSOLE, 0x80);
    gic::set_byte(distributor::ITARGETSR, CONSOLE, 1 << 1);
    gic::set_bit(distributor::ISENABLER, CONSOLE);
    // Both at once, and the more urgent one makes it switch itself off before it takes the other.
    gic::write(distributor::CTLR, 0);
    raise_console(true);
    gic::send(STOP, 1 << 1);
    gic::write(distributor::CTLR, 1);
    if !soon(|| is_off(1)) {
        checker.fail("vCPU 1 is not off");
    }
    let last = TAKEN.load(Ordering::Relaxed) & 0x3ff;
    checker.expect("interrupt taken last by vCPU 1", STOP, last);
    let pending = gic::bit(distributor::ISPENDR, CONSOLE);
    checker.expect("GICD_ISPENDR", 1, u8::from(pending));
    gic::set_byte(distributor::ITARGETSR, CONSOLE, 1 << 0);
    checker.expect("GICC_IAR of vCPU 0", CONSOLE, acknowledge());
    raise_console(false);
    end(CONSOLE);
    gic::set_bit(distributor::ICENABLER, CONSOLE);
    println!("");
}

/// Of several targets, one whose CPU interface masks an interrupt does not keep it from one that waits, and only one gets it
/// (in QEMU 7.2's own distributor, both).
pub(super) fn masked_here(checker: &mut Checker) {
    start(checker);
    gic::write_interface(cpu_interface::PMR, 0);
    expect_there(checker, SPI, "another target", || {
        set_up(SPI, 0x80, 1 << 0 | 1 << 1);
        gic::set_bit(distributor::ISPENDR, SPI);
    });
    gic::write_interface(cpu_interface::PMR, 0xf8);
    checker.expect("GICC_IAR of vCPU 0", gic::SPURIOUS, acknowledge());
    stop(checker);
}

/// A vCPU that was switched off can be switched on again, and is who it was.
pub(super) fn off_and_on(checker: &mut Checker) {
    for _ in 0..10 {
        start(checker);
        stop(checker);
    }
    if start_vcpu(0).is_ok() {
        checker.fail("vCPU 0 was started again");
    }
}
