// SPDX-License-Identifier: BSD-2-Clause
//! The virtual timer (Arm ARM D11.2.4).

use core::arch::asm;

/// `CNTV_CTL_EL0.ENABLE`.
pub const ENABLE: u64 = 1 << 0;
/// `CNTV_CTL_EL0.IMASK`.
pub const MASKED: u64 = 1 << 1;
/// `CNTV_CTL_EL0.ISTATUS`: the compare value is reached.
pub const REACHED: u64 = 1 << 2;

/// `CNTVCT_EL0`, not read ahead of anything before it.
#[must_use]
pub fn counter() -> u64 {
    let count;
    // SAFETY: reads a counter; no memory.
    unsafe {
        asm!("isb", "mrs {count}, cntvct_el0", count = out(reg) count, options(nostack, nomem, preserves_flags));
    }
    count
}

/// `CNTFRQ_EL0` in Hz.
#[must_use]
pub fn frequency() -> u64 {
    let frequency;
    // SAFETY: reads a constant register.
    unsafe {
        asm!("mrs {frequency}, cntfrq_el0", frequency = out(reg) frequency, options(nostack, nomem, preserves_flags));
    }
    frequency
}

/// Ticks of the counter in `microseconds`.
#[must_use]
pub fn ticks(microseconds: u64) -> u64 {
    microseconds * frequency() / 1_000_000
}

/// `CNTV_CTL_EL0`.
#[must_use]
pub fn control() -> u64 {
    let control;
    // SAFETY: reads the calling vCPU's timer.
    unsafe {
        asm!("mrs {control}, cntv_ctl_el0", control = out(reg) control, options(nostack, nomem, preserves_flags));
    }
    control
}

/// Writes `CNTV_CTL_EL0`.
pub fn set_control(control: u64) {
    // SAFETY: an interrupt of the timer goes to handlers that the guest has.
    unsafe {
        asm!("msr cntv_ctl_el0, {control}", "isb", control = in(reg) control, options(nostack, nomem, preserves_flags));
    }
}

/// `CNTV_CVAL_EL0`.
#[must_use]
pub fn compare() -> u64 {
    let compare;
    // SAFETY: reads the calling vCPU's timer.
    unsafe {
        asm!("mrs {compare}, cntv_cval_el0", compare = out(reg) compare, options(nostack, nomem, preserves_flags));
    }
    compare
}

/// Writes `CNTV_CVAL_EL0`.
pub fn set_compare(compare: u64) {
    // SAFETY: as in `set_control`.
    unsafe {
        asm!("msr cntv_cval_el0, {compare}", "isb", compare = in(reg) compare, options(nostack, nomem, preserves_flags));
    }
}
