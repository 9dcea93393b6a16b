// SPDX-License-Identifier: BSD-2-Clause
//! What vCPU 0 would not survive, so that a program without it always comes back.
//!
//! Not left out are things that the guest's recovery puts right: it only needs an exception to reach its vectors.

use crate::encoding::{Register, register};

/// Whether a write leaves the vCPU without its vectors, or without the translation that they are reached by.
#[must_use]
pub fn loses_the_way_back(written: Register, translated: bool) -> bool {
    let translation = [register::TTBR0, register::TCR, register::MAIR].contains(&written);
    written == register::SCTLR || written == register::VBAR || translated && translation
}

/// Whether some value of a register stops the emulator, and so nobody whom this is about; the bits that do not. Where the
/// sum of `CNTV_CVAL_EL0` and `CNTVOFF_EL2` exceeds 64 bits, QEMU 7.2 sets its own timer to the past, again and again, and
/// does nothing else. A negative `CNTV_TVAL_EL0` gives such a compare value while the guest's count is small.
#[must_use]
pub fn stops_the_emulator(written: Register) -> Option<u64> {
    match written {
        register::CNTV_CVAL => Some(u64::MAX >> 2),
        register::CNTV_TVAL => Some(u64::MAX >> 33),
        _ => None,
    }
}

/// Whether what is read is an address of the guest's own program, which a program must not come to write to.
#[must_use]
pub fn names_own_memory(read: Register) -> bool {
    read == register::TTBR0 || read == register::VBAR
}

/// Bits of `SCTLR_EL1` that would take the guest's own code from it: `M`, `WXN`, `EE`.
pub const SCTLR_KEPT: u64 = 1 << 0 | 1 << 19 | 1 << 25;

/// Whether an instruction may be put into a program as it was drawn. What is refused here has templates of its own.
#[must_use]
pub const fn is_free(word: u32) -> bool {
    match word >> 25 & 0xf {
        // Loads and stores, SIMD and floating point, and what is not allocated. Not: branches, exceptions and system
        // instructions, and what computes an address from the program counter.
        0b0100 | 0b0110 | 0b1100 | 0b1110 | 0b0111 | 0b1111 | 0b0000..=0b0011 => true,
        _ => false,
    }
}

/// Whether a hint may wait for something: `WFE`, `WFI`, and with `op0` 0 `WFET` and `WFIT` (DDI 0487, C6.2).
#[must_use]
pub const fn waits(word: u32) -> bool {
    let hint = word & 0xffff_f01f == 0xd503_201f && matches!(word >> 5 & 0x7f, 2 | 3);
    let timed = word & 0xffff_ffc0 == 0xd503_1000;
    hint || timed
}

/// Whether an SMC ends the caller's run, or the machine's: `CPU_OFF`, `SYSTEM_OFF`, `SYSTEM_RESET`, `SYSTEM_RESET2`; or
/// waits: `CPU_SUSPEND`, `CPU_DEFAULT_SUSPEND`, `NODE_HW_STATE` does not, `SYSTEM_SUSPEND` does (DEN 0022, 5.1).
#[must_use]
pub const fn ends_or_waits(function: u64) -> bool {
    matches!(
        function & 0xbfff_ffff,
        0x8400_0001
            | 0x8400_0002
            | 0x8400_0008
            | 0x8400_0009
            | 0x8400_000c
            | 0x8400_000e
            | 0x8400_0012
    )
}
