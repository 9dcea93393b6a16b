// SPDX-License-Identifier: BSD-2-Clause
//! The register table: every AArch64 register that belongs to a vCPU, once.
//!
//! Responsible for: name, public identifier, width, class, place of capture and restore policy of each register
//! (Armv8-A as a Cortex-A53 class CPU implements it; DDI 0487, D17 for the encodings). The records' fields, the
//! capture stub's save and load sequences, the embedded kernel's world switch, what the probe guest fills, identifiers
//! and documentation all come from these rows. Never: code for one of those uses; each brings a macro of its own and
//! hands its name to [`register_table!`]. It depends on nothing, so that a kernel can use it.
//!
//! Longer than other files because it is one list, and splitting it would make it two.
//!
//! A group is `class source policy "reason" { rows }`. A row is `NAME identifier;`, and the identifier one of
//!
//! * `core(offset)`: in KVM's `struct kvm_regs`, `offset` counted in 32-bit words; 64 bits wide;
//! * `vector(offset)`: the same, 128 bits wide;
//! * `core_system(offset, op0, op1, CRn, CRm, op2)`: numbered as `core`, accessed as a system register;
//! * `core_system32(offset, op0, …, op2)`: the same, 32 bits wide;
//! * `system(op0, op1, CRn, CRm, op2)`: a system register; 64 bits wide;
//! * `cache(selector)`: `CCSIDR_EL1` as `CSSELR_EL1 = selector` shows it; 32 bits wide;
//! * `alias(id op0, …, op2; op0, …, op2)`: a system register that KVM numbers as if it were another one.

#![no_std]
#![forbid(unsafe_code)]

mod legal;
pub mod remains;

