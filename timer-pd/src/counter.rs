//! The system counter (DDI 0487, D11.1.2), which every board lets domains read.
//!
//! Responsible for: `CNTPCT_EL0`, `CNTFRQ_EL0`. Must never: set anything.

use channel::Ticks;
use core::arch::asm;

/// `CNTFRQ_EL0`.
pub(crate) fn frequency() -> u32 {
    let frequency: u64;
    // SAFETY: reads a register that the kernel lets EL0 read along with the counter.
    unsafe {
        asm!("mrs {}, CNTFRQ_EL0", out(reg) frequency, options(nomem, nostack, preserves_flags));
    }
    // The register has 32 bits; the upper half reads as zero.
    u32::try_from(frequency).unwrap_or(0)
}

/// `CNTPCT_EL0`.
#[inline]
pub(crate) fn count() -> Ticks {
    let count: u64;
    // SAFETY: reads the counter, after all instructions before.
    unsafe {
        asm!("isb", "mrs {}, CNTPCT_EL0", out(reg) count, options(nostack, preserves_flags));
    }
    Ticks(count)
}
