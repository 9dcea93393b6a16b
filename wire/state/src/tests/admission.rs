// SPDX-License-Identifier: BSD-2-Clause
//! Admission: boards that a guest cannot tell apart, and boards that it can.

use crate::admission::{self, OtherCore, Refusal, Side};
use crate::{BaselineV1, Class, ImplementationV1, MachineRecordV2, Policy, Register, Source};

/// Constants of a Cortex-A53 as QEMU shows them to a guest.
const CORTEX_A53: [(Register, u64); 9] = [
    (Register::MIDR_EL1, 0x410f_d034),
    (Register::CNTFRQ_EL0, 62_500_000),
    (Register::CTR_EL0, 0x8444_8004),
    (Register::DCZID_EL0, 4),
    (Register::ID_AA64PFR0_EL1, 0x222),
    (Register::ID_AA64DFR0_EL1, 0x1030_5106),
    (Register::ID_AA64ISAR0_EL1, 0x11120),
    (Register::ID_AA64MMFR0_EL1, 0x1122),
    (Register::PMCEID0_EL0, 0x20001),
];

fn compare(source: &MachineRecordV2, destination: &MachineRecordV2) -> Result<(), Refusal> {
    admission::compare(source, destination, OtherCore::Refused)
}

fn board() -> MachineRecordV2 {
    let mut machine = MachineRecordV2 {
        board: "qemu_virt".try_into().unwrap(),
        ram_base: 0x4000_0000,
        ram_size: 128 << 20,
        vcpus: 4,
        gic_version: 2,
        shared_interrupts: 256,
        ..MachineRecordV2::default()
    };
    for register in Register::ALL {
        if register.source() == Source::Probe {
            assert!(machine.baseline.constants.set(register, 0));
        }
    }
    for (register, value) in CORTEX_A53 {
        assert!(machine.baseline.constants.set(register, value.into()));
    }
    machine
}

/// The board with one register changed.
fn with(register: Register, value: u64) -> MachineRecordV2 {
    let mut machine = board();
    assert!(machine.baseline.constants.set(register, value.into()));
    machine
}

fn refused_for(register: Register, source: &MachineRecordV2, destination: &MachineRecordV2) {
    let name = match compare(source, destination) {
        Err(Refusal::Field { register, .. } | Refusal::Different { register, .. }) => register,
        other => panic!("{register:?}: {other:?}"),
    };
    assert_eq!(name, register.name());
}

#[test]
fn the_same_board_under_another_name_is_admitted() {
    let mut other = board();
    other.board = "another".try_into().unwrap();
    assert_eq!(compare(&board(), &other), Ok(()));
}

#[test]
fn a_guest_with_debug_registers_stays_where_they_are_and_one_without_goes_anywhere() {
    let debug = with(Register::MDRAR_EL1, 0);
    assert_eq!(compare(&debug, &debug), Ok(()));
    assert_eq!(compare(&board(), &debug), Ok(()));
    assert_eq!(compare(&debug, &board()), Err(Refusal::GuestDebug));
    assert!(Refusal::GuestDebug.to_string().contains("--guest-debug"));
}

#[test]
fn another_layout_is_refused_by_name() {
    let change = |change: fn(&mut MachineRecordV2)| {
        let mut other = board();
        change(&mut other);
        compare(&board(), &other)
    };
    assert!(matches!(
        change(|other| other.ram_size *= 2),
        Err(Refusal::RamSize { .. })
    ));
    assert!(matches!(
        change(|other| other.ram_base = 0),
        Err(Refusal::RamBase { .. })
    ));
    assert!(matches!(
        change(|other| other.vcpus = 2),
        Err(Refusal::Vcpus { .. })
    ));
    assert!(matches!(
        change(|other| other.gic_version = 3),
        Err(Refusal::Gic { .. })
    ));
    assert!(matches!(
        change(|other| other.shared_interrupts = 32),
        Err(Refusal::Interrupts { .. })
    ));
}

