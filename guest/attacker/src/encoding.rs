// SPDX-License-Identifier: BSD-2-Clause
//! Instruction words (DDI 0487, C4.1), as far as programs are put together from them.

/// The number of encodings of `MRS` and `MSR`: `op0` 2 and 3, `op1`, `CRn`, `CRm` and `op2`.
pub const REGISTERS: usize = 2 << 14;

/// A system register, or a system instruction, by its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    /// `op0`: 1 for instructions, 2 for debug, 3 for everything else.
    pub op0: u32,
    /// `op1`.
    pub op1: u32,
    /// `CRn`.
    pub crn: u32,
    /// `CRm`.
    pub crm: u32,
    /// `op2`.
    pub op2: u32,
}

impl Register {
    /// By its fields, in the order in which the manual gives them.
    #[must_use]
    pub const fn new(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> Self {
        Self {
            op0,
            op1,
            crn,
            crm,
            op2,
        }
    }

    /// The register with this number, below [`REGISTERS`].
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "fifteen bits")]
    pub const fn numbered(number: usize) -> Self {
        Self::decode((2 << 14 | number as u32 & 0x7fff) << 5)
    }

    /// The register that the word of an `MSR`, `MRS` or `SYS` instruction names.
    #[must_use]
    pub const fn decode(word: u32) -> Self {
        Self {
            op0: word >> 19 & 3,
            op1: word >> 16 & 7,
            crn: word >> 12 & 15,
            crm: word >> 8 & 15,
            op2: word >> 5 & 7,
        }
    }

    const fn fields(self) -> u32 {
        self.op0 << 19 | self.op1 << 16 | self.crn << 12 | self.crm << 8 | self.op2 << 5
    }

    /// `MSR register, Xt`, or the system instruction.
    #[must_use]
    pub const fn write(self, general: u32) -> u32 {
        0xd500_0000 | self.fields() | general
    }

    /// `MRS Xt, register`.
    #[must_use]
    pub const fn read(self, general: u32) -> u32 {
        0xd520_0000 | self.fields() | general
    }
}

/// Registers that templates name.
pub mod register {
    use super::Register;

    /// `MDSCR_EL1`.
    pub const MDSCR: Register = Register::new(2, 0, 0, 2, 2);
    /// `OSLAR_EL1`.
    pub const OSLAR: Register = Register::new(2, 0, 1, 0, 4);
    /// `OSDLR_EL1`.
    pub const OSDLR: Register = Register::new(2, 0, 1, 3, 4);
    /// `SCTLR_EL1`.
    pub const SCTLR: Register = Register::new(3, 0, 1, 0, 0);
    /// `TTBR0_EL1`.
    pub const TTBR0: Register = Register::new(3, 0, 2, 0, 0);
    /// `TCR_EL1`.
    pub const TCR: Register = Register::new(3, 0, 2, 0, 2);
    /// `SPSR_EL1`.
    pub const SPSR: Register = Register::new(3, 0, 4, 0, 0);
    /// `ELR_EL1`.
    pub const ELR: Register = Register::new(3, 0, 4, 0, 1);
    /// `MAIR_EL1`.
    pub const MAIR: Register = Register::new(3, 0, 10, 2, 0);
    /// `VBAR_EL1`.
    pub const VBAR: Register = Register::new(3, 0, 12, 0, 0);
    /// `CNTKCTL_EL1`.
    pub const CNTKCTL: Register = Register::new(3, 0, 14, 1, 0);
    /// `PMINTENSET_EL1`.
    pub const PMINTENSET: Register = Register::new(3, 0, 9, 14, 1);
    /// `PMCR_EL0`.
    pub const PMCR: Register = Register::new(3, 3, 9, 12, 0);
    /// `PMCNTENSET_EL0`.
    pub const PMCNTENSET: Register = Register::new(3, 3, 9, 12, 1);
    /// `PMCCNTR_EL0`.
    pub const PMCCNTR: Register = Register::new(3, 3, 9, 13, 0);
    /// `PMUSERENR_EL0`.
    pub const PMUSERENR: Register = Register::new(3, 3, 9, 14, 0);
    /// `PMOVSSET_EL0`.
    pub const PMOVSSET: Register = Register::new(3, 3, 9, 14, 3);
    /// `PMCCFILTR_EL0`.
    pub const PMCCFILTR: Register = Register::new(3, 3, 14, 15, 7);
    /// `FPCR`.
    pub const FPCR: Register = Register::new(3, 3, 4, 4, 0);
    /// `CNTP_CTL_EL0`.
    pub const CNTP_CTL: Register = Register::new(3, 3, 14, 2, 1);
    /// `CNTP_CVAL_EL0`.
    pub const CNTP_CVAL: Register = Register::new(3, 3, 14, 2, 2);
    /// `CNTV_CTL_EL0`.
    pub const CNTV_CTL: Register = Register::new(3, 3, 14, 3, 1);
    /// `CNTV_CVAL_EL0`.
    pub const CNTV_CVAL: Register = Register::new(3, 3, 14, 3, 2);
    /// `CNTV_TVAL_EL0`.
    pub const CNTV_TVAL: Register = Register::new(3, 3, 14, 3, 0);

