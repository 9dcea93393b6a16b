//! The books of one vCPU's list registers.
//!
//! Responsible for: what was put where, and whether there is room for more. seL4's own copy is
//! stale while a vCPU is loaded, and it overwrites without asking: these books are the only
//! protection of an interrupt that is in flight. They must never guess what a guest did with it.

use crate::interrupt::{Interrupt, VcpuSet};
use channel::vgic::LIST_REGISTERS;

/// What sits in a list register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupant {
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
pub(crate) struct Books {
    registers: [Option<Occupant>; LIST_REGISTERS],
}

impl Books {
    /// Nothing in flight.
    pub(crate) const NEW: Self = Self {
        registers: [None; LIST_REGISTERS],
    };

    /// What sits in each list register.
    pub(crate) fn occupants(&self) -> impl Iterator<Item = Option<Occupant>> + '_ {
        self.registers.iter().copied()
    }

    /// Nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.registers.iter().all(Option::is_none)
    }

    /// Something in flight may still wait to be taken.
    pub(crate) fn may_have_pending(&self) -> bool {
        self.registers
            .iter()
            .flatten()
            .any(|occupant| !occupant.restored)
    }

    /// Whether any interrupt at all could find room.
    pub(crate) fn has_room(&self) -> bool {
        self.registers.iter().any(Option::is_none)
    }

    /// The least urgent priority of what may still wait to be taken.
    pub(crate) fn least_urgent(&self) -> Option<u8> {
        let occupants = self.registers.iter().flatten();
        occupants
            .filter(|occupant| !occupant.restored)
            .map(|occupant| occupant.priority)
            .max()
    }

    /// The first free list register.
    pub(crate) fn first_free(&self) -> Option<usize> {
        self.registers.iter().position(Option::is_none)
    }

    /// Puts an interrupt into a free list register; false if it is not free.
    pub(crate) fn put(&mut self, list_register: usize, occupant: Occupant) -> bool {
        match self.registers.get_mut(list_register) {
            Some(slot @ None) => {
                *slot = Some(occupant);
                true
            }
            _ => false,
        }
    }

    /// Empties a list register.
    pub(crate) fn take(&mut self, list_register: usize) -> Option<Occupant> {
        self.registers.get_mut(list_register)?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel::Intid;

    fn occupant(intid: u16, priority: u8) -> Occupant {
        Occupant {
            interrupt: Interrupt::new(Intid::new(intid).unwrap()).unwrap(),
            priority,
            group: 0,
            source: VcpuSet::EMPTY,
            restored: false,
        }
    }

    #[test]
    fn list_registers_are_taken_from_the_first_on() {
        let mut books = Books::default();
        for place in 0..LIST_REGISTERS {
            assert_eq!(books.first_free(), Some(place));
            assert!(books.put(place, occupant(40, 0x80)));
        }
        assert!(!books.has_room());
        assert_eq!(books.first_free(), None);
    }

    #[test]
    fn what_is_known_to_be_active_waits_for_nothing() {
        let mut books = Books::default();
        assert_eq!(books.least_urgent(), None);
        for (place, priority, restored) in [(0, 0x40, false), (1, 0x80, false), (2, 0xa0, true)] {
            let occupant = Occupant {
                restored,
                ..occupant(40, priority)
            };
            assert!(books.put(place, occupant));
        }
        assert_eq!(books.least_urgent(), Some(0x80));
    }

    #[test]
    fn an_occupied_list_register_is_never_overwritten() {
        let mut books = Books::default();
        assert!(books.put(1, occupant(40, 0)));
        assert!(!books.put(1, occupant(41, 0)));
        assert!(!books.put(LIST_REGISTERS, occupant(41, 0)));
        assert_eq!(books.take(1), Some(occupant(40, 0)));
        assert_eq!(books.take(1), None);
        assert_eq!(books.take(LIST_REGISTERS), None);
    }
}
