// SPDX-License-Identifier: BSD-2-Clause
//! The shadow of one vCPU's list registers.
//!
//! Responsible for: what was put where, and whether there is room for more. seL4's own copy is
//! stale while a vCPU is loaded, and it overwrites without asking: these shadow are the only
//! protection of an interrupt that is in flight. They must never guess what a guest did with it.

use crate::interrupt::{Interrupt, VcpuSet};
use channel::vgic::LIST_REGISTERS;

/// What sits in a list register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The interrupt.
    pub(crate) interrupt: Interrupt,
    /// The priority that it was injected with, as `GICD_IPRIORITYR` has it.
    pub(crate) priority: u8,
    /// The group that it was injected with: 0 or 1.
    pub(crate) group: u8,
    /// For an SGI, the one vCPU that asked for it; for others, none.
    pub(crate) source: VcpuSet,
    /// It was restored as active, so that it cannot be waiting to be taken.
    pub(crate) restored: bool,
}

/// The list registers of a vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ListRegisterShadow {
    registers: [Option<Entry>; LIST_REGISTERS],
}

impl ListRegisterShadow {
    /// Nothing in flight.
    pub(crate) const NEW: Self = Self {
        registers: [None; LIST_REGISTERS],
    };

    /// What sits in each list register.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Option<Entry>> + '_ {
        self.registers.iter().copied()
    }

    /// Nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.registers.iter().all(Option::is_none)
    }

    /// Something in flight may still wait to be taken.
    pub(crate) fn may_have_pending(&self) -> bool {
        self.registers.iter().flatten().any(|entry| !entry.restored)
    }

    /// Whether any interrupt at all could find room.
    pub(crate) fn has_room(&self) -> bool {
        self.registers.iter().any(Option::is_none)
    }

    /// The least urgent priority of what may still wait to be taken.
    pub(crate) fn least_urgent(&self) -> Option<u8> {
        let entries = self.registers.iter().flatten();
        entries
            .filter(|entry| !entry.restored)
            .map(|entry| entry.priority)
            .max()
    }

    /// The first free list register.
    pub(crate) fn first_free(&self) -> Option<usize> {
        self.registers.iter().position(Option::is_none)
    }

    /// Puts an interrupt into a free list register; false if it is not free.
    pub(crate) fn put(&mut self, list_register: usize, entry: Entry) -> bool {
        match self.registers.get_mut(list_register) {
            Some(slot @ None) => {
                *slot = Some(entry);
                true
            }
            _ => false,
        }
    }

    /// Empties a list register.
    pub(crate) fn take(&mut self, list_register: usize) -> Option<Entry> {
        self.registers.get_mut(list_register)?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel::Intid;

    fn entry(intid: u16, priority: u8) -> Entry {
        Entry {
            interrupt: Interrupt::new(Intid::new(intid).unwrap()).unwrap(),
            priority,
            group: 0,
            source: VcpuSet::EMPTY,
            restored: false,
        }
    }

    #[test]
    fn list_registers_are_taken_from_the_first_on() {
        let mut shadow = ListRegisterShadow::default();
        for place in 0..LIST_REGISTERS {
            assert_eq!(shadow.first_free(), Some(place));
            assert!(shadow.put(place, entry(40, 0x80)));
        }
        assert!(!shadow.has_room());
        assert_eq!(shadow.first_free(), None);
    }

    #[test]
    fn what_is_known_to_be_active_waits_for_nothing() {
        let mut shadow = ListRegisterShadow::default();
        assert_eq!(shadow.least_urgent(), None);
        for (place, priority, restored) in [(0, 0x40, false), (1, 0x80, false), (2, 0xa0, true)] {
            let entry = Entry {
                restored,
                ..entry(40, priority)
            };
            assert!(shadow.put(place, entry));
        }
        assert_eq!(shadow.least_urgent(), Some(0x80));
    }

    #[test]
    fn an_occupied_list_register_is_never_overwritten() {
        let mut shadow = ListRegisterShadow::default();
        assert!(shadow.put(1, entry(40, 0)));
        assert!(!shadow.put(1, entry(41, 0)));
        assert!(!shadow.put(LIST_REGISTERS, entry(41, 0)));
        assert_eq!(shadow.take(1), Some(entry(40, 0)));
        assert_eq!(shadow.take(1), None);
        assert_eq!(shadow.take(LIST_REGISTERS), None);
    }
}