    /// `DBGBVRn_EL1`.
    #[must_use]
    pub const fn breakpoint_value(n: u32) -> Register {
        Register::new(2, 0, 0, n, 4)
    }

    /// `DBGBCRn_EL1`.
    #[must_use]
    pub const fn breakpoint_control(n: u32) -> Register {
        Register::new(2, 0, 0, n, 5)
    }

    /// `DBGWVRn_EL1`.
    #[must_use]
    pub const fn watchpoint_value(n: u32) -> Register {
        Register::new(2, 0, 0, n, 6)
    }

    /// `DBGWCRn_EL1`.
    #[must_use]
    pub const fn watchpoint_control(n: u32) -> Register {
        Register::new(2, 0, 0, n, 7)
    }
}

/// `SVC #0`: what ends every program.
pub const SVC: u32 = 0xd400_0001;
/// `HVC #0`.
pub const HVC: u32 = 0xd400_0002;
/// `SMC #0`.
pub const SMC: u32 = 0xd400_0003;
/// `BRK #0`.
pub const BRK: u32 = 0xd420_0000;
/// `HLT #0`.
pub const HLT: u32 = 0xd440_0000;
/// `ERET`.
pub const ERET: u32 = 0xd69f_03e0;
/// `NOP`, the first of the hints.
pub const NOP: u32 = 0xd503_201f;
/// `WFE`.
pub const WFE: u32 = 0xd503_205f;
/// `WFI`.
pub const WFI: u32 = 0xd503_207f;
/// `ISB`.
pub const ISB: u32 = 0xd503_3fdf;
/// `DSB SY`.
pub const DSB: u32 = 0xd503_3f9f;

/// The number of the zero register.
pub const ZERO: u32 = 31;

/// An exception-generating instruction with a random immediate: `SVC`, `HVC`, `SMC`, `BRK`, `HLT`, `DCPS1`–`3`.
#[must_use]
pub const fn with_immediate(word: u32, immediate: u32) -> u32 {
    word | (immediate & 0xffff) << 5
}

/// `BR Xn`.
#[must_use]
pub const fn branch_to(general: u32) -> u32 {
    0xd61f_0000 | general << 5
}

/// `MOVZ Xd, #value`.
#[must_use]
pub const fn move_number(general: u32, value: u32) -> u32 {
    0xd280_0000 | (value & 0xffff) << 5 | general
}

/// `SUBS Xn, Xn, #1`.
#[must_use]
pub const fn count_down(general: u32) -> u32 {
    0xf100_0400 | general << 5 | general
}

/// `B.NE` to so many instructions before this one.
#[must_use]
pub const fn back_if_not_zero(instructions: u32) -> u32 {
    0x5400_0001 | (instructions.wrapping_neg() & 0x7_ffff) << 5
}

/// `STR Wt, [Xn]`.
#[must_use]
pub const fn store_word(value: u32, address: u32) -> u32 {
    0xb900_0000 | address << 5 | value
}

/// `LDR Wt, [Xn]`.
#[must_use]
pub const fn load_word(value: u32, address: u32) -> u32 {
    0xb940_0000 | address << 5 | value
}
