// SPDX-License-Identifier: BSD-2-Clause
//! Thirty-two interrupts: their state as the architecture defines it, one bit each.
//!
//! Responsible for: when an interrupt is pending, and when it can be delivered (IHI 0048B, 3.2.4
//! and 4.3). It must never know which vCPU a bank belongs to.

use crate::interrupt::BANK;

/// The bits of a priority that are implemented: the upper five, as many as a list register has.
pub(crate) const PRIORITY_MASK: u8 = 0xf8;

/// The least urgent priority. `GICC_PMR` has no larger value, so no mask lets an interrupt of this priority through
/// (IHI 0048B, 4.4.2): it stays pending, and in a list register nobody could ever take it, not even a capture.
const NEVER_TAKEN: u8 = 0xf8;
/// The least urgent priority that can be taken.
pub(crate) const LEAST_URGENT: u8 = 0xf0;

/// The state of the interrupts of one bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bank {
    /// `GICD_ISENABLER`.
    pub(crate) enabled: u32,
    /// Latched as pending: by an edge, by `GICD_ISPENDR`, by a request for an SGI.
    pub(crate) latch: u32,
    /// The line's level, whatever the trigger. Kept apart from [`Self::latch`]: the one cannot
    /// be told from the other through any register.
    pub(crate) level: u32,
    /// Edge-triggered; level-sensitive if clear.
    pub(crate) edge: u32,
    /// In group 1.
    pub(crate) group: u32,
    /// Active, and not in a list register. An interrupt in a list register has this bit only if
    /// the guest set it through `GICD_ISACTIVER`.
    pub(crate) active: u32,
    /// In a list register.
    pub(crate) resident: u32,
    /// In a list register because of its latch, so that a capture that finds it pending there
    /// has to latch it again.
    pub(crate) resident_latch: u32,
    /// In a list register, and the guest has deactivated it through `GICD_ICACTIVER` since.
    pub(crate) deactivated: u32,
    /// Can be delivered: what [`Self::recompute_deliverable`] made of all the above.
    pub(crate) ready: u32,
    /// `GICD_IPRIORITYR`, a byte each, only the implemented bits.
    pub(crate) priorities: [u8; BANK],
    /// Of a priority that no mask lets through.
    pub(crate) never_taken: u32,
}

impl Bank {
    /// Nothing enabled, nothing pending: shared interrupts after reset.
    pub(crate) const EMPTY: Self = Self {
        enabled: 0,
        latch: 0,
        level: 0,
        edge: 0,
        group: 0,
        active: 0,
        resident: 0,
        resident_latch: 0,
        deactivated: 0,
        ready: 0,
        priorities: [0; BANK],
        never_taken: 0,
    };

    /// The interrupts that are pending, apart from what is in list registers.
    pub(crate) const fn pending(&self) -> u32 {
        self.latch | (self.level & !self.edge)
    }

    /// The interrupts that `GICD_ISACTIVER` shows as active.
    pub(crate) const fn shown_active(&self) -> u32 {
        self.active | (self.resident & !self.deactivated)
    }

    /// The interrupts whose group `GICD_CTLR` enables.
    const fn in_enabled_groups(&self, control: u32) -> u32 {
        let group_0 = if control & 1 != 0 { !self.group } else { 0 };
        let group_1 = if control & 2 != 0 { self.group } else { 0 };
        group_0 | group_1
    }

    /// The interrupts in list registers that the distributor would not forward, were they pending there: they are
    /// disabled, active by the guest's own word, or what made them pending has gone.
    pub(crate) const fn not_forwarded(&self, control: u32) -> u32 {
        let pending = self.resident_latch | (self.level & !self.edge);
        let forwarded = pending & self.enabled & self.in_enabled_groups(control) & !self.active;
        self.resident & !forwarded
    }

    /// The interrupts in list registers that have been latched since they went there.
    pub(crate) const fn again(&self) -> u32 {
        self.resident & self.latch
    }

    /// Finds out which interrupts can be delivered, given `GICD_CTLR`. To be called after every
    /// change.
    pub(crate) const fn recompute_deliverable(&mut self, control: u32) {
        let kept = self.active | self.resident | self.never_taken;
        self.ready = self.pending() & self.enabled & self.in_enabled_groups(control) & !kept;
    }

