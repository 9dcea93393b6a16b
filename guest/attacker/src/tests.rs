// SPDX-License-Identifier: BSD-2-Clause
extern crate std;

use std::collections::BTreeSet;
use std::format;

use crate::encoding::{self, REGISTERS, Register, SVC, register};
use crate::places::Places;
use crate::program::LONGEST;
use crate::restraint::{is_free, loses_the_way_back, waits};
use crate::{Level, Plan};

const ROUNDS: u64 = 20_000;
const VECTORS: u64 = 0x4400_8000;

fn plans() -> impl Iterator<Item = Plan> {
    [Level::El0, Level::El1].into_iter().flat_map(|level| {
        [false, true].into_iter().map(move |translated| Plan {
            seed: 1,
            level,
            translated,
            deadly: false,
        })
    })
}

const fn is_known(number: usize) -> bool {
    number.is_multiple_of(64)
}

const fn is_register_write(word: u32) -> bool {
    word >> 20 == 0xd51
}

#[test]
fn encodings_are_those_of_an_assembler() {
    // mrs x3, cntv_tval_el0; msr vbar_el1, x9; msr oslar_el1, xzr; br x17; movz x9, #5; subs x16, x16, #1; b.ne .-8
    assert_eq!(register::CNTV_TVAL.read(3), 0xd53b_e303);
    assert_eq!(register::VBAR.write(9), 0xd518_c009);
    assert_eq!(register::OSLAR.write(31), 0xd510_109f);
    assert_eq!(encoding::branch_to(17), 0xd61f_0220);
    assert_eq!(encoding::move_number(9, 5), 0xd280_00a9);
    assert_eq!(encoding::count_down(16), 0xf100_0610);
    assert_eq!(encoding::back_if_not_zero(2), 0x54ff_ffc1);
}

#[test]
fn every_number_names_a_register_of_its_own() {
    let all: BTreeSet<_> = (0..REGISTERS)
        .map(|number| Register::numbered(number).write(0))
        .collect();
    assert_eq!(all.len(), REGISTERS);
    assert!(all.iter().all(|word| is_register_write(*word)));
}

#[test]
fn the_same_seed_gives_the_same_rounds() {
    let plan = plans().next().unwrap();
    for number in 0..100 {
        let first = plan.round(number, VECTORS, is_known);
        let second = plan.round(number, VECTORS, is_known);
        assert_eq!(first.words, second.words);
        assert_eq!(first.registers, second.registers);
    }
}

#[test]
fn every_program_ends() {
    for plan in plans() {
        for number in 0..ROUNDS {
            let round = plan.round(number, VECTORS, is_known);
            assert_eq!(round.words[LONGEST - 1], SVC);
        }
    }
}

/// A restrained program writes `VBAR_EL1` only to put it right with the next instruction, `SCTLR_EL1` only with a value
/// that was chosen for it, its translation never; and it never waits without having set its timer.
#[test]
fn a_restrained_program_keeps_its_way_back() {
    let translation = [register::TTBR0, register::TCR, register::MAIR];
    let (mut vectors, mut waits_seen) = (0, 0);
    for plan in plans() {
        for number in 0..ROUNDS {
            let words = plan.round(number, VECTORS, is_known).words;
            for (index, word) in words.iter().enumerate() {
                let context = || format!("round {number} of {plan:?}: {word:#x} in {words:x?}");
                if *word == register::VBAR.write(9) {
                    vectors += 1;
                    assert_eq!(words[index + 1], register::VBAR.write(10), "{}", context());
                } else if is_register_write(*word) {
                    let written = Register::decode(*word);
                    let put_right = index > 0
                        && words[index - 1] == register::VBAR.write(9)
                        && *word == register::VBAR.write(10);
                    let chosen = *word == register::SCTLR.write(9);
                    assert!(
                        put_right || chosen || !loses_the_way_back(written, plan.translated),
                        "{}",
                        context()
                    );
                    assert!(
                        !(plan.translated && translation.contains(&written)),
                        "{}",
                        context()
                    );
                }
                // WFE never waits for ever: another vCPU's events, or its own exit, end it.
                if waits(*word) && *word != encoding::WFE {
                    waits_seen += 1;
                    let armed = register::CNTV_CTL.write(9);
                    assert_eq!(words[index - 1], armed, "{}", context());
                }
            }
        }
    }
    assert!(vectors > 0 && waits_seen > 0, "{vectors} and {waits_seen}");
}

#[test]
fn every_existing_register_is_written_and_read() {
    let plan = plans().last().unwrap();
    let wanted = Register::new(3, 0, 10, 3, 0);
    let is_it = |number| Register::numbered(number) == wanted;
    let (mut read, mut written) = (false, false);
    for number in 0..400_000 {
        let words = plan.round(number, VECTORS, |candidate| {
            is_it(candidate) || candidate.is_multiple_of(97)
        });
        for word in words.words {
            let same = Register::decode(word) == wanted && word >> 22 == 0xd50 >> 2;
            read |= same && word & 1 << 21 != 0;
            written |= same && word & 1 << 21 == 0;
        }
        if read && written {
            return;
        }
    }
    panic!("read: {read}, written: {written}");
}

#[test]
fn what_computes_an_address_from_the_program_counter_is_not_free() {
    // adr, adrp, b, bl, cbz, b.eq, br, svc, msr; add and movz are not drawn either.
    for word in [
        0x1000_0000_u32,
        0x9000_0000,
        0x1400_0001,
        0x9400_0001,
        0x3400_0000,
        0x5400_0000,
        0xd61f_0000,
        SVC,
        0xd518_c009,
    ] {
        assert!(!is_free(word), "{word:#x}");
    }
    // ldr, stp, ld1, fadd, udf
    for word in [0xb940_0020_u32, 0xa900_0020, 0x4c40_7000, 0x1e22_2820, 0] {
        assert!(is_free(word), "{word:#x}");
    }
}

#[test]
fn addresses_reach_every_device() {
    let mut random = guest_runtime::pattern::Pattern::new(3, 3);
    let places = Places::new(Level::El1, true);
    let pages: BTreeSet<_> = (0..10_000)
        .map(|_| places.device(&mut random) >> 12)
        .collect();
    for page in [
        0x8000, 0x8010, 0x8011, 0x9000, 0xc000, 0xc010, 0x8_8000, 0x8_9000,
    ] {
        assert!(pages.contains(&page), "{page:#x}");
    }
}
