//! Admission: boards that a guest cannot tell apart, and boards that it can.

use crate::admission::{Refusal, Side, compare};
use crate::{Class, MachineRecordV1, Policy, Register, Source};

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

fn board() -> MachineRecordV1 {
    let mut machine = MachineRecordV1 {
        board: "qemu_virt".try_into().unwrap(),
        ram_base: 0x4000_0000,
        ram_size: 128 << 20,
        vcpus: 4,
        gic_version: 2,
        shared_interrupts: 256,
        ..MachineRecordV1::default()
    };
    for register in Register::ALL {
        if register.source() == Source::Probe {
            assert!(machine.constants.set(register, 0));
        }
    }
    for (register, value) in CORTEX_A53 {
        assert!(machine.constants.set(register, value.into()));
    }
    machine
}

/// The board with one register changed.
fn with(register: Register, value: u64) -> MachineRecordV1 {
    let mut machine = board();
    assert!(machine.constants.set(register, value.into()));
    machine
}

fn refused_for(register: Register, source: &MachineRecordV1, destination: &MachineRecordV1) {
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
    let change = |change: fn(&mut MachineRecordV1)| {
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
            let value = board().constants.word(register).unwrap() ^ 1;
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
        assert!(unknown.constants.set(Register::ID_AA64PFR0_EL1, 0x221));
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
    poor.constants.remove(Register::ID_AA64PFR0_EL1);
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
