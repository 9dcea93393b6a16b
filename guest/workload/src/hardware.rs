// SPDX-License-Identifier: BSD-2-Clause
//! The processor below the C library: the virtual counter, and FP/SIMD registers that are held for a while.
//!
//! Responsible for the two things that cannot be said in portable Rust. On other architectures there are stand-ins,
//! so that everything else can be tested there. Never: decides whether what it read is right.

/// What a thread has in the FP/SIMD registers (Arm ARM C1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C, align(16))]
pub(crate) struct FpRegisters {
    /// `FPCR`.
    pub(crate) control: u64,
    /// `FPSR`.
    pub(crate) status: u64,
    /// `v0`–`v31`, all 128 bits.
    pub(crate) vectors: [u128; 32],
}

/// The bits of `FPCR` that every implementation has and that make no exception trap: `AHP`, `DN`, `FZ`, `RMode`
/// (Arm ARM C5.2.8).
pub(crate) const FPCR_BITS: u64 = 0x07c0_0000;

/// The bits of `FPSR`: `QC`, `IDC`, `IXC`, `UFC`, `OFC`, `DZC`, `IOC` (Arm ARM C5.2.10).
pub(crate) const FPSR_BITS: u64 = 0x0800_009f;

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use super::FpRegisters;
    use std::arch::asm;

    /// `CNTVCT_EL0`, not read ahead of anything before it.
    pub(crate) fn counter() -> u64 {
        let count;
        // SAFETY: reads a counter that Linux lets user space read (HWCAP, the vDSO depends on it); no memory.
        unsafe {
            asm!("isb", "mrs {count}, cntvct_el0", count = out(reg) count, options(nostack, nomem, preserves_flags));
        }
        count
    }

    /// `CNTFRQ_EL0` in Hz.
    pub(crate) fn counter_frequency() -> u64 {
        let frequency;
        // SAFETY: reads a constant register that Linux lets user space read; no memory.
        unsafe {
            asm!("mrs {frequency}, cntfrq_el0", frequency = out(reg) frequency, options(nostack, nomem, pure, preserves_flags));
        }
        frequency
    }

    /// `MIDR_EL1` as it is now: Linux reads it for a program that tries
    /// (Documentation/arch/arm64/cpu-feature-registers.rst).
    pub(crate) fn midr() -> u64 {
        let midr;
        // SAFETY: reads a constant register, which Linux emulates for user space (HWCAP_CPUID); no memory.
        unsafe {
            asm!("mrs {midr}, midr_el1", midr = out(reg) midr, options(nostack, nomem, preserves_flags));
        }
        midr
    }

    /// Loads `registers`, keeps them there while giving the CPU away `yields` times with `spins` turns of a loop
    /// before each, and returns what is in the registers then. The calling thread's own FP control is unharmed.
    pub(crate) fn hold(registers: &FpRegisters, yields: u64, spins: u64) -> FpRegisters {
        let mut found = FpRegisters::default();
        // SAFETY: reads and writes the two structures, whose layout the offsets follow (`repr(C)`, two words, then
        // 32 × 16 bytes); every vector register is declared as changed; FPCR and FPSR are put back; the system call
        // (124, sched_yield, no arguments) changes x0 only.
        unsafe {
            asm!(
                "mrs {own_control}, fpcr",
                "mrs {own_status}, fpsr",
                "ldp q0, q1, [{from}, #16]", "ldp q2, q3, [{from}, #48]",
                "ldp q4, q5, [{from}, #80]", "ldp q6, q7, [{from}, #112]",
                "ldp q8, q9, [{from}, #144]", "ldp q10, q11, [{from}, #176]",
                "ldp q12, q13, [{from}, #208]", "ldp q14, q15, [{from}, #240]",
                "ldp q16, q17, [{from}, #272]", "ldp q18, q19, [{from}, #304]",
                "ldp q20, q21, [{from}, #336]", "ldp q22, q23, [{from}, #368]",
                "ldp q24, q25, [{from}, #400]", "ldp q26, q27, [{from}, #432]",
                "ldp q28, q29, [{from}, #464]", "ldp q30, q31, [{from}, #496]",
                "ldp {spin}, x0, [{from}]",
                "msr fpcr, {spin}",
                "msr fpsr, x0",
                "2:",
                "mov {spin}, {spins}",
                "3:",
                "subs {spin}, {spin}, #1",
                "b.hi 3b",
                "svc #0",
                "subs {yields}, {yields}, #1",
                "b.hi 2b",
                "stp q0, q1, [{to}, #16]", "stp q2, q3, [{to}, #48]",
                "stp q4, q5, [{to}, #80]", "stp q6, q7, [{to}, #112]",
                "stp q8, q9, [{to}, #144]", "stp q10, q11, [{to}, #176]",
                "stp q12, q13, [{to}, #208]", "stp q14, q15, [{to}, #240]",
                "stp q16, q17, [{to}, #272]", "stp q18, q19, [{to}, #304]",
                "stp q20, q21, [{to}, #336]", "stp q22, q23, [{to}, #368]",
                "stp q24, q25, [{to}, #400]", "stp q26, q27, [{to}, #432]",
                "stp q28, q29, [{to}, #464]", "stp q30, q31, [{to}, #496]",
                "mrs {spin}, fpcr",
                "mrs x0, fpsr",
                "stp {spin}, x0, [{to}]",
                "msr fpcr, {own_control}",
                "msr fpsr, {own_status}",
                from = in(reg) registers,
                to = in(reg) &raw mut found,
                spins = in(reg) spins,
                yields = inout(reg) yields => _,
                spin = out(reg) _,
                own_control = out(reg) _,
                own_status = out(reg) _,
                in("x8") 124_u64,
                out("x0") _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
                out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _,
                out("v14") _, out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _,
                out("v21") _, out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _,
                out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                options(nostack),
            );
        }
        found
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{counter, counter_frequency, hold, midr};

#[cfg(not(target_arch = "aarch64"))]
mod stand_in {
    use super::FpRegisters;
    use std::sync::LazyLock;
    use std::time::Instant;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// Nanoseconds since the first call.
    pub(crate) fn counter() -> u64 {
        u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// In Hz.
    pub(crate) const fn counter_frequency() -> u64 {
        1_000_000_000
    }

    /// There is none.
    pub(crate) const fn midr() -> u64 {
        0
    }

    /// Gives the CPU away as the real one does; there is nothing to hold.
    pub(crate) fn hold(registers: &FpRegisters, yields: u64, _spins: u64) -> FpRegisters {
        for _ in 0..yields {
            std::thread::yield_now();
        }
        *registers
    }
}

#[cfg(not(target_arch = "aarch64"))]
pub(crate) use stand_in::{counter, counter_frequency, hold, midr};