#[test]
fn a_smaller_guest_fits_a_larger_board() {
    let mut guest = board();
    guest.vcpus = 1;
    assert_eq!(compare(&guest, &board()), Ok(()));
}

// Pitfall: Counter frequencies differed.
#[test]
fn another_counter_frequency_is_refused() {
    let destination = with(Register::CNTFRQ_EL0, 24_000_000);
    refused_for(Register::CNTFRQ_EL0, &board(), &destination);
}

#[test]
fn every_constant_that_must_be_equal_is_compared() {
    for register in Register::ALL {
        if register.source() == Source::Probe && register.policy() == Policy::Exact {
            let value = board().baseline.constants.word(register).unwrap() ^ 1;
            refused_for(register, &board(), &with(register, value));
        }
    }
}

#[test]
fn a_feature_may_appear_but_not_vanish() {
    // Cryptography: AES with PMULL, SHA-1, SHA-256.
    let (with_aes, without) = (0x11120, 0x10000);
    let richer = with(Register::ID_AA64ISAR0_EL1, with_aes);
    let poorer = with(Register::ID_AA64ISAR0_EL1, without);
    assert_eq!(compare(&poorer, &richer), Ok(()));
    refused_for(Register::ID_AA64ISAR0_EL1, &richer, &poorer);
}

#[test]
fn all_ones_in_a_signed_field_means_none() {
    let with_vectors = board();
    let without = with(Register::ID_AA64PFR0_EL1, 0xff_0222);
    assert_eq!(compare(&without, &with_vectors), Ok(()));
    refused_for(Register::ID_AA64PFR0_EL1, &with_vectors, &without);
    let without_64_kib = with(Register::ID_AA64MMFR0_EL1, 0x0f00_1122);
    refused_for(Register::ID_AA64MMFR0_EL1, &board(), &without_64_kib);
}

#[test]
fn exception_levels_that_no_guest_has_are_not_compared() {
    let no_aarch32_at_el1 = with(Register::ID_AA64PFR0_EL1, 0x112);
    assert_eq!(compare(&board(), &no_aarch32_at_el1), Ok(()));
}

#[test]
fn what_32_bit_programs_have_seen_must_be_there_where_there_are_such() {
    let without = with(Register::ID_AA64PFR0_EL1, 0x221);
    refused_for(Register::ID_AA64PFR0_EL1, &board(), &without);
    assert_eq!(compare(&without, &board()), Ok(()));
    for register in [Register::ID_ISAR5_EL1, Register::MVFR1_EL1] {
        refused_for(
            register,
            &with(register, 0x1_1121),
            &with(register, 0x1_0001),
        );
        let mut unknown = with(register, 0x1_1121);
        assert!(
            unknown
                .baseline
                .constants
                .set(Register::ID_AA64PFR0_EL1, 0x221)
        );
        assert_eq!(
            compare(&unknown, &without),
            Ok(()),
            "{register:?} says nothing"
        );
    }
    // Of AArch32 at EL1, which no guest has.
    let other = with(Register::ID_MMFR0_EL1, 0);
    assert_eq!(
        compare(&with(Register::ID_MMFR0_EL1, 0x1020_1105), &other),
        Ok(())
    );
}

#[test]
fn smaller_cache_lines_are_refused_and_larger_ones_are_not() {
    let smaller = with(Register::CTR_EL0, 0x8443_8004);
    refused_for(Register::CTR_EL0, &board(), &smaller);
    let larger = with(Register::CTR_EL0, 0x8445_8005);
    assert_eq!(compare(&board(), &larger), Ok(()));
}

#[test]
fn another_zero_block_is_refused() {
    refused_for(Register::DCZID_EL0, &board(), &with(Register::DCZID_EL0, 5));
}

