// SPDX-License-Identifier: BSD-2-Clause
//! Registers: the order of a thread's context, and the numbers of a vCPU's system registers.
//!
//! Orders from `seL4_UserContext` (`sel4/sel4_arch/types.h`) and `seL4_VCPUReg`
//! (`sel4/sel4_arch/constants.h`).

use crate::Word;

/// Where each register stands in a thread's context, as indices of its words.
pub mod context {
    /// The program counter: the instruction to continue at, after a fault the one that faulted.
    pub const PC: usize = 0;
    /// `SP_EL0`.
    pub const SP: usize = 1;
    /// The processor state, `SPSR_EL2` as the kernel will load it.
    pub const SPSR: usize = 2;
    /// `x0`; `x1` to `x8` follow it.
    pub const X0: usize = 3;
    /// `TPIDR_EL0`.
    pub const TPIDR_EL0: usize = 34;
    /// `TPIDRRO_EL0`.
    pub const TPIDRRO_EL0: usize = 35;
    /// How many registers a context has.
    pub const COUNT: usize = 36;

    /// Where `x0` to `x30` stand: those that a caller saves come first.
    pub const GENERAL: [usize; 31] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, // x0 to x8
        17, 18, 19, 20, 21, 22, 23, // x9 to x15
        12, 13, 14, // x16 to x18
        24, 25, 26, 27, 28, 29, 30, 31, 32, 33, // x19 to x28
        15, 16, // x29 and x30
    ];
}

/// A system register of a vCPU, by its number in the vCPU's invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "Arm's names")]
#[repr(u64)]
pub enum VCpuRegister {
    /// `SCTLR_EL1`
    SCTLR = 0,
    /// `CPACR_EL1`
    CPACR = 1,
    /// `TTBR0_EL1`
    TTBR0 = 2,
    /// `TTBR1_EL1`
    TTBR1 = 3,
    /// `TCR_EL1`
    TCR = 4,
    /// `MAIR_EL1`
    MAIR = 5,
    /// `AMAIR_EL1`
    AMAIR = 6,
    /// `CONTEXTIDR_EL1`
    CIDR = 7,
    /// `ACTLR_EL1`
    ACTLR = 8,
    /// `AFSR0_EL1`
    AFSR0 = 9,
    /// `AFSR1_EL1`
    AFSR1 = 10,
    /// `ESR_EL1`
    ESR = 11,
    /// `FAR_EL1`
    FAR = 12,
    /// `PAR_EL1`
    PAR = 13,
    /// `VBAR_EL1`
    VBAR = 14,
    /// `TPIDR_EL1`
    TPIDR_EL1 = 15,
    /// `VMPIDR_EL2`: what the guest reads as `MPIDR_EL1`
    VMPIDR_EL2 = 16,
    /// `SP_EL1`
    SP_EL1 = 17,
    /// `ELR_EL1`
    ELR_EL1 = 18,
    /// `SPSR_EL1`
    SPSR_EL1 = 19,
    /// `CNTV_CTL_EL0`
    CNTV_CTL = 20,
    /// `CNTV_CVAL_EL0`
    CNTV_CVAL = 21,
    /// `CNTVOFF_EL2`
    CNTVOFF = 22,
    /// `CNTKCTL_EL1`
    CNTKCTL_EL1 = 23,
}

impl VCpuRegister {
    /// How many registers a vCPU has, `seL4_VCPUReg_Num`.
    pub const COUNT: usize = 24;

    /// All registers, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::SCTLR,
        Self::CPACR,
        Self::TTBR0,
        Self::TTBR1,
        Self::TCR,
        Self::MAIR,
        Self::AMAIR,
        Self::CIDR,
        Self::ACTLR,
        Self::AFSR0,
        Self::AFSR1,
        Self::ESR,
        Self::FAR,
        Self::PAR,
        Self::VBAR,
        Self::TPIDR_EL1,
        Self::VMPIDR_EL2,
        Self::SP_EL1,
        Self::ELR_EL1,
        Self::SPSR_EL1,
        Self::CNTV_CTL,
        Self::CNTV_CVAL,
        Self::CNTVOFF,
        Self::CNTKCTL_EL1,
    ];

    /// The number in the vCPU's invocations.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> Word {
        self as Word
    }

    /// The register that has a number.
    #[must_use]
    pub fn from_number(number: Word) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_has_every_register_exactly_once() {
        let mut seen = [false; context::COUNT];
        let others = [
            context::PC,
            context::SP,
            context::SPSR,
            context::TPIDR_EL0,
            context::TPIDRRO_EL0,
        ];
        for index in context::GENERAL.into_iter().chain(others) {
            assert!(!core::mem::replace(&mut seen[index], true));
        }
        assert_eq!(seen, [true; context::COUNT]);
    }

    #[test]
    fn every_number_names_the_register_that_has_it() {
        for (number, register) in VCpuRegister::ALL.into_iter().enumerate() {
            assert_eq!(register.number(), number as Word);
            assert_eq!(VCpuRegister::from_number(number as Word), Some(register));
        }
        assert_eq!(VCpuRegister::from_number(24), None);
    }
}
