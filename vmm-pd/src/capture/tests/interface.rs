// SPDX-License-Identifier: BSD-2-Clause
//! A GICv2 virtual CPU interface, register by register (IHI 0048B, chapter 5).
//!
//! Responsible for: what a guest's accesses do to list registers, `GICH_VMCR` and `GICH_APR`, what seL4's one
//! operation puts into a list register, and what it does with a maintenance interrupt. Never: knows what anybody
//! thinks is in a list register; that is what the tests compare with.

use channel::vgic::{Injection, LIST_REGISTERS};

/// Fields of `GICH_LR` (5.3.11).
pub(crate) mod list {
    pub(crate) const HARDWARE: u32 = 1 << 31;
    pub(crate) const GROUP_1: u32 = 1 << 30;
    pub(crate) const STATE: u32 = 3 << 28;
    pub(crate) const PENDING: u32 = 1 << 28;
    pub(crate) const ACTIVE: u32 = 2 << 28;
    pub(crate) const PRIORITY_SHIFT: u32 = 23;
    pub(crate) const PRIORITY: u32 = 0x1f << PRIORITY_SHIFT;
    /// Without [`HARDWARE`]: deactivation raises a maintenance interrupt.
    pub(crate) const EOI: u32 = 1 << 19;
    /// Without [`HARDWARE`]: the source of a software generated interrupt.
    pub(crate) const SOURCE: u32 = 7 << 10;
    pub(crate) const INTID: u32 = 0x3ff;
}

/// `GICV_CTLR` (5.5.1), whose bits `GICH_VMCR` keeps in the same places.
pub(crate) mod control {
    pub(crate) const GROUP_0: u32 = 1 << 0;
    pub(crate) const GROUP_1: u32 = 1 << 1;
    pub(crate) const ACKNOWLEDGE_BOTH: u32 = 1 << 2;
    pub(crate) const COMMON_BINARY_POINT: u32 = 1 << 4;
    pub(crate) const EOI_MODE: u32 = 1 << 9;
    pub(crate) const ALL: u32 = 0x21f;
}

/// The smallest binary points of an interface with five bits of priority, as the GIC-400's (DDI 0471, 3.5).
pub(crate) const LEAST_BINARY_POINT: u32 = 2;
pub(crate) const LEAST_ALIASED_BINARY_POINT: u32 = 3;

/// Answers of `GICV_IAR` (5.5.4).
pub(crate) const SPURIOUS: u32 = 1023;
pub(crate) const OTHER_GROUP: u32 = 1022;

/// The interface's registers as a hypervisor sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct VirtualInterface<const LISTS: usize = LIST_REGISTERS> {
    pub(crate) list: [u32; LISTS],
    /// `GICH_VMCR` (5.3.8).
    pub(crate) control: u32,
    /// `GICH_APR`: one bit for each of the 32 priorities that is active and was not dropped.
    pub(crate) active_priorities: u32,
}

impl<const LISTS: usize> Default for VirtualInterface<LISTS> {
    fn default() -> Self {
        let mut interface = Self {
            list: [0; LISTS],
            control: 0,
            active_priorities: 0,
        };
        interface.set_binary_point(0);
        interface.set_aliased_binary_point(0);
        interface
    }
}

impl<const LISTS: usize> VirtualInterface<LISTS> {
    /// What seL4 writes for an injection (`virq_virq_pending_new`): pending, with a maintenance interrupt at its end.
    pub(crate) fn injected(injection: Injection) -> u32 {
        u32::from(injection.intid.value())
            | u32::from(injection.priority) << list::PRIORITY_SHIFT
            | u32::from(injection.group) << 30
            | list::PENDING
            | list::EOI
    }

    /// seL4's one operation. Complains when an occupied list register is overwritten.
    pub(crate) fn inject(&mut self, injection: Injection) {
        let register = &mut self.list[usize::from(injection.list_register)];
        assert_eq!(*register & list::STATE, 0, "{register:#x} is overwritten");
        *register = Self::injected(injection);
    }

    /// The kernel takes the maintenance interrupt of the first list register that has one (`GICH_EISR`, 5.3.6), and
    /// ends its cause.
    pub(crate) fn take_maintenance(&mut self) -> Option<usize> {
        let ended =
            |register: &u32| *register & (list::STATE | list::HARDWARE | list::EOI) == list::EOI;
        let index = self.list.iter().position(ended)?;
        self.list[index] &= !list::EOI;
        Some(index)
    }

    /// `GICV_CTLR`.
    pub(crate) const fn ctlr(&self) -> u32 {
        self.control & control::ALL
    }

