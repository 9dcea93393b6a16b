// SPDX-License-Identifier: BSD-2-Clause
//! SMC and HVC.

use core::arch::asm;

use guest_runtime::pattern::Pattern;

use super::Checker;
use super::traps::{UNDEFINED, attempt};

/// `NOT_SUPPORTED` (Arm DEN 0028, 5.2).
const NOT_SUPPORTED: u64 = u64::MAX;
/// `INVALID_PARAMETERS` (Arm DEN 0022, 5.2.2).
const INVALID_PARAMETERS: u64 = u64::MAX - 1;
/// `ALREADY_ON`.
const ALREADY_ON: u64 = u64::MAX - 3;

const PSCI_VERSION: u64 = 0x8400_0000;
const PSCI_AFFINITY_INFO: u64 = 0xc400_0004;
const PSCI_CPU_ON: u64 = 0xc400_0003;
const PSCI_FEATURES: u64 = 0x8400_000a;
const SMCCC_VERSION: u64 = 0x8000_0000;

/// Calls function `function`.
fn smc(function: u64, arguments: [u64; 3]) -> u64 {
    let result;
    // SAFETY: the functions called here do not touch the guest's memory; x0–x17 may change (DEN 0028, 2.6).
    unsafe {
        asm!(
            "smc #0",
            inlateout("x0") function => result,
            inlateout("x1") arguments[0] => _,
            inlateout("x2") arguments[1] => _,
            inlateout("x3") arguments[2] => _,
            clobber_abi("C"),
            options(nostack),
        );
    }
    result
}

/// A function that nobody has is answered, and the guest continues.
pub(super) fn smc_unknown(checker: &mut Checker) {
    // Arm architecture, CPU, SiP, OEM, standard, hypervisor and vendor ranges, fast and yielding (DEN 0028, table 6-2).
    for function in [
        0x8000_7fff,
        0x8100_0001,
        0x8200_0002,
        0x8300_0003,
        0x8400_00ff,
        0xc400_1234,
        0x8500_0001,
        0x8600_0001,
        0xb200_0000,
        0x0000_0000,
        0x1234_5678,
        0xffff_ffff,
    ] {
        checker.expect(
            format_args!("result of {function:#x}"),
            NOT_SUPPORTED,
            sign_extend(smc(function, [1, 2, 3])),
        );
    }
}

/// A 32-bit function's negative result may come with its upper half zero.
const fn sign_extend(result: u64) -> u64 {
    const NEGATIVE: u64 = 0x8000_0000;
    match result {
        NEGATIVE..=0xffff_ffff => result | 0xffff_ffff_0000_0000,
        _ => result,
    }
}

/// A call changes its results and nothing else (DEN 0028, 2.6: x4–x17 are preserved since version 1.1).
pub(super) fn smc_preserves(checker: &mut Checker) {
    let mut pattern = Pattern::new(4, 17);
    let before: [u64; 14] = core::array::from_fn(|_| pattern.next());
    let mut after = before;
    // SAFETY: loads and stores the array, and calls PSCI_VERSION, which does nothing.
    unsafe {
        asm!(
            "ldp x4, x5, [x20, #0]", "ldp x6, x7, [x20, #16]", "ldp x8, x9, [x20, #32]",
            "ldp x10, x11, [x20, #48]", "ldp x12, x13, [x20, #64]", "ldp x14, x15, [x20, #80]",
            "ldp x16, x17, [x20, #96]",
            "smc #0",
            "stp x4, x5, [x20, #0]", "stp x6, x7, [x20, #16]", "stp x8, x9, [x20, #32]",
            "stp x10, x11, [x20, #48]", "stp x12, x13, [x20, #64]", "stp x14, x15, [x20, #80]",
            "stp x16, x17, [x20, #96]",
            inlateout("x0") PSCI_VERSION => _,
            in("x20") after.as_mut_ptr(),
            clobber_abi("C"),
            options(nostack),
        );
    }
    for (number, (before, after)) in before.iter().zip(&after).enumerate() {
        checker.expect(format_args!("x{}", number + 4), *before, *after);
    }
}

