// SPDX-License-Identifier: BSD-2-Clause
//! Features of a processor whose state no record carries.
//!
//! Responsible for: which fields of the identification registers (DDI 0487, D24.2) announce state at EL1 or EL0 that the
//! register table does not have. A guest on such a processor can have something that a move would lose, so that it is
//! neither moved nor kept. Never: looks at whether a guest uses it.

use crate::RegisterFile;
use crate::register::Register;
use core::fmt;

/// A feature with state, and how it is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Feature {
    /// What people call it.
    pub name: &'static str,
    /// The register that announces it.
    pub register: Register,
    /// The lowest bit of its field of four.
    pub low: u32,
    /// The highest value of the field that announces no state which the records lack.
    known: u64,
}

const fn feature(name: &'static str, register: Register, low: u32, known: u64) -> Feature {
    Feature {
        name,
        register,
        low,
        known,
    }
}

/// All of them.
const FEATURES: [Feature; 29] = {
    use Register as R;
    [
        feature("SVE", R::ID_AA64PFR0_EL1, 32, 0),
        feature("SME", R::ID_AA64PFR1_EL1, 24, 0),
        feature("pointer authentication", R::ID_AA64ISAR1_EL1, 4, 0),
        feature("pointer authentication", R::ID_AA64ISAR1_EL1, 8, 0),
        feature("pointer authentication", R::ID_AA64ISAR1_EL1, 24, 0),
        feature("pointer authentication", R::ID_AA64ISAR1_EL1, 28, 0),
        feature("pointer authentication", R::ID_AA64ISAR2_EL1, 8, 0),
        feature("pointer authentication", R::ID_AA64ISAR2_EL1, 12, 0),
        // 1: the instructions alone.
        feature("memory tagging", R::ID_AA64PFR1_EL1, 8, 1),
        // 1: the error barrier and DISR_EL1, see the documentation; 2: more registers of error records.
        feature("RAS 1.1", R::ID_AA64PFR0_EL1, 28, 1),
        // 1: without SCXTNUM_EL0 and SCXTNUM_EL1.
        feature("SCXTNUM_EL0", R::ID_AA64PFR0_EL1, 56, 1),
        feature("SCXTNUM_EL0", R::ID_AA64PFR1_EL1, 32, 0),
        feature("MPAM", R::ID_AA64PFR0_EL1, 40, 0),
        feature("MPAM", R::ID_AA64PFR1_EL1, 16, 0),
        feature("activity monitors", R::ID_AA64PFR0_EL1, 44, 0),
        feature("non-maskable interrupts", R::ID_AA64PFR1_EL1, 36, 0),
        feature("guarded control stacks", R::ID_AA64PFR1_EL1, 44, 0),
        feature("FPMR", R::ID_AA64PFR2_EL1, 32, 0),
        feature("statistical profiling", R::ID_AA64DFR0_EL1, 32, 0),
        feature("trace unit", R::ID_AA64DFR0_EL1, 4, 0),
        feature("trace filters", R::ID_AA64DFR0_EL1, 40, 0),
        feature("trace buffer", R::ID_AA64DFR0_EL1, 44, 0),
        feature("branch records", R::ID_AA64DFR0_EL1, 52, 0),
        feature(
            "64-byte stores with ACCDATA_EL1",
            R::ID_AA64ISAR1_EL1,
            60,
            2,
        ),
        feature("TCR2_EL1", R::ID_AA64MMFR3_EL1, 0, 0),
        feature("SCTLR2_EL1", R::ID_AA64MMFR3_EL1, 4, 0),
        feature("permission indirection", R::ID_AA64MMFR3_EL1, 8, 0),
        feature("permission overlays", R::ID_AA64MMFR3_EL1, 16, 0),
        feature("attribute indirection", R::ID_AA64MMFR3_EL1, 24, 0),
    ]
};

impl Feature {
    fn is_of(&self, constants: &RegisterFile) -> bool {
        let value = constants.word(self.register).unwrap_or(0) >> self.low & 0xf;
        value > self.known
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, register, low) = (self.name, self.register.name(), self.low);
        write!(formatter, "{name} ({register}, bits {} to {low})", low + 3)
    }
}

/// The first feature of a processor with these constants whose state the records lack.
pub fn beyond_records(constants: &RegisterFile) -> Option<Feature> {
    FEATURES
        .into_iter()
        .find(|feature| feature.is_of(constants))
}

/// The feature that is announced there.
pub fn announced_by(register: Register, low: u32) -> Option<Feature> {
    FEATURES
        .into_iter()
        .find(|feature| feature.register == register && feature.low == low)
}
