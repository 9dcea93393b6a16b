// SPDX-License-Identifier: BSD-2-Clause
//! What each register of the table may hold, for a 64-bit guest at EL1 and EL0.
//!
//! Responsible for: one rule for every row of the table, and what the rule says in words. Whoever turns the rules into
//! code does so by an exhaustive `match`, so that a row without a rule does not compile. Never: checks anything
//! (`state::legal` does).
//!
//! Bits are those of DDI 0487, D24, as of Armv9.5. Of most registers a guest may write any value at all, and of the bits
//! that are RES0 a core may keep what was written (DDI 0487, Glossary, "RES0"). Such bits are accepted from a guest that
//! comes from elsewhere, for it may have them, and not from an operator, who can only mean something else.
//!
//! A rule is
//!
//! * `Any`: any value of the register's width;
//! * `Bits(defined, kept)`: an operator may set what is `defined`; a guest may have what some core has been seen to keep;
//! * `Constant`, `Identity`: not for writing;
//! * one that depends on the processor or on another register, by its name.

/// Hands the rules to the macro `$callback`, after `$arguments` in brackets: a rule, its words, and the names of its rows.
#[macro_export]
macro_rules! legal_values {
    ($callback:ident $($arguments:tt)*) => { $callback! { [$($arguments)*]
        Any "any value" {
            X0 X1 X2 X3 X4 X5 X6 X7 X8 X9 X10 X11 X12 X13 X14 X15 X16 X17 X18 X19 X20 X21 X22 X23 X24 X25 X26 X27
            X28 X29 X30 SP_EL0 TPIDR_EL0 TPIDRRO_EL0 TTBR0_EL1 TTBR1_EL1 FAR_EL1 PAR_EL1 MAIR_EL1 TPIDR_EL1 ELR_EL1
            SP_EL1 PMCCNTR_EL0 CNTV_CVAL_EL0 CNTVCT_EL0 V0 V1 V2 V3 V4 V5 V6 V7 V8 V9 V10 V11 V12 V13 V14 V15 V16
            V17 V18 V19 V20 V21 V22 V23 V24 V25 V26 V27 V28 V29 V30 V31
        }
        Pc "any address; of a 32-bit program, one of 32 bits that is aligned to its instructions" {
            PC
        }
        State "M (bits 4 to 0) is EL0t (0), EL1t (4) or EL1h (5), or User (0x10) if the processor runs 32-bit programs; besides NZCV, DAIF, SS and IL only what it has of PAN, UAO, DIT, SSBS, BTYPE, TCO and ALLINT" {
            PSTATE
        }
        Saved "what PSTATE may be; a guest that writes something else here itself keeps it" {
            SPSR_EL1
        }
        Control "the fields that the processor has; those of MTE only with MTE" {
            SCTLR_EL1
        }
        Implementation "no bits: this class of processor defines none, and a write has no effect" {
            ACTLR_EL1 AFSR0_EL1 AFSR1_EL1 AMAIR_EL1
        }
        Bits(0x3fff_fff7_ffff_ffbf, 0xffff_ffff_ffff_ffff) "bits 61 to 0 without 35 and 6" {
            TCR_EL1
        }
        Bits(0x00ff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff) "bits 55 to 0" {
            ESR_EL1
        }
        Bits(0xffff_ffff, 0xffff_ffff_ffff_ffff) "bits 31 to 0" {
            CONTEXTIDR_EL1
        }
        Cache "the number of a cache that there can be, Level (bits 3 to 1) at most 6; TnD (bit 4) only with MTE" {
            CSSELR_EL1
        }
        Access "FPEN (21 to 20) and TTA (28); ZEN (17 to 16) only with SVE, SMEN (25 to 24) only with SME" {
            CPACR_EL1
        }
        Bits(0xffff_ffff_ffff_f800, 0xffff_ffff_ffff_ffe0) "a multiple of 2 KiB" {
            VBAR_EL1
        }
        Bits(0xf800_009f, 0xf800_009f) "NZCV, QC and the cumulative exception bits: bits 31 to 27, 7 and 4 to 0" {
            FPSR
        }
        FloatingPointControl "AHP, DN, FZ and RMode (bits 26 to 22), and FZ16 (19) with half precision" {
            FPCR
        }
        Bits(0x6000_0000, 0xffff_ffff_ffff_ffff) "TX and RX: bits 30 and 29" {
            MDCCINT_EL1
        }
        Bits(0xecec_f041, 0xffff_ffff_ffff_ffff) "bits 31 to 29, 27, 26, 23 to 21, 19, 15 to 12, 6 and 0" {
            MDSCR_EL1
        }
        Lock "OSLK (bit 1) set or clear; OSLM (bit 3) is constant" {
            OSLSR_EL1
        }
        Any "an address, or a context's number" {
            DBGBVR0_EL1 DBGBVR1_EL1 DBGBVR2_EL1 DBGBVR3_EL1 DBGBVR4_EL1 DBGBVR5_EL1 DBGBVR6_EL1 DBGBVR7_EL1
            DBGBVR8_EL1 DBGBVR9_EL1 DBGBVR10_EL1 DBGBVR11_EL1 DBGBVR12_EL1 DBGBVR13_EL1 DBGBVR14_EL1 DBGBVR15_EL1
            DBGWVR0_EL1 DBGWVR1_EL1 DBGWVR2_EL1 DBGWVR3_EL1 DBGWVR4_EL1 DBGWVR5_EL1 DBGWVR6_EL1 DBGWVR7_EL1
            DBGWVR8_EL1 DBGWVR9_EL1 DBGWVR10_EL1 DBGWVR11_EL1 DBGWVR12_EL1 DBGWVR13_EL1 DBGWVR14_EL1 DBGWVR15_EL1
        }
        Bits(0x60ff_e1ff, 0xffff_ffff_ffff_ffff) "bits 30, 29, 23 to 13 and 8 to 0" {
            DBGBCR0_EL1 DBGBCR1_EL1 DBGBCR2_EL1 DBGBCR3_EL1 DBGBCR4_EL1 DBGBCR5_EL1 DBGBCR6_EL1 DBGBCR7_EL1
            DBGBCR8_EL1 DBGBCR9_EL1 DBGBCR10_EL1 DBGBCR11_EL1 DBGBCR12_EL1 DBGBCR13_EL1 DBGBCR14_EL1 DBGBCR15_EL1
        }
        Bits(0x7f1f_ffff, 0xffff_ffff_ffff_ffff) "bits 30 to 24 and 20 to 0" {
            DBGWCR0_EL1 DBGWCR1_EL1 DBGWCR2_EL1 DBGWCR3_EL1 DBGWCR4_EL1 DBGWCR5_EL1 DBGWCR6_EL1 DBGWCR7_EL1
            DBGWCR8_EL1 DBGWCR9_EL1 DBGWCR10_EL1 DBGWCR11_EL1 DBGWCR12_EL1 DBGWCR13_EL1 DBGWCR14_EL1 DBGWCR15_EL1
        }
        MonitorControl "E, D, X, DP, LC, LP and FZO (bits 9, 7 to 3 and 0); what identifies the monitor (31 to 11) is constant, and the bits that reset (2 and 1) are no state" {
            PMCR_EL0
        }
        Counters "one bit for each event counter that PMCR_EL0.N says there is, and bit 31 for cycles" {
            PMCNTENSET_EL0 PMOVSSET_EL0 PMINTENSET_EL1
        }
        Bits(0x1f, 0x1f) "bits 4 to 0" {
            PMSELR_EL0
        }
        Bits(0x7f, 0x7f) "bits 6 to 0" {
            PMUSERENR_EL0
        }
        Bits(0x0300_0000_ff00_0000, 0xffff_ffff_ffff_ffff) "the filters: bits 57, 56 and 31 to 24" {
            PMCCFILTR_EL0
        }
        EventCounter "32 bits; 64 from version 3.5 of the performance monitor on" {
            PMEVCNTR0_EL0 PMEVCNTR1_EL0 PMEVCNTR2_EL0 PMEVCNTR3_EL0 PMEVCNTR4_EL0 PMEVCNTR5_EL0 PMEVCNTR6_EL0
            PMEVCNTR7_EL0 PMEVCNTR8_EL0 PMEVCNTR9_EL0 PMEVCNTR10_EL0 PMEVCNTR11_EL0 PMEVCNTR12_EL0 PMEVCNTR13_EL0
            PMEVCNTR14_EL0 PMEVCNTR15_EL0 PMEVCNTR16_EL0 PMEVCNTR17_EL0 PMEVCNTR18_EL0 PMEVCNTR19_EL0 PMEVCNTR20_EL0
            PMEVCNTR21_EL0 PMEVCNTR22_EL0 PMEVCNTR23_EL0 PMEVCNTR24_EL0 PMEVCNTR25_EL0 PMEVCNTR26_EL0 PMEVCNTR27_EL0
            PMEVCNTR28_EL0 PMEVCNTR29_EL0 PMEVCNTR30_EL0
        }
        Bits(0xe30f_0fff_ff00_ffff, 0xffff_ffff_ffff_ffff) "the event, bits 15 to 0, and the filters and thresholds above" {
            PMEVTYPER0_EL0 PMEVTYPER1_EL0 PMEVTYPER2_EL0 PMEVTYPER3_EL0 PMEVTYPER4_EL0 PMEVTYPER5_EL0 PMEVTYPER6_EL0
            PMEVTYPER7_EL0 PMEVTYPER8_EL0 PMEVTYPER9_EL0 PMEVTYPER10_EL0 PMEVTYPER11_EL0 PMEVTYPER12_EL0
            PMEVTYPER13_EL0 PMEVTYPER14_EL0 PMEVTYPER15_EL0 PMEVTYPER16_EL0 PMEVTYPER17_EL0 PMEVTYPER18_EL0
            PMEVTYPER19_EL0 PMEVTYPER20_EL0 PMEVTYPER21_EL0 PMEVTYPER22_EL0 PMEVTYPER23_EL0 PMEVTYPER24_EL0
            PMEVTYPER25_EL0 PMEVTYPER26_EL0 PMEVTYPER27_EL0 PMEVTYPER28_EL0 PMEVTYPER29_EL0 PMEVTYPER30_EL0
        }
        Bits(0x3, 0x3) "ENABLE and IMASK: bits 1 and 0" {
            CNTV_CTL_EL0
        }
        Bits(0x2_03ff, 0xffff_ffff) "EVNTIS and bits 9 to 0" {
            CNTKCTL_EL1
        }
        Identity "the vCPU's own number in Aff0, and bit 31" {
            MPIDR_EL1
        }
        Constant "whatever the destination can offer as well: it is compared and never written" {
            MIDR_EL1 REVIDR_EL1 AIDR_EL1 CNTFRQ_EL0 CTR_EL0 DCZID_EL0 ID_AA64PFR0_EL1 ID_AA64PFR1_EL1
            ID_AA64PFR2_EL1 ID_AA64ZFR0_EL1 ID_AA64SMFR0_EL1 ID_AA64FPFR0_EL1 ID_AA64DFR0_EL1 ID_AA64DFR1_EL1
            ID_AA64DFR2_EL1 ID_AA64AFR0_EL1 ID_AA64AFR1_EL1 ID_AA64ISAR0_EL1 ID_AA64ISAR1_EL1 ID_AA64ISAR2_EL1
            ID_AA64ISAR3_EL1 ID_AA64MMFR0_EL1 ID_AA64MMFR1_EL1 ID_AA64MMFR2_EL1 ID_AA64MMFR3_EL1 ID_AA64MMFR4_EL1
            ID_PFR0_EL1 ID_PFR1_EL1 ID_DFR0_EL1 ID_AFR0_EL1 ID_MMFR0_EL1 ID_MMFR1_EL1 ID_MMFR2_EL1 ID_MMFR3_EL1
            ID_ISAR0_EL1 ID_ISAR1_EL1 ID_ISAR2_EL1 ID_ISAR3_EL1 ID_ISAR4_EL1 ID_ISAR5_EL1 ID_MMFR4_EL1 ID_ISAR6_EL1
            MVFR0_EL1 MVFR1_EL1 MVFR2_EL1 ID_PFR2_EL1 ID_DFR1_EL1 ID_MMFR5_EL1 CLIDR_EL1 CCSIDR_L1D CCSIDR_L1I
            CCSIDR_L2D CCSIDR_L2I CCSIDR_L3D CCSIDR_L3I CCSIDR_L4D CCSIDR_L4I CCSIDR_L5D CCSIDR_L5I CCSIDR_L6D
            CCSIDR_L6I CCSIDR_L7D CCSIDR_L7I MDRAR_EL1 PMCEID0_EL0 PMCEID1_EL0
        }
    } };
}