    /// A line changes. A rising edge is latched where edges count.
    pub(crate) const fn set_line(&mut self, bit: u32, level: bool) {
        if level {
            self.latch |= bit & self.edge & !self.level;
            self.level |= bit;
        } else {
            self.level &= !bit;
        }
    }

    /// An interrupt moves into a list register, and its latch with it. `still_latched` says that
    /// more is due afterwards: an SGI from another source.
    pub(crate) const fn enter(&mut self, bit: u32, still_latched: bool) {
        self.resident |= bit;
        self.resident_latch |= self.latch & bit;
        if !still_latched {
            self.latch &= !bit;
        }
    }

    /// An interrupt is in its list register no longer, for whatever reason. Answers whether it
    /// was there because of its latch, and whether the guest deactivated it meanwhile.
    pub(crate) const fn leave(&mut self, bit: u32) -> Left {
        let left = Left {
            latched: self.resident_latch & bit != 0,
            deactivated: self.deactivated & bit != 0,
        };
        self.resident &= !bit;
        self.resident_latch &= !bit;
        self.deactivated &= !bit;
        left
    }

    /// Sets the priority of the interrupt at `place`, as far as it is implemented.
    pub(crate) fn set_priority(&mut self, place: usize, priority: u8) {
        if let Some(byte) = self.priorities.get_mut(place) {
            *byte = priority & PRIORITY_MASK;
            self.never_taken &= !(1 << place);
            self.never_taken |= u32::from(*byte == NEVER_TAKEN) << place;
        }
    }

    /// The priority of the interrupt at `place`.
    pub(crate) fn priority(&self, place: usize) -> u8 {
        self.priorities.get(place).copied().unwrap_or(0)
    }
}

/// What was known of an interrupt in a list register beyond that it was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// It was there because of its latch, and the guest did not clear that since.
    pub(crate) latched: bool,
    /// The guest deactivated it.
    pub(crate) deactivated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latch_and_level_are_two_fields() {
        let mut bank = Bank {
            enabled: 1,
            ..Bank::default()
        };
        bank.set_line(1, true);
        assert_eq!((bank.latch, bank.level, bank.pending()), (0, 1, 1));
        bank.set_line(1, false);
        assert_eq!(bank.pending(), 0, "a level that drops takes pending along");
        bank.edge = 1;
        bank.set_line(1, true);
        bank.set_line(1, false);
        assert_eq!((bank.latch, bank.level, bank.pending()), (1, 0, 1));
    }

    #[test]
    fn only_a_rising_edge_is_latched() {
        let mut bank = Bank {
            edge: 1,
            level: 1,
            ..Bank::default()
        };
        bank.set_line(1, true);
        assert_eq!(bank.latch, 0);
        bank.set_line(1, false);
        bank.set_line(1, true);
        assert_eq!(bank.latch, 1);
    }

    #[test]
    fn each_group_has_its_own_enable() {
        let mut bank = Bank {
            enabled: 3,
            latch: 3,
            group: 2,
            ..Bank::default()
        };
        for (control, ready) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
            bank.recompute_deliverable(control);
            assert_eq!(bank.ready, ready);
        }
    }

    #[test]
    fn what_no_mask_lets_through_is_not_delivered_before_it_is_more_urgent() {
        let mut bank = Bank {
            enabled: 1,
            latch: 1,
            ..Bank::default()
        };
        for (priority, ready) in [(0xff, 0), (0xf8, 0), (0xf7, 1), (0xf8, 0), (0, 1)] {
            bank.set_priority(0, priority);
            bank.recompute_deliverable(1);
            assert_eq!((bank.ready, bank.pending()), (ready, 1), "{priority:#x}");
        }
    }

    #[test]
    fn active_or_in_flight_is_not_delivered_again() {
        let mut bank = Bank {
            enabled: 7,
            latch: 7,
            active: 1,
            resident: 2,
            ..Bank::default()
        };
        bank.recompute_deliverable(1);
        assert_eq!(bank.ready, 4);
    }
}
