// SPDX-License-Identifier: BSD-2-Clause
use super::*;
use crate::processor::Cores;
use crate::{Board, workspace};

const LINUX: Guest = Guest {
    linux: true,
    debug: false,
    answered_for: false,
};

fn named(name: &str) -> Named {
    let root = workspace().unwrap();
    let cores = Cores::load(&root).unwrap();
    cores.named(&root, name, 24_000_000).unwrap()
}

/// The core with one field changed.
fn with(name: &str, register: Register, low: u32, value: u64) -> Named {
    let mut named = named(name);
    let before = named.baseline.constants.word(register).unwrap();
    let after = before & !(0xf << low) | value << low;
    assert!(named.baseline.constants.set_word(register, after));
    named
}

fn admitted(promise: &Promise, to: &Named) {
    let compared =
        admission::compare_processors(&promise.baseline, &to.baseline, OtherCore::Accepted);
    assert_eq!(compared, Ok(()), "{}", to.name);
}

#[test]
fn a_guest_of_the_lesser_board_pays_nothing_and_learns_of_both() {
    let (c2, c4) = (named("odroidc2"), named("odroidc4"));
    let promise = promise(&c2, std::slice::from_ref(&c4), LINUX).unwrap();
    assert_eq!(promise.costs, []);
    assert_eq!(promise.options(), [""; 0]);
    assert_eq!(promise.baseline.constants, c2.baseline.constants);
    let midrs: Vec<_> = promise
        .baseline
        .implementations
        .iter()
        .map(|it| it.midr)
        .collect();
    assert_eq!(midrs, [0x410f_d034, 0x411f_d050]);
    admitted(&promise, &c4);
}

#[test]
fn what_linux_cannot_be_told_is_refused_by_name_unless_somebody_answers_for_it() {
    let (c4, c2) = (named("odroidc4"), named("odroidc2"));
    let error = promise(&c4, std::slice::from_ref(&c2), LINUX).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("LSE atomics: ID_AA64ISAR0_EL1, bits 23 to 20, is 0x2, 0x0 is promised"),
        "{text}"
    );
    // What it has anyway not, and what it can be told, is no reason.
    assert!(
        !text.contains("DFR0") && !text.contains("ID_ISAR"),
        "{text}"
    );
    let answered = Guest {
        answered_for: true,
        ..LINUX
    };
    let promise = promise(&c4, std::slice::from_ref(&c2), answered).unwrap();
    assert!(promise.options().contains(&NO_32_BIT_PROGRAMS));
    admitted(&promise, &c2);
    admitted(&promise, &c4);
    // As the board that it starts on will check.
    let record = promise.record().unwrap();
    let machine: MachineRecordV2 = record::decode(&record).unwrap();
    assert_eq!(machine.baseline, promise.baseline);
}

#[test]
fn linux_is_told_once_what_it_can_be_told() {
    let memory_copy = with("cortex-a76", Register::ID_AA64ISAR2_EL1, 16, 1);
    let mut both = memory_copy.clone();
    let targets = with("cortex-a76", Register::ID_AA64PFR1_EL1, 0, 1);
    let value = targets.baseline.constants.word(Register::ID_AA64PFR1_EL1);
    assert!(
        both.baseline
            .constants
            .set_word(Register::ID_AA64PFR1_EL1, value.unwrap())
    );
    let a76 = named("cortex-a76");
    let promised = promise(&both, std::slice::from_ref(&a76), LINUX).unwrap();
    assert_eq!(promised.options(), ["arm64.nobti", "arm64.nomops"]);
    admitted(&promised, &a76);
    // Nobody tells a program of which nothing is known.
    let error = promise(&memory_copy, &[a76], Guest::default()).unwrap_err();
    assert!(
        error.to_string().contains("memory copy instructions"),
        "{error}"
    );
}

#[test]
fn a_guest_with_debug_registers_relies_on_them() {
    let own = with("cortex-a53", Register::ID_AA64DFR0_EL1, 0, 8);
    let others = [named("cortex-a53")];
    let promised = promise(&own, &others, LINUX).unwrap();
    assert!(matches!(
        promised.costs[..],
        [Cost {
            avoided: Avoided::Anyway(_),
            ..
        }]
    ));
    let trusted = Guest {
        debug: true,
        ..LINUX
    };
    assert!(matches!(
        promise(&own, &others, trusted),
        Err(PromiseError::Unavoidable { .. })
    ));
}

#[test]
fn other_counters_and_other_zero_blocks_have_nothing_in_common() {
    let root = workspace().unwrap();
    let zcu102 = Board::load(&root, "zcu102").unwrap();
    let zcu102 = Cores::load(&root).unwrap().of_board(&zcu102).unwrap();
    let error = promise(&named("odroidc2"), &[zcu102], LINUX).unwrap_err();
    assert!(error.to_string().contains("CNTFRQ_EL0"), "{error}");
    assert!(
        error.to_string().contains("--counter-frequency 62500000"),
        "{error}"
    );
    let other = with("cortex-a53", Register::DCZID_EL0, 0, 5);
    let error = promise(&named("cortex-a53"), &[other], LINUX).unwrap_err();
    assert!(error.to_string().contains("DCZID_EL0"), "{error}");
}

#[test]
fn no_more_cores_than_a_guest_can_learn_of() {
    let others: Vec<_> = (0..8)
        .map(|revision| {
            let mut other = with("cortex-a53", Register::MIDR_EL1, 0, revision);
            other.baseline = BaselineV1::of(&other.baseline.constants);
            other
        })
        .collect();
    let a53 = named("cortex-a53");
    assert_eq!(
        promise(&a53, &others, LINUX)
            .unwrap()
            .baseline
            .implementations
            .len(),
        8
    );
    let c4 = [named("odroidc4")];
    let nine: Vec<_> = others.into_iter().chain(c4).collect();
    let error = promise(&a53, &nine, LINUX).unwrap_err();
    assert!(
        matches!(error, PromiseError::TooMany { found: 9 }),
        "{error}"
    );
}