#[test]
fn context_matching_breakpoints_must_have_the_same_numbers() {
    let more = with(Register::ID_AA64DFR0_EL1, 0x1030_7106);
    refused_for(Register::ID_AA64DFR0_EL1, &board(), &more);
}

#[test]
fn counted_events_must_exist() {
    let more = with(Register::PMCEID0_EL0, 0x2_0003);
    assert_eq!(compare(&board(), &more), Ok(()));
    refused_for(Register::PMCEID0_EL0, &more, &board());
}

// Pitfall: Cache geometry was written, and another core refused it.
#[test]
fn cache_geometry_is_neither_compared_nor_written() {
    let other = with(Register::CCSIDR_L1D, 0x1234);
    assert_eq!(compare(&board(), &other), Ok(()));
    assert_ne!(Register::CCSIDR_L1D.policy(), Policy::Write);
}

#[test]
fn a_description_that_leaves_a_constant_out_is_refused() {
    let mut poor = board();
    poor.baseline.constants.remove(Register::ID_AA64PFR0_EL1);
    let missing = |side| {
        Err(Refusal::Missing {
            register: "ID_AA64PFR0_EL1",
            side,
        })
    };
    assert_eq!(compare(&poor, &board()), missing(Side::Source));
    assert_eq!(compare(&board(), &poor), missing(Side::Destination));
}

#[test]
fn every_constant_has_a_policy_that_admission_knows() {
    for register in Register::ALL {
        let compared = register.policy() != Policy::Write;
        assert_eq!(compared, register.class() == Class::Constant);
    }
}

