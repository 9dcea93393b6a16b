// SPDX-License-Identifier: BSD-2-Clause
//! FP and SIMD registers.
//!
//! Responsible for saving and loading them. The kernel itself is built without them, so they are
//! always the last user's.

use core::arch::asm;

use kernel::machine::FloatingPoint;

/// Saves `V0` to `V31`, `FPSR` and `FPCR`. FP must not trap.
pub(crate) fn save(registers: &mut FloatingPoint) {
    // SAFETY: the destination has room for 32 vectors, and no code of the kernel uses them.
    unsafe {
        asm!(
            ".arch_extension fp",
            "stp q0, q1, [{0}]", "stp q2, q3, [{0}, #32]",
            "stp q4, q5, [{0}, #64]", "stp q6, q7, [{0}, #96]",
            "stp q8, q9, [{0}, #128]", "stp q10, q11, [{0}, #160]",
            "stp q12, q13, [{0}, #192]", "stp q14, q15, [{0}, #224]",
            "stp q16, q17, [{0}, #256]", "stp q18, q19, [{0}, #288]",
            "stp q20, q21, [{0}, #320]", "stp q22, q23, [{0}, #352]",
            "stp q24, q25, [{0}, #384]", "stp q26, q27, [{0}, #416]",
            "stp q28, q29, [{0}, #448]", "stp q30, q31, [{0}, #480]",
            "mrs {1}, fpsr",
            "mrs {2}, fpcr",
            ".arch_extension nofp",
            in(reg) registers.vectors.as_mut_ptr(),
            out(reg) registers.status,
            out(reg) registers.control,
            options(nostack, preserves_flags),
        );
    }
}

/// Loads `V0` to `V31`, `FPSR` and `FPCR`. FP must not trap.
pub(crate) fn load(registers: &FloatingPoint) {
    // SAFETY: the source has 32 vectors, and no code of the kernel uses the registers.
    unsafe {
        asm!(
            ".arch_extension fp",
            "ldp q0, q1, [{0}]", "ldp q2, q3, [{0}, #32]",
            "ldp q4, q5, [{0}, #64]", "ldp q6, q7, [{0}, #96]",
            "ldp q8, q9, [{0}, #128]", "ldp q10, q11, [{0}, #160]",
            "ldp q12, q13, [{0}, #192]", "ldp q14, q15, [{0}, #224]",
            "ldp q16, q17, [{0}, #256]", "ldp q18, q19, [{0}, #288]",
            "ldp q20, q21, [{0}, #320]", "ldp q22, q23, [{0}, #352]",
            "ldp q24, q25, [{0}, #384]", "ldp q26, q27, [{0}, #416]",
            "ldp q28, q29, [{0}, #448]", "ldp q30, q31, [{0}, #480]",
            "msr fpsr, {1}",
            "msr fpcr, {2}",
            ".arch_extension nofp",
            in(reg) registers.vectors.as_ptr(),
            in(reg) registers.status,
            in(reg) registers.control,
            options(nostack, preserves_flags, readonly),
        );
    }
}
