// SPDX-License-Identifier: BSD-2-Clause
//! What takes two: an interrupt sent to a vCPU that sleeps, and a timer that wakes the vCPU that set it.

use core::sync::atomic::{AtomicU64, Ordering};

use guest_runtime::exception::with_interrupts;
use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::wait_for_interrupt;
use guest_runtime::timer;

use crate::Sample;

/// The software-generated interrupt that is sent.
const SGI: u32 = 1;

/// How far ahead the timer is set, in microseconds: time enough to fall asleep.
const AHEAD: u64 = 1_000;

/// SGIs that vCPU 1 has taken; written by it.
static RECEIVED: AtomicU64 = AtomicU64::new(0);
/// When vCPU 0 took its last timer interrupt; written by it.
static FIRED: AtomicU64 = AtomicU64::new(0);
/// Whether vCPU 1 is about to sleep; written by it.
static READY: AtomicU64 = AtomicU64::new(0);

/// Takes an interrupt.
pub(crate) fn interrupt() {
    let acknowledged = gic::read_interface(cpu_interface::IAR);
    match acknowledged & 0x3ff {
        gic::TIMER_INTID => {
            FIRED.store(timer::counter(), Ordering::Relaxed);
            timer::set_control(0);
        }
        SGI => RECEIVED.store(RECEIVED.load(Ordering::Relaxed) + 1, Ordering::Relaxed),
        _ => {}
    }
    if acknowledged != gic::SPURIOUS {
        gic::write_interface(cpu_interface::EOIR, acknowledged);
    }
}

/// vCPU 1: sleeps, and takes what comes.
pub(crate) fn receive() -> ! {
    gic::set_bit(distributor::ISENABLER, SGI);
    READY.store(1, Ordering::Relaxed);
    loop {
        wait_for_interrupt();
        with_interrupts(|| {});
    }
}

/// From sending an interrupt until the other vCPU has taken it.
pub(crate) fn ipi(count: u64) -> Sample {
    while READY.load(Ordering::Relaxed) == 0 {}
    measure(count, || {
        // Leave it time to fall asleep.
        let start = timer::counter();
        while timer::counter() - start < timer::ticks(AHEAD) {}
        let taken = RECEIVED.load(Ordering::Relaxed);
        let start = timer::counter();
        gic::send(SGI, 1 << 1);
        while RECEIVED.load(Ordering::Relaxed) == taken {}
        timer::counter() - start
    })
}

/// From the moment that a timer is due until its interrupt is taken, the vCPU sleeping before.
pub(crate) fn timer(count: u64) -> Sample {
    gic::set_bit(distributor::ISENABLER, gic::TIMER_INTID);
    measure(count, || {
        FIRED.store(0, Ordering::Relaxed);
        let due = timer::counter() + timer::ticks(AHEAD);
        timer::set_compare(due);
        timer::set_control(timer::ENABLE);
        while FIRED.load(Ordering::Relaxed) == 0 {
            wait_for_interrupt();
            with_interrupts(|| {});
        }
        FIRED.load(Ordering::Relaxed).saturating_sub(due)
    })
}

fn measure(count: u64, operation: impl Fn() -> u64) -> Sample {
    let (mut total, mut longest) = (0, 0);
    for _ in 0..count {
        let ticks = operation();
        total += ticks;
        longest = longest.max(ticks);
    }
    Sample {
        total,
        longest: Some(longest),
    }
}
