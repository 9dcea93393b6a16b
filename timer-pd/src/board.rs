// SPDX-License-Identifier: BSD-2-Clause
//! What a board supplies: a counter and one timer.
//!
//! Responsible for: the interface that each board's driver implements. QEMU's virt board has the
//! EL0 physical timer; others bring a timer of their own and read the same system counter.

use channel::Ticks;

/// A board's counter and timer.
pub trait BoardTimer {
    /// `CNTFRQ_EL0`: how many ticks of [`Self::now`] a second has.
    fn frequency(&self) -> u32;

    /// `CNTPCT_EL0`: the count from which a virtual count differs by `CNTVOFF_EL2`.
    fn now(&self) -> Ticks;

    /// Interrupts once the count has reached `deadline`, at once if it has already; never if there
    /// is none. Takes the place of what was set before, and ends an interrupt that is asserted.
    fn set(&mut self, deadline: Option<Ticks>);
}
