// SPDX-License-Identifier: BSD-2-Clause
//! Processors with state that the records do not carry.

use crate::coverage::{announced_by, beyond_records};
use crate::{Register, RegisterFile};

fn with(register: Register, value: u64) -> RegisterFile {
    let mut constants = RegisterFile::new();
    assert!(constants.set_word(register, value));
    constants
}

fn name(register: Register, value: u64) -> Option<&'static str> {
    beyond_records(&with(register, value)).map(|feature| feature.name)
}

#[test]
fn features_whose_state_is_lost_are_named() {
    for (register, low, value, wanted) in [
        (Register::ID_AA64PFR0_EL1, 32, 1, "SVE"),
        (Register::ID_AA64PFR1_EL1, 24, 1, "SME"),
        (Register::ID_AA64ISAR1_EL1, 4, 1, "pointer authentication"),
        (Register::ID_AA64ISAR1_EL1, 28, 1, "pointer authentication"),
        (Register::ID_AA64ISAR2_EL1, 12, 5, "pointer authentication"),
        (Register::ID_AA64PFR1_EL1, 8, 2, "memory tagging"),
        (Register::ID_AA64PFR0_EL1, 28, 2, "RAS 1.1"),
        (Register::ID_AA64PFR0_EL1, 44, 1, "activity monitors"),
        (Register::ID_AA64PFR0_EL1, 56, 2, "SCXTNUM_EL0"),
        (Register::ID_AA64DFR0_EL1, 32, 1, "statistical profiling"),
        (Register::ID_AA64MMFR3_EL1, 0, 1, "TCR2_EL1"),
    ] {
        assert_eq!(name(register, value << low), Some(wanted), "{register:?}");
    }
}

#[test]
fn what_is_carried_or_has_no_state_is_no_reason() {
    assert_eq!(beyond_records(&RegisterFile::new()), None);
    for (register, value) in [
        // A Cortex-A53 and a Cortex-A76, as QEMU shows them.
        (Register::ID_AA64PFR0_EL1, 0x222),
        (Register::ID_AA64PFR0_EL1, 0x1100_0000_1011_0112),
        (Register::ID_AA64PFR1_EL1, 0x10),
        (Register::ID_AA64DFR0_EL1, 0x1030_5408),
        (Register::ID_AA64ISAR1_EL1, 0x10_0001),
        (Register::ID_AA64MMFR1_EL1, 0x1021_2122),
        (Register::ID_AA64MMFR2_EL1, 0x1011),
        // The instructions of memory tagging alone.
        (Register::ID_AA64PFR1_EL1, 0x100),
    ] {
        assert_eq!(name(register, value), None, "{register:?} {value:#x}");
    }
}

#[test]
fn a_feature_is_found_again_by_what_announces_it() {
    for register in Register::ALL {
        for low in (0..64).step_by(4) {
            let Some(feature) = announced_by(register, low) else {
                continue;
            };
            let found = beyond_records(&with(register, 0xf << low)).unwrap();
            assert_eq!((found.register, found.low), (register, low));
            assert_eq!(found, feature);
            let text = feature.to_string();
            assert!(text.contains(register.name()) && text.contains(&low.to_string()));
        }
    }
}
