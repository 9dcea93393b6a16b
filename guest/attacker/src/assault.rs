// SPDX-License-Identifier: BSD-2-Clause
//! vCPU 0: carries out orders.

use core::cell::UnsafeCell;

use attacker::encoding::REGISTERS;
use attacker::program::{LONGEST, Round};
use attacker::{Level, Plan};
use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::wait_for_interrupt;
use guest_runtime::timer;

use crate::orders::{
    COUNTS, DEADLY, DONE, KIND, LEVEL, ORDER, Order, PROGRESS, ROUNDS, SEED, TRANSLATED,
};
use crate::{map, run, sweep};

/// Microseconds between two looks whether there is an order.
const LOOK: u64 = 2_000;
/// Interrupts that are taken after a round at most: others may come as fast as they are taken.
const MOST_INTERRUPTS: usize = 16;

/// Registers that a sweep could read, at each level: one bit each.
pub(crate) struct Known(UnsafeCell<[[u64; REGISTERS / 64]; 2]>);

// SAFETY: only vCPU 0 uses it.
unsafe impl Sync for Known {}

pub(crate) static KNOWN: Known = Known(UnsafeCell::new([[0; REGISTERS / 64]; 2]));

impl Known {
    const fn row(level: Level) -> usize {
        match level {
            Level::El0 => 0,
            Level::El1 => 1,
        }
    }

    fn has(&self, level: Level, number: usize) -> bool {
        // SAFETY: only vCPU 0 uses it, and no reference is kept.
        let word = unsafe { (*self.0.get())[Self::row(level)][number / 64] };
        word >> (number % 64) & 1 != 0
    }

    pub(crate) fn add(&self, level: Level, number: usize) {
        // SAFETY: as above.
        unsafe { (*self.0.get())[Self::row(level)][number / 64] |= 1 << (number % 64) };
    }
}

/// Carries out one order after the other.
pub(crate) fn obey() -> ! {
    let mut obeyed = ORDER.get();
    loop {
        while ORDER.get() == obeyed {
            rest();
        }
        obeyed = ORDER.get();
        let level = if LEVEL.get() == 0 {
            Level::El0
        } else {
            Level::El1
        };
        let translated = TRANSLATED.get() != 0;
        map::prepare(level);
        match Order::from_word(KIND.get()) {
            Some(Order::Attack) => attack(level, translated),
            Some(Order::Sweep) => sweep::registers(level),
            Some(Order::Touch) => sweep::devices(translated),
            None => {}
        }
        DONE.set(obeyed);
    }
}

/// Sleeps a little, by the virtual timer.
fn rest() {
    timer::set_compare(timer::counter() + timer::ticks(LOOK));
    timer::set_control(timer::ENABLE);
    wait_for_interrupt();
    timer::set_control(0);
    take_interrupts();
}

fn attack(level: Level, translated: bool) {
    let plan = Plan {
        seed: SEED.get(),
        level,
        translated,
        deadly: DEADLY.get() != 0,
    };
    for number in 0..ROUNDS.get() {
        let round = plan.round(number, run::vectors(), |number| KNOWN.has(level, number));
        carry_out(round, translated);
        PROGRESS.set(number + 1);
    }
    // What the devices were left with is the guest's own business.
    gic::write(distributor::CTLR, 1);
}

/// Runs a program, and on from each exception that it takes, until it has left itself for good or come to its end.
fn carry_out(mut round: Round, translated: bool) {
    let start = round.at;
    run::place(&round.words);
    for _ in 0..LONGEST {
        // Whatever waits is woken.
        timer::set_compare(timer::counter() + timer::ticks(LOOK));
        timer::set_control(timer::ENABLE);
        let taken = run::run(&round, translated);
        take_interrupts();
        if taken.is_end() {
            return;
        }
        COUNTS[0].count();
        let Some(next) = taken.next(start) else {
            return;
        };
        round.at = next;
    }
}

/// Takes what is pending, so that it does not wake every sleep.
pub(crate) fn take_interrupts() {
    gic::write_interface(cpu_interface::PMR, 0xf8);
    gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0);
    for _ in 0..MOST_INTERRUPTS {
        let acknowledged = gic::read_interface(cpu_interface::IAR);
        if acknowledged & 0x3ff >= 1020 {
            break;
        }
        gic::write_interface(cpu_interface::EOIR, acknowledged);
    }
}
