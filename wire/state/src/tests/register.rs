// SPDX-License-Identifier: BSD-2-Clause
//! The table: identifiers against the numbers that Linux publishes, and nothing twice.

use crate::{Policy, REGISTER_COUNT, Register, RegisterFile, Source, Width};
use std::collections::HashSet;

/// Identifiers as Linux's `get-reg-list` selftest lists them for arm64, written out as numbers.
const PUBLISHED: [(u64, Register); 24] = [
    (0x6030_0000_0010_0000, Register::X0),
    (0x6030_0000_0010_003c, Register::X30),
    (0x6030_0000_0010_003e, Register::SP_EL0),
    (0x6030_0000_0010_0040, Register::PC),
    (0x6030_0000_0010_0042, Register::PSTATE),
    (0x6030_0000_0010_0044, Register::SP_EL1),
    (0x6030_0000_0010_0046, Register::ELR_EL1),
    (0x6030_0000_0010_0048, Register::SPSR_EL1),
    (0x6040_0000_0010_0054, Register::V0),
    (0x6040_0000_0010_00d0, Register::V31),
    (0x6020_0000_0010_00d4, Register::FPSR),
    (0x6020_0000_0010_00d5, Register::FPCR),
    (0x6020_0000_0011_0000, Register::CCSIDR_L1D),
    (0x6020_0000_0011_0001, Register::CCSIDR_L1I),
    (0x6020_0000_0011_0002, Register::CCSIDR_L2D),
    (0x6030_0000_0013_c080, Register::SCTLR_EL1),
    (0x6030_0000_0013_c100, Register::TTBR0_EL1),
    (0x6030_0000_0013_c510, Register::MAIR_EL1),
    (0x6030_0000_0013_d000, Register::CSSELR_EL1),
    (0x6030_0000_0013_8012, Register::MDSCR_EL1),
    (0x6030_0000_0013_dce0, Register::PMCR_EL0),
    // KVM_REG_ARM_TIMER_CVAL and KVM_REG_ARM_TIMER_CNT carry each other's encodings, for ever.
    (0x6030_0000_0013_df02, Register::CNTV_CVAL_EL0),
    (0x6030_0000_0013_df1a, Register::CNTVCT_EL0),
    (0x6030_0000_0013_df19, Register::CNTV_CTL_EL0),
];

#[test]
fn the_last_register_of_some_rows_is_found_wherever_they_begin_and_end() {
    let mut file = RegisterFile::new();
    let mut there: Vec<usize> = Vec::new();
    for row in [0, 31, 32, 63, 64, 70, 127, REGISTER_COUNT - 1] {
        assert!(file.set(Register::ALL[row], 0));
        there.push(row);
        for (start, end) in
            (0..=REGISTER_COUNT).flat_map(|end| (0..=end).map(move |start| (start, end)))
        {
            let last = there.iter().rev().find(|row| (start..end).contains(*row));
            let last = last.map(|row| Register::ALL[*row]);
            assert_eq!(file.last_in(start..end), last, "{start}..{end}");
        }
    }
}

// Pitfall: Two identifiers were swapped.
#[test]
fn identifiers_are_those_that_linux_publishes() {
    for (number, register) in PUBLISHED {
        assert_eq!(register.identifier().value(), number, "{register:?}");
        assert_eq!(Register::from_identifier(number), Some(register));
    }
}

#[test]
fn no_register_is_in_the_table_twice() {
    let mut keys = HashSet::new();
    let mut encodings = HashSet::new();
    let mut names = HashSet::new();
    for register in Register::ALL {
        assert!(keys.insert(register.key()), "{register:?}");
        assert!(names.insert(register.name()), "{register:?}");
        if let Some(encoding) = register.encoding() {
            assert!(encodings.insert(encoding), "{register:?}");
        }
    }
}

#[test]
fn every_register_is_found_by_key_identifier_and_name() {
    for (index, register) in Register::ALL.into_iter().enumerate() {
        assert_eq!(register.index(), index);
        assert_eq!(Register::from_key(register.key()), Some(register));
        assert_eq!(
            Register::from_name(&register.name().to_lowercase()),
            Some(register)
        );
    }
    assert_eq!(Register::by_key().len(), REGISTER_COUNT);
    assert!(Register::by_key().is_sorted_by(|a, b| a.key() < b.key()));
}

#[test]
fn an_identifier_of_the_wrong_size_or_architecture_is_no_register() {
    assert_eq!(Register::from_identifier(0x6020_0000_0010_0000), None);
    assert_eq!(Register::from_identifier(0x4030_0000_0010_0000), None);
    assert_eq!(Register::from_identifier(0x6030_0000_0013_ffff), None);
}

#[test]
fn vector_registers_are_the_last_and_the_only_wide_ones() {
    for register in Register::ALL {
        let wide = register.width() == Width::W128;
        assert_eq!(wide, register.index() >= REGISTER_COUNT - 32);
        assert_eq!(wide, register.source() == Source::StubVectors);
    }
    for number in 0..32 {
        assert_eq!(
            Register::vector(number).map(Register::name),
            Some(&*format!("V{number}"))
        );
    }
    assert_eq!(Register::vector(32), None);
}

#[test]
fn general_registers_are_found_by_number() {
    for number in 0..31 {
        assert_eq!(
            Register::general(number).map(Register::name),
            Some(&*format!("X{number}"))
        );
    }
    assert_eq!(Register::general(31), None);
}

#[test]
fn constants_are_never_written() {
    for register in Register::ALL {
        let constant = register.class() == crate::Class::Constant;
        assert_eq!(constant, register.policy() != Policy::Write, "{register:?}");
    }
}

#[test]
fn a_file_keeps_what_is_set_and_refuses_what_is_too_wide() {
    let mut file = RegisterFile::new();
    assert!(file.set(Register::V31, u128::MAX));
    assert!(file.set(Register::X0, u64::MAX.into()));
    assert!(!file.set(Register::X0, 1 << 64));
    assert!(!file.set(Register::FPCR, 1 << 32));
    assert_eq!(file.word(Register::X0), Some(u64::MAX));
    assert_eq!(file.vector(Register::V31), Some(u128::MAX));
    assert_eq!(file.get(Register::FPCR), None);
    assert_eq!(file.len(), 2);
    file.remove(Register::X0);
    assert_eq!(
        file.iter().collect::<Vec<_>>(),
        [(Register::V31, u128::MAX)]
    );
}