/// Hands every row of the register table to the macro `$callback`, after `$arguments` in brackets.
#[macro_export]
macro_rules! register_table {
    ($callback:ident $($arguments:tt)*) => { $callback! { [$($arguments)*]
        Core Thread Write "the guest's own; whatever it was" {
            X0 core(0x00);
            X1 core(0x02);
            X2 core(0x04);
            X3 core(0x06);
            X4 core(0x08);
            X5 core(0x0a);
            X6 core(0x0c);
            X7 core(0x0e);
            X8 core(0x10);
            X9 core(0x12);
            X10 core(0x14);
            X11 core(0x16);
            X12 core(0x18);
            X13 core(0x1a);
            X14 core(0x1c);
            X15 core(0x1e);
            X16 core(0x20);
            X17 core(0x22);
            X18 core(0x24);
            X19 core(0x26);
            X20 core(0x28);
            X21 core(0x2a);
            X22 core(0x2c);
            X23 core(0x2e);
            X24 core(0x30);
            X25 core(0x32);
            X26 core(0x34);
            X27 core(0x36);
            X28 core(0x38);
            X29 core(0x3a);
            X30 core(0x3c);
            SP_EL0 core(0x3e);
            PC core(0x40);
            PSTATE core(0x42);
        }
        System Thread Write "the guest's own; whatever it was" {
            TPIDR_EL0 system(3, 3, 13, 0, 2);
            TPIDRRO_EL0 system(3, 3, 13, 0, 3);
        }
        System Object Write "changed for the stub's run, so taken from the vCPU object before and put back after" {
            SCTLR_EL1 system(3, 0, 1, 0, 0);
        }
        System Stub Write "the guest's own; whatever it was" {
            ACTLR_EL1 system(3, 0, 1, 0, 1);
            TTBR0_EL1 system(3, 0, 2, 0, 0);
            TTBR1_EL1 system(3, 0, 2, 0, 1);
            TCR_EL1 system(3, 0, 2, 0, 2);
            AFSR0_EL1 system(3, 0, 5, 1, 0);
            AFSR1_EL1 system(3, 0, 5, 1, 1);
            ESR_EL1 system(3, 0, 5, 2, 0);
            FAR_EL1 system(3, 0, 6, 0, 0);
            PAR_EL1 system(3, 0, 7, 4, 0);
            MAIR_EL1 system(3, 0, 10, 2, 0);
            AMAIR_EL1 system(3, 0, 10, 3, 0);
            CONTEXTIDR_EL1 system(3, 0, 13, 0, 1);
            TPIDR_EL1 system(3, 0, 13, 0, 4);
            CSSELR_EL1 system(3, 2, 0, 0, 0);
            ELR_EL1 core_system(0x46, 3, 0, 4, 0, 1);
            SPSR_EL1 core_system(0x48, 3, 0, 4, 0, 0);
        }
        System StubOwn Write "the stub replaces it first and loads it last" {
            CPACR_EL1 system(3, 0, 1, 0, 2);
            SP_EL1 core(0x44);
            VBAR_EL1 system(3, 0, 12, 0, 0);
        }
        FloatingPoint Stub Write "the guest's own; whatever it was" {
            FPSR core_system32(0xd4, 3, 3, 4, 4, 1);
            FPCR core_system32(0xd5, 3, 3, 4, 4, 0);
        }
        Debug Stub Write "the guest's own; the lock comes from OSLSR_EL1" {
            MDCCINT_EL1 system(2, 0, 0, 2, 0);
            MDSCR_EL1 system(2, 0, 0, 2, 2);
        }
        Debug StubOwn Write "OSLK only, through OSLAR_EL1; the other bits are constant" {
            OSLSR_EL1 system(2, 0, 1, 1, 4);
        }
        Debug StubBreakpoints Write "as many pairs as ID_AA64DFR0_EL1 says; a destination must have them" {
            DBGBVR0_EL1 system(2, 0, 0, 0, 4);
            DBGBCR0_EL1 system(2, 0, 0, 0, 5);
            DBGBVR1_EL1 system(2, 0, 0, 1, 4);
            DBGBCR1_EL1 system(2, 0, 0, 1, 5);
            DBGBVR2_EL1 system(2, 0, 0, 2, 4);
            DBGBCR2_EL1 system(2, 0, 0, 2, 5);
            DBGBVR3_EL1 system(2, 0, 0, 3, 4);
            DBGBCR3_EL1 system(2, 0, 0, 3, 5);
            DBGBVR4_EL1 system(2, 0, 0, 4, 4);
            DBGBCR4_EL1 system(2, 0, 0, 4, 5);
            DBGBVR5_EL1 system(2, 0, 0, 5, 4);
            DBGBCR5_EL1 system(2, 0, 0, 5, 5);
            DBGBVR6_EL1 system(2, 0, 0, 6, 4);
            DBGBCR6_EL1 system(2, 0, 0, 6, 5);
            DBGBVR7_EL1 system(2, 0, 0, 7, 4);
            DBGBCR7_EL1 system(2, 0, 0, 7, 5);
            DBGBVR8_EL1 system(2, 0, 0, 8, 4);
            DBGBCR8_EL1 system(2, 0, 0, 8, 5);
            DBGBVR9_EL1 system(2, 0, 0, 9, 4);
            DBGBCR9_EL1 system(2, 0, 0, 9, 5);
            DBGBVR10_EL1 system(2, 0, 0, 10, 4);
            DBGBCR10_EL1 system(2, 0, 0, 10, 5);
            DBGBVR11_EL1 system(2, 0, 0, 11, 4);
            DBGBCR11_EL1 system(2, 0, 0, 11, 5);
            DBGBVR12_EL1 system(2, 0, 0, 12, 4);
            DBGBCR12_EL1 system(2, 0, 0, 12, 5);
            DBGBVR13_EL1 system(2, 0, 0, 13, 4);
            DBGBCR13_EL1 system(2, 0, 0, 13, 5);
            DBGBVR14_EL1 system(2, 0, 0, 14, 4);
            DBGBCR14_EL1 system(2, 0, 0, 14, 5);
            DBGBVR15_EL1 system(2, 0, 0, 15, 4);
            DBGBCR15_EL1 system(2, 0, 0, 15, 5);
        }
        Debug StubWatchpoints Write "as many pairs as ID_AA64DFR0_EL1 says; a destination must have them" {
            DBGWVR0_EL1 system(2, 0, 0, 0, 6);
            DBGWCR0_EL1 system(2, 0, 0, 0, 7);
            DBGWVR1_EL1 system(2, 0, 0, 1, 6);
            DBGWCR1_EL1 system(2, 0, 0, 1, 7);
            DBGWVR2_EL1 system(2, 0, 0, 2, 6);
            DBGWCR2_EL1 system(2, 0, 0, 2, 7);
            DBGWVR3_EL1 system(2, 0, 0, 3, 6);
            DBGWCR3_EL1 system(2, 0, 0, 3, 7);
            DBGWVR4_EL1 system(2, 0, 0, 4, 6);
            DBGWCR4_EL1 system(2, 0, 0, 4, 7);
            DBGWVR5_EL1 system(2, 0, 0, 5, 6);
            DBGWCR5_EL1 system(2, 0, 0, 5, 7);
            DBGWVR6_EL1 system(2, 0, 0, 6, 6);
            DBGWCR6_EL1 system(2, 0, 0, 6, 7);
            DBGWVR7_EL1 system(2, 0, 0, 7, 6);
            DBGWCR7_EL1 system(2, 0, 0, 7, 7);
            DBGWVR8_EL1 system(2, 0, 0, 8, 6);
            DBGWCR8_EL1 system(2, 0, 0, 8, 7);
            DBGWVR9_EL1 system(2, 0, 0, 9, 6);
            DBGWCR9_EL1 system(2, 0, 0, 9, 7);
            DBGWVR10_EL1 system(2, 0, 0, 10, 6);
            DBGWCR10_EL1 system(2, 0, 0, 10, 7);
            DBGWVR11_EL1 system(2, 0, 0, 11, 6);
            DBGWCR11_EL1 system(2, 0, 0, 11, 7);
            DBGWVR12_EL1 system(2, 0, 0, 12, 6);
            DBGWCR12_EL1 system(2, 0, 0, 12, 7);
            DBGWVR13_EL1 system(2, 0, 0, 13, 6);
            DBGWCR13_EL1 system(2, 0, 0, 13, 7);
            DBGWVR14_EL1 system(2, 0, 0, 14, 6);
            DBGWCR14_EL1 system(2, 0, 0, 14, 7);
            DBGWVR15_EL1 system(2, 0, 0, 15, 6);
            DBGWCR15_EL1 system(2, 0, 0, 15, 7);
        }
        Pmu StubPmu Write "absolute values: reset bits are not replayed, enables come once" {
            PMCR_EL0 system(3, 3, 9, 12, 0);
            PMCNTENSET_EL0 system(3, 3, 9, 12, 1);
            PMOVSSET_EL0 system(3, 3, 9, 14, 3);
            PMSELR_EL0 system(3, 3, 9, 12, 5);
            PMUSERENR_EL0 system(3, 3, 9, 14, 0);
            PMINTENSET_EL1 system(3, 0, 9, 14, 1);
            PMCCNTR_EL0 system(3, 3, 9, 13, 0);
            PMCCFILTR_EL0 system(3, 3, 14, 15, 7);
        }
        Pmu StubCounters Write "as many pairs as PMCR_EL0.N says; a destination must have them" {
            PMEVCNTR0_EL0 system(3, 3, 14, 8, 0);
            PMEVTYPER0_EL0 system(3, 3, 14, 12, 0);
            PMEVCNTR1_EL0 system(3, 3, 14, 8, 1);
            PMEVTYPER1_EL0 system(3, 3, 14, 12, 1);
            PMEVCNTR2_EL0 system(3, 3, 14, 8, 2);
            PMEVTYPER2_EL0 system(3, 3, 14, 12, 2);
            PMEVCNTR3_EL0 system(3, 3, 14, 8, 3);
            PMEVTYPER3_EL0 system(3, 3, 14, 12, 3);
            PMEVCNTR4_EL0 system(3, 3, 14, 8, 4);
            PMEVTYPER4_EL0 system(3, 3, 14, 12, 4);
            PMEVCNTR5_EL0 system(3, 3, 14, 8, 5);
            PMEVTYPER5_EL0 system(3, 3, 14, 12, 5);
            PMEVCNTR6_EL0 system(3, 3, 14, 8, 6);
            PMEVTYPER6_EL0 system(3, 3, 14, 12, 6);
            PMEVCNTR7_EL0 system(3, 3, 14, 8, 7);
            PMEVTYPER7_EL0 system(3, 3, 14, 12, 7);
            PMEVCNTR8_EL0 system(3, 3, 14, 9, 0);
            PMEVTYPER8_EL0 system(3, 3, 14, 13, 0);
            PMEVCNTR9_EL0 system(3, 3, 14, 9, 1);
            PMEVTYPER9_EL0 system(3, 3, 14, 13, 1);
            PMEVCNTR10_EL0 system(3, 3, 14, 9, 2);
            PMEVTYPER10_EL0 system(3, 3, 14, 13, 2);
            PMEVCNTR11_EL0 system(3, 3, 14, 9, 3);
            PMEVTYPER11_EL0 system(3, 3, 14, 13, 3);
            PMEVCNTR12_EL0 system(3, 3, 14, 9, 4);
            PMEVTYPER12_EL0 system(3, 3, 14, 13, 4);
            PMEVCNTR13_EL0 system(3, 3, 14, 9, 5);
            PMEVTYPER13_EL0 system(3, 3, 14, 13, 5);
            PMEVCNTR14_EL0 system(3, 3, 14, 9, 6);
            PMEVTYPER14_EL0 system(3, 3, 14, 13, 6);
            PMEVCNTR15_EL0 system(3, 3, 14, 9, 7);
            PMEVTYPER15_EL0 system(3, 3, 14, 13, 7);
            PMEVCNTR16_EL0 system(3, 3, 14, 10, 0);
            PMEVTYPER16_EL0 system(3, 3, 14, 14, 0);
            PMEVCNTR17_EL0 system(3, 3, 14, 10, 1);
            PMEVTYPER17_EL0 system(3, 3, 14, 14, 1);
            PMEVCNTR18_EL0 system(3, 3, 14, 10, 2);
            PMEVTYPER18_EL0 system(3, 3, 14, 14, 2);
            PMEVCNTR19_EL0 system(3, 3, 14, 10, 3);
            PMEVTYPER19_EL0 system(3, 3, 14, 14, 3);
            PMEVCNTR20_EL0 system(3, 3, 14, 10, 4);
            PMEVTYPER20_EL0 system(3, 3, 14, 14, 4);
            PMEVCNTR21_EL0 system(3, 3, 14, 10, 5);
            PMEVTYPER21_EL0 system(3, 3, 14, 14, 5);
            PMEVCNTR22_EL0 system(3, 3, 14, 10, 6);
            PMEVTYPER22_EL0 system(3, 3, 14, 14, 6);
            PMEVCNTR23_EL0 system(3, 3, 14, 10, 7);
            PMEVTYPER23_EL0 system(3, 3, 14, 14, 7);
            PMEVCNTR24_EL0 system(3, 3, 14, 11, 0);
            PMEVTYPER24_EL0 system(3, 3, 14, 15, 0);
            PMEVCNTR25_EL0 system(3, 3, 14, 11, 1);
            PMEVTYPER25_EL0 system(3, 3, 14, 15, 1);
            PMEVCNTR26_EL0 system(3, 3, 14, 11, 2);
            PMEVTYPER26_EL0 system(3, 3, 14, 15, 2);
            PMEVCNTR27_EL0 system(3, 3, 14, 11, 3);
            PMEVTYPER27_EL0 system(3, 3, 14, 15, 3);
            PMEVCNTR28_EL0 system(3, 3, 14, 11, 4);
            PMEVTYPER28_EL0 system(3, 3, 14, 15, 4);
            PMEVCNTR29_EL0 system(3, 3, 14, 11, 5);
            PMEVTYPER29_EL0 system(3, 3, 14, 15, 5);
            PMEVCNTR30_EL0 system(3, 3, 14, 11, 6);
            PMEVTYPER30_EL0 system(3, 3, 14, 15, 6);
        }
        Timer TimerDomain Write "per vCPU; restored before the gate opens" {
            CNTV_CTL_EL0 system(3, 3, 14, 3, 1);
            CNTV_CVAL_EL0 alias(3, 3, 14, 0, 2; 3, 3, 14, 3, 2);
            CNTKCTL_EL1 system(3, 0, 14, 1, 0);
        }
        Timer TimerDomain Write "one count for the whole machine, restored once through CNTVOFF_EL2" {
            CNTVCT_EL0 alias(3, 3, 14, 3, 2; 3, 3, 14, 0, 2);
        }
        Constant Object Exact "what the guest takes for its own number: VMPIDR_EL2, not the core's MPIDR_EL1" {
            MPIDR_EL1 system(3, 0, 0, 0, 5);
        }
        Constant Probe Exact "drivers choose their workarounds by it when the guest boots" {
            MIDR_EL1 system(3, 0, 0, 0, 0);
            REVIDR_EL1 system(3, 0, 0, 0, 6);
            AIDR_EL1 system(3, 1, 0, 0, 7);
        }
        Constant Probe Exact "the guest scales time by it, and nothing rescales" {
            CNTFRQ_EL0 system(3, 3, 14, 0, 0);
        }
        Constant Probe Fields "a destination may have more than the guest has seen, never less" {
            CTR_EL0 system(3, 3, 0, 0, 1);
            DCZID_EL0 system(3, 3, 0, 0, 7);
            ID_AA64PFR0_EL1 system(3, 0, 0, 4, 0);
            ID_AA64PFR1_EL1 system(3, 0, 0, 4, 1);
            ID_AA64PFR2_EL1 system(3, 0, 0, 4, 2);
            ID_AA64ZFR0_EL1 system(3, 0, 0, 4, 4);
            ID_AA64SMFR0_EL1 system(3, 0, 0, 4, 5);
            ID_AA64FPFR0_EL1 system(3, 0, 0, 4, 7);
            ID_AA64DFR0_EL1 system(3, 0, 0, 5, 0);
            ID_AA64DFR1_EL1 system(3, 0, 0, 5, 1);
            ID_AA64DFR2_EL1 system(3, 0, 0, 5, 2);
            ID_AA64AFR0_EL1 system(3, 0, 0, 5, 4);
            ID_AA64AFR1_EL1 system(3, 0, 0, 5, 5);
            ID_AA64ISAR0_EL1 system(3, 0, 0, 6, 0);
            ID_AA64ISAR1_EL1 system(3, 0, 0, 6, 1);
            ID_AA64ISAR2_EL1 system(3, 0, 0, 6, 2);
            ID_AA64ISAR3_EL1 system(3, 0, 0, 6, 3);
            ID_AA64MMFR0_EL1 system(3, 0, 0, 7, 0);
            ID_AA64MMFR1_EL1 system(3, 0, 0, 7, 1);
            ID_AA64MMFR2_EL1 system(3, 0, 0, 7, 2);
            ID_AA64MMFR3_EL1 system(3, 0, 0, 7, 3);
            ID_AA64MMFR4_EL1 system(3, 0, 0, 7, 4);
        }
        Constant Probe Fields "what 32-bit programs may use, where there are such" {
            ID_PFR0_EL1 system(3, 0, 0, 1, 0);
            ID_ISAR0_EL1 system(3, 0, 0, 2, 0);
            ID_ISAR1_EL1 system(3, 0, 0, 2, 1);
            ID_ISAR2_EL1 system(3, 0, 0, 2, 2);
            ID_ISAR3_EL1 system(3, 0, 0, 2, 3);
            ID_ISAR4_EL1 system(3, 0, 0, 2, 4);
            ID_ISAR5_EL1 system(3, 0, 0, 2, 5);
            ID_ISAR6_EL1 system(3, 0, 0, 2, 7);
            MVFR0_EL1 system(3, 0, 0, 3, 0);
            MVFR1_EL1 system(3, 0, 0, 3, 1);
            MVFR2_EL1 system(3, 0, 0, 3, 2);
            ID_PFR2_EL1 system(3, 0, 0, 3, 4);
        }
        Constant Probe Ignore "AArch32 at EL1, which no guest here can enter" {
            ID_PFR1_EL1 system(3, 0, 0, 1, 1);
            ID_DFR0_EL1 system(3, 0, 0, 1, 2);
            ID_AFR0_EL1 system(3, 0, 0, 1, 3);
            ID_MMFR0_EL1 system(3, 0, 0, 1, 4);
            ID_MMFR1_EL1 system(3, 0, 0, 1, 5);
            ID_MMFR2_EL1 system(3, 0, 0, 1, 6);
            ID_MMFR3_EL1 system(3, 0, 0, 1, 7);
            ID_MMFR4_EL1 system(3, 0, 0, 2, 6);
            ID_DFR1_EL1 system(3, 0, 0, 3, 5);
            ID_MMFR5_EL1 system(3, 0, 0, 3, 6);
        }
        Constant Probe Ignore "geometry for set/way maintenance, which no guest may rely on; shown, never written" {
            CLIDR_EL1 system(3, 1, 0, 0, 1);
        }
        Constant ProbeCaches Ignore "geometry for set/way maintenance, which no guest may rely on; shown, never written" {
            CCSIDR_L1D cache(0);
            CCSIDR_L1I cache(1);
            CCSIDR_L2D cache(2);
            CCSIDR_L2I cache(3);
            CCSIDR_L3D cache(4);
            CCSIDR_L3I cache(5);
            CCSIDR_L4D cache(6);
            CCSIDR_L4I cache(7);
            CCSIDR_L5D cache(8);
            CCSIDR_L5I cache(9);
            CCSIDR_L6D cache(10);
            CCSIDR_L6I cache(11);
            CCSIDR_L7D cache(12);
            CCSIDR_L7I cache(13);
        }
        Constant ProbeDebug Ignore "the debug ROM's address, for an external debugger. That it was read says that the debug registers can be" {
            MDRAR_EL1 system(2, 0, 1, 0, 0);
        }
        Constant ProbePmu Fields "the events that the guest may count" {
            PMCEID0_EL0 system(3, 3, 9, 12, 6);
            PMCEID1_EL0 system(3, 3, 9, 12, 7);
        }
        FloatingPoint StubVectors Write "all 128 bits" {
            V0 vector(0x54);
            V1 vector(0x58);
            V2 vector(0x5c);
            V3 vector(0x60);
            V4 vector(0x64);
            V5 vector(0x68);
            V6 vector(0x6c);
            V7 vector(0x70);
            V8 vector(0x74);
            V9 vector(0x78);
            V10 vector(0x7c);
            V11 vector(0x80);
            V12 vector(0x84);
            V13 vector(0x88);
            V14 vector(0x8c);
            V15 vector(0x90);
            V16 vector(0x94);
            V17 vector(0x98);
            V18 vector(0x9c);
            V19 vector(0xa0);
            V20 vector(0xa4);
            V21 vector(0xa8);
            V22 vector(0xac);
            V23 vector(0xb0);
            V24 vector(0xb4);
            V25 vector(0xb8);
            V26 vector(0xbc);
            V27 vector(0xc0);
            V28 vector(0xc4);
            V29 vector(0xc8);
            V30 vector(0xcc);
            V31 vector(0xd0);
        }
    } };
}

/// What an instruction calls a register of the table, from its row's `kind(…)`: `S<op0>_<op1>_C<CRn>_C<CRm>_<op2>`
/// (DDI 0487, C5.1.1). Rows of the kinds `core`, `vector` and `cache` have no such name, and do not compile.
#[macro_export]
macro_rules! instruction_name {
    (core_system($offset:literal, $($field:literal),*)) => {
        $crate::instruction_name!(system($($field),*))
    };
    (core_system32($offset:literal, $($field:literal),*)) => {
        $crate::instruction_name!(system($($field),*))
    };
    (alias($($known:literal),*; $($field:literal),*)) => {
        $crate::instruction_name!(system($($field),*))
    };
    (system($op0:literal, $op1:literal, $crn:literal, $crm:literal, $op2:literal)) => {
        concat!("s", $op0, "_", $op1, "_c", $crn, "_c", $crm, "_", $op2)
    };
}