/// PSCI's answers.
pub(super) fn psci(checker: &mut Checker) {
    let version = smc(PSCI_VERSION, [0; 3]);
    if version < 0x1_0000 {
        checker.fail(format_args!("PSCI version {version:#x}"));
    }
    // From SMCCC 1.1 on the version can be asked for, which PSCI_FEATURES says.
    if smc(PSCI_FEATURES, [SMCCC_VERSION, 0, 0]) == 0 && smc(SMCCC_VERSION, [0; 3]) < 0x1_0001 {
        checker.fail("SMCCC below 1.1");
    }
    checker.expect(
        "PSCI_FEATURES of CPU_ON",
        0,
        smc(PSCI_FEATURES, [PSCI_CPU_ON, 0, 0]),
    );
    let unknown = smc(PSCI_FEATURES, [0x8400_00ff, 0, 0]);
    checker.expect(
        "PSCI_FEATURES of nothing",
        NOT_SUPPORTED,
        sign_extend(unknown),
    );
    checker.expect(
        "AFFINITY_INFO of itself",
        0,
        smc(PSCI_AFFINITY_INFO, [0; 3]),
    );
    let nobody = smc(PSCI_AFFINITY_INFO, [0x0123, 0, 0]);
    checker.expect(
        "AFFINITY_INFO of nobody",
        INVALID_PARAMETERS,
        sign_extend(nobody),
    );
    let itself = smc(PSCI_CPU_ON, [0, 0x4400_0000, 0]);
    checker.expect("CPU_ON of itself", ALREADY_ON, sign_extend(itself));
    let nobody = smc(PSCI_CPU_ON, [0x0123, 0x4400_0000, 0]);
    checker.expect("CPU_ON of nobody", INVALID_PARAMETERS, sign_extend(nobody));
}

/// `HVC` with `x0`–`x7`; whether it was an exception, and which.
fn hvc_with(registers: [u64; 8]) -> Option<super::traps::Trap> {
    attempt(|| {
        // SAFETY: what answers may change registers, all of which are given up here, and no memory.
        unsafe {
            asm!(
                "hvc #0",
                inlateout("x0") registers[0] => _,
                inlateout("x1") registers[1] => _,
                inlateout("x2") registers[2] => _,
                inlateout("x3") registers[3] => _,
                inlateout("x4") registers[4] => _,
                inlateout("x5") registers[5] => _,
                inlateout("x6") registers[6] => _,
                inlateout("x7") registers[7] => _,
                clobber_abi("C"),
                options(nostack),
            );
        }
    })
}

/// An `HVC` that means nothing to anybody is an undefined instruction.
pub(super) fn hvc(checker: &mut Checker) {
    let mut pattern = Pattern::new(4, 2);
    for _ in 0..100 {
        let mut registers = core::array::from_fn(|_| pattern.next());
        // Small numbers, positive or negative, could be system calls of the kernel below.
        registers[7] = registers[7] >> 1 | 1 << 40;
        match hvc_with(registers) {
            Some(trap) => checker.expect("ESR_EL1.EC", UNDEFINED, trap.class()),
            None => checker.fail("no exception"),
        }
    }
}

/// Whatever is in the registers, the guest continues: with an exception, or as if nothing had been said.
pub(super) fn hvc_system_calls(checker: &mut Checker) {
    let mut pattern = Pattern::new(4, 3);
    for number in 1..64_u64 {
        for first in [0, 1, 2, 10, u64::MAX] {
            let mut registers = core::array::from_fn(|_| pattern.next());
            registers[0] = first;
            registers[7] = number.wrapping_neg();
            if let Some(trap) = hvc_with(registers) {
                checker.expect(
                    format_args!("ESR_EL1.EC of call -{number}"),
                    UNDEFINED,
                    trap.class(),
                );
            }
        }
    }
}
