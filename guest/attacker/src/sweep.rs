// SPDX-License-Identifier: BSD-2-Clause
//! Everything there is, one after the other: every system register read, every offset of every device accessed.
//!
//! Each ends with a value or with an exception that the architecture has for it.

use attacker::Level;
use attacker::encoding::{REGISTERS, Register, SVC, load_word};
use attacker::places::{NORMAL_ALIAS, Places};
use attacker::program::{LONGEST, Round};

use crate::assault::{KNOWN, take_interrupts};
use crate::orders::{COUNTS, PROGRESS};
use crate::run::{self, Taken};

/// `ESR_EL1.EC`: an undefined instruction.
const UNDEFINED: u64 = 0x00;
/// A system register that EL1 keeps EL0 from.
const KEPT_FROM_EL0: u64 = 0x18;
/// A data abort, from EL0 or EL1.
const ABORTS: [u64; 2] = [0x24, 0x25];

/// `SPSR_EL1`: everything masked; EL0, EL1.
const EL0: u64 = 0x3c0;
const EL1: u64 = 0x3c5;

/// The devices: where, and how many bytes are accessed.
const DEVICES: [(u64, u64); 3] = [
    (0x0800_0000, 0x1100),
    (0x0801_0000, 0x1100),
    (0x0900_0000, 0x1000),
];

fn program(level: Level, places: Places, word: u32, address: u64) -> Round {
    let mut words = [SVC; LONGEST];
    words[0] = word;
    let mut registers = [0; 31];
    registers[1] = address;
    Round {
        words,
        at: places.code(),
        level,
        state: match level {
            Level::El0 => EL0,
            Level::El1 => EL1,
        },
        registers,
        stack: places.stack(),
    }
}

fn run_once(round: &Round, translated: bool) -> Taken {
    run::place(&round.words);
    run::run(round, translated)
}

/// Reads every system register: values, undefined instructions, anything else.
pub(crate) fn registers(level: Level) {
    let places = Places::new(level, false);
    if level == Level::El0 {
        run_once(&Round::that_opens_el0(), false);
    }
    for number in 0..REGISTERS {
        let word = Register::numbered(number).read(0);
        let taken = run_once(&program(level, places, word, 0), false);
        let class = taken.class();
        if taken.is_end() {
            KNOWN.add(level, number);
            COUNTS[0].count();
        } else if class == UNDEFINED || class == KEPT_FROM_EL0 && level == Level::El0 {
            COUNTS[1].count();
        } else {
            COUNTS[2].count();
        }
        PROGRESS.count();
    }
}

/// Loads from every offset of every device, aligned or not, with every width; and stores zero to it where a word is
/// aligned.
pub(crate) fn devices(translated: bool) {
    let places = Places::new(Level::El1, translated);
    for (base, size) in DEVICES {
        let base = base + if translated { NORMAL_ALIAS } else { 0 };
        for offset in 0..size {
            for width in 0..4 {
                let aligned = offset.is_multiple_of(4);
                for store in [false, true].into_iter().take(1 + usize::from(aligned)) {
                    let word = load_word(0, 1) & !(3 << 30 | 1 << 22)
                        | width << 30
                        | if store { 0 } else { 1 << 22 };
                    let taken = run_once(
                        &program(Level::El1, places, word, base + offset),
                        translated,
                    );
                    count(taken);
                    take_interrupts();
                }
            }
        }
    }
}

fn count(taken: Taken) {
    COUNTS[0].count();
    if !taken.is_end() {
        let aborted = taken.is_synchronous() && ABORTS.contains(&taken.class());
        COUNTS[if aborted { 1 } else { 2 }].count();
    }
    PROGRESS.count();
}