/// A core: its name, its `MIDR_EL1`, and others of its registers.
type Core = (&'static str, u64, [(Register, u64); 6]);

/// What QEMU's cores show that newer ones have more of, or that no guest can use.
const CORES: [Core; 3] = [
    (
        "A53",
        0x410f_d034,
        [
            (Register::CTR_EL0, 0x8444_8004),
            (Register::ID_AA64PFR0_EL1, 0x222),
            (Register::ID_AA64ISAR0_EL1, 0x1_1120),
            (Register::ID_AA64MMFR0_EL1, 0x1122),
            (Register::ID_AA64MMFR1_EL1, 0),
            (Register::ID_ISAR4_EL1, 0x1_1142),
        ],
    ),
    (
        "A72",
        0x410f_d083,
        [
            (Register::CTR_EL0, 0x8444_c004),
            (Register::ID_AA64PFR0_EL1, 0x222),
            (Register::ID_AA64ISAR0_EL1, 0x1_1120),
            (Register::ID_AA64MMFR0_EL1, 0x1124),
            (Register::ID_AA64MMFR1_EL1, 0),
            (Register::ID_ISAR4_EL1, 0x1_1142),
        ],
    ),
    (
        "A76",
        0x414f_d0b1,
        [
            (Register::CTR_EL0, 0x8444_c004),
            (Register::ID_AA64PFR0_EL1, 0x1100_0000_1011_0112),
            (Register::ID_AA64ISAR0_EL1, 0x1000_1021_1120),
            (Register::ID_AA64MMFR0_EL1, 0x10_1122),
            (Register::ID_AA64MMFR1_EL1, 0x1021_2122),
            (Register::ID_ISAR4_EL1, 0x1_0142),
        ],
    ),
];

fn of_core(name: &str) -> MachineRecordV2 {
    let (_, midr, registers) = CORES.into_iter().find(|core| core.0 == name).unwrap();
    let mut machine = with(Register::MIDR_EL1, midr);
    for (register, value) in registers {
        assert!(machine.baseline.constants.set(register, value.into()));
    }
    machine.baseline = BaselineV1::of(&machine.baseline.constants);
    machine
}

#[test]
fn a_core_that_has_all_of_another_takes_its_guests_at_the_operators_word_only() {
    for [from, to] in [["A53", "A72"], ["A53", "A76"]] {
        let (guest, there) = (of_core(from), of_core(to));
        refused_for(Register::MIDR_EL1, &guest, &there);
        let accepted = admission::compare(&guest, &there, OtherCore::Accepted);
        assert_eq!(accepted, Ok(()), "{from} to {to}");
        let back = admission::compare(&there, &guest, OtherCore::Accepted);
        assert!(
            matches!(back, Err(Refusal::Field { .. })),
            "{from} from {to}: {back:?}"
        );
    }
}

#[test]
fn a_guest_that_has_been_told_of_a_core_goes_there_by_itself() {
    let (mut guest, there) = (of_core("A53"), of_core("A76"));
    let implementation = ImplementationV1::of(&there.baseline.constants).unwrap();
    guest.baseline.implementations.push(implementation).unwrap();
    refused_for(Register::MIDR_EL1, &guest, &there);
    guest.baseline.told = true;
    assert_eq!(compare(&guest, &there), Ok(()));
    let mut revised = there;
    assert!(revised.baseline.constants.set(Register::REVIDR_EL1, 1));
    refused_for(Register::MIDR_EL1, &guest, &revised);
    refused_for(Register::MIDR_EL1, &guest, &of_core("A72"));
}

#[test]
fn fewer_bits_of_physical_addresses_are_refused_with_both_values() {
    let (a72, a76) = (of_core("A72"), of_core("A76"));
    let refused = admission::compare(&a72, &a76, OtherCore::Accepted);
    assert!(
        matches!(
            refused,
            Err(Refusal::Field {
                register: "ID_AA64MMFR0_EL1",
                low: 0,
                needed: 4,
                found: 2,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn what_two_boards_have_in_common_is_admitted_by_both_and_nothing_less_than_it_could_be() {
    let registers = Register::ALL.into_iter();
    for register in registers.filter(|register| register.policy() == Policy::Fields) {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let outcome = runner.run(&proptest::array::uniform2(values()), |[one, other]| {
            let (left, right) = (with(register, one), with(register, other));
            let admitted = |from, to| {
                admission::differences(from, to, OtherCore::Refused)
                    .all(|refusal| matches!(refusal, Refusal::State { .. }))
            };
            match admission::common(register, one, other) {
                Ok(common) => {
                    let both = with(register, common);
                    assert!(admitted(&both.baseline, &left.baseline));
                    assert!(admitted(&both.baseline, &right.baseline));
                    // Whatever one of the two admits of the other's guests, the common part is.
                    if admitted(&left.baseline, &right.baseline) {
                        assert!(admitted(&left.baseline, &both.baseline));
                    }
                }
                Err(refusal) => {
                    assert!(matches!(refusal, Refusal::Field { .. }), "{refusal}");
                    assert!(!admitted(&left.baseline, &right.baseline));
                }
            }
            Ok(())
        });
        outcome.unwrap();
    }
    assert_eq!(admission::common(Register::CNTFRQ_EL0, 5, 5), Ok(5));
    assert!(admission::common(Register::CNTFRQ_EL0, 5, 6).is_err());
}

/// Values of registers whose fields are often equal and often all ones.
fn values() -> impl proptest::strategy::Strategy<Value = u64> {
    use proptest::prelude::*;
    proptest::array::uniform16(
        prop_oneof![3 => Just(0_u64), 2 => Just(1), 1 => Just(15), 1 => 0..16_u64],
    )
    .prop_map(|nibbles| nibbles.iter().fold(0, |value, nibble| value << 4 | nibble))
}

#[test]
fn all_differences_are_found_and_the_first_is_what_a_refusal_says() {
    let (guest, there) = (of_core("A76"), of_core("A53"));
    let differences: Vec<_> =
        admission::differences(&guest.baseline, &there.baseline, OtherCore::Accepted).collect();
    assert!(differences.len() > 5, "{differences:?}");
    let refused = admission::compare(&guest, &there, OtherCore::Accepted);
    assert_eq!(refused, Err(differences[0]));
}