    pub(crate) const fn set_ctlr(&mut self, value: u32) {
        self.control = self.control & !control::ALL | value & control::ALL;
    }

    /// `GICV_PMR`.
    pub(crate) const fn pmr(&self) -> u32 {
        self.control >> 27 << 3
    }

    pub(crate) const fn set_pmr(&mut self, value: u32) {
        self.control = self.control & !(0x1f << 27) | (value >> 3 & 0x1f) << 27;
    }

    /// `GICV_BPR`.
    pub(crate) const fn bpr(&self) -> u32 {
        self.control >> 21 & 7
    }

    pub(crate) fn set_binary_point(&mut self, value: u32) {
        let value = (value & 7).max(LEAST_BINARY_POINT);
        self.control = self.control & !(7 << 21) | value << 21;
    }

    /// `GICV_ABPR`.
    pub(crate) const fn abpr(&self) -> u32 {
        self.control >> 18 & 7
    }

    pub(crate) fn set_aliased_binary_point(&mut self, value: u32) {
        let value = (value & 7).max(LEAST_ALIASED_BINARY_POINT);
        self.control = self.control & !(7 << 18) | value << 18;
    }

    /// `GICV_RPR`: the most urgent priority that is active.
    pub(crate) const fn rpr(&self) -> u32 {
        match self.active_priorities {
            0 => 0xff,
            active => active.trailing_zeros() << 3,
        }
    }

    /// The list register with the most urgent pending interrupt of an enabled group.
    fn most_urgent(&self) -> Option<usize> {
        let enabled = |register: u32| match register & list::GROUP_1 {
            0 => self.control & control::GROUP_0 != 0,
            _ => self.control & control::GROUP_1 != 0,
        };
        (self.list.iter().enumerate())
            .filter(|(_, register)| {
                **register & list::STATE == list::PENDING && enabled(**register)
            })
            .min_by_key(|(_, register)| **register & list::PRIORITY)
            .map(|(index, _)| index)
    }

    /// `GICV_HPPIR`. Whether the mask hides an interrupt here is left open; shown are more states if it does not.
    pub(crate) fn hppir(&self) -> u32 {
        self.most_urgent()
            .map_or(SPURIOUS, |index| self.shown(self.list[index]))
    }

    fn shown(&self, register: u32) -> u32 {
        if register & list::GROUP_1 != 0 && self.control & control::ACKNOWLEDGE_BOTH == 0 {
            OTHER_GROUP
        } else {
            register & (list::SOURCE | list::INTID)
        }
    }

    /// The part of an interrupt's priority that decides about preemption (3.3.3).
    fn group_priority(&self, register: u32) -> u32 {
        let aliased =
            register & list::GROUP_1 != 0 && self.control & control::COMMON_BINARY_POINT == 0;
        let bits = if aliased { self.abpr() } else { self.bpr() + 1 };
        (register & list::PRIORITY) >> list::PRIORITY_SHIFT << 3 & (0xff << bits)
    }

    /// `GICV_IAR`.
    pub(crate) fn iar(&mut self) -> u32 {
        let Some(index) = self.most_urgent() else {
            return SPURIOUS;
        };
        let register = self.list[index];
        let priority = (register & list::PRIORITY) >> list::PRIORITY_SHIFT << 3;
        let group_priority = self.group_priority(register);
        if priority >= self.pmr() || group_priority >= self.rpr() {
            return SPURIOUS;
        }
        let shown = self.shown(register);
        if shown != OTHER_GROUP {
            self.list[index] = register & !list::STATE | list::ACTIVE;
            self.active_priorities |= 1 << (group_priority >> 3);
        }
        shown
    }

    /// `GICV_EOIR`: drops the most urgent active priority; without `EOImode`, also deactivates.
    pub(crate) fn eoir(&mut self, interrupt: u32) {
        self.active_priorities &= self.active_priorities.wrapping_sub(1);
        if self.control & control::EOI_MODE == 0 {
            self.deactivate(interrupt);
        }
    }

    /// `GICV_DIR`.
    pub(crate) fn dir(&mut self, interrupt: u32) {
        if self.control & control::EOI_MODE != 0 {
            self.deactivate(interrupt);
        }
    }

    fn deactivate(&mut self, interrupt: u32) {
        let active = |register: &&mut u32| {
            **register & list::ACTIVE != 0 && **register & (list::SOURCE | list::INTID) == interrupt
        };
        if let Some(register) = self.list.iter_mut().find(active) {
            *register &= !list::ACTIVE;
        }
    }
}
