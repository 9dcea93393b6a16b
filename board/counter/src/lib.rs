// SPDX-License-Identifier: BSD-2-Clause
//! The system counter (DDI 0487, D11.1.2), as domains read it.
//!
//! Responsible for: `CNTPCT_EL0` and `CNTFRQ_EL0`, or with the feature `smc` what the firmware
//! says is in the former. Must never: set anything.
//!
//! seL4 lets domains read the counter on every board we have. QEMU (7.2, at least) does not where
//! the kernel keeps the physical timer to itself: for reads of `CNTPCT_EL0` at EL0 it looks at
//! `CNTHCTL_EL2.EL1PCEN`, which is about the timer, in place of `EL1PCTEN`. So in QEMU's ZCU102
//! two domains get the capability to call the firmware, which is ours there and has nothing to
//! offer but its version and the count.
#![no_std]
// Empty where there is no such counter: on hosts, where only the workspace as a whole builds it.
#![cfg(target_arch = "aarch64")]

use core::arch::asm;

/// `CNTFRQ_EL0`: how many ticks a second has.
#[must_use]
pub fn frequency() -> u32 {
    let frequency: u64;
    // SAFETY: reads a register that the kernel lets EL0 read along with the counter.
    unsafe {
        asm!("mrs {}, CNTFRQ_EL0", out(reg) frequency, options(nomem, nostack, preserves_flags));
    }
    // The register has 32 bits; the upper half reads as zero.
    u32::try_from(frequency).unwrap_or(0)
}

/// `CNTPCT_EL0`, after all instructions before.
#[cfg(not(feature = "smc"))]
#[must_use]
#[inline]
pub fn count() -> u64 {
    let count: u64;
    // SAFETY: reads the counter.
    unsafe {
        asm!("isb", "mrs {}, CNTPCT_EL0", out(reg) count, options(nostack, preserves_flags));
    }
    count
}

/// The count that the firmware reads. Uses the registers and the buffer of messages: whoever
/// handles a message has taken it before.
#[cfg(feature = "smc")]
#[must_use]
pub fn count() -> u64 {
    /// An OEM service call of the SMC64 convention (DEN 0028, 5.1); `board/zcu102` answers it.
    const COUNT: u64 = 0xc300_0001;
    /// Words of the message: `x0` to `x7` of the call.
    const WORDS: usize = 8;
    let label = *sel4_microkit::var!(sel4_smc_label: u64 = 0);
    let firmware = sel4::cap::Endpoint::from_bits(sel4_sys::microkit::SMC_SLOT);
    let call = sel4::MessageInfo::new(label, 0, 0, WORDS);
    let [count, ..] = firmware.call_with_mrs(call, [COUNT, 0, 0, 0]).msg;
    count
}
