// SPDX-License-Identifier: BSD-2-Clause
//! The EL0 physical timer (DDI 0487, D11.2.4), which QEMU's virt board lets domains use.
//!
//! Responsible for: `CNTP_CTL_EL0`, `CNTP_CVAL_EL0`. The kernel lets whoever runs at
//! EL1 use them as well (it sets `CNTHCTL_EL2` once and for all), so a guest can take the timer
//! from us. It is set anew at every request that changes a deadline and at every interrupt, and
//! nothing here assumes what it holds: what a guest gains by it is that its own vCPUs oversleep.

use channel::Ticks;
use core::arch::asm;
use timer_pd::board::BoardTimer;

/// `CNTP_CTL_EL0.ENABLE`.
const ENABLE: u64 = 1;

/// The timer. There is one; who makes a second gets the same.
pub(crate) struct GenericTimer;

impl GenericTimer {
    /// The timer needs no device.
    pub(crate) const fn of_board(_device: core::ptr::NonNull<u32>) -> Self {
        Self
    }
}

impl BoardTimer for GenericTimer {
    fn frequency(&self) -> u32 {
        counter::frequency()
    }

    #[inline]
    fn now(&self) -> Ticks {
        Ticks(counter::count())
    }

    #[inline]
    fn set(&mut self, deadline: Option<Ticks>) {
        let control = if deadline.is_some() { ENABLE } else { 0 };
        let compare = deadline.unwrap_or_default().0;
        // SAFETY: the timer is this domain's (`system.xml` gives it the interrupt); memory is not
        // touched. The barrier makes the interrupt's level final before it is acknowledged.
        unsafe {
            asm!(
                "msr CNTP_CVAL_EL0, {compare}",
                "msr CNTP_CTL_EL0, {control}",
                "isb",
                compare = in(reg) compare,
                control = in(reg) control,
                options(nostack, preserves_flags),
            );
        }
    }
}
