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

    /// The list register for an interrupt of this priority: the first free one. The last free one
    /// is only for an interrupt that is more urgent than all in flight.
    pub(crate) fn vacancy(&self, priority: u8) -> Option<usize> {
        let first = self.registers.iter().position(Option::is_none)?;
        let mut occupied = 0;
        let mut most_urgent = u8::MAX;
        for occupant in self.registers.iter().flatten() {
            occupied += 1;
            most_urgent = most_urgent.min(occupant.priority);
        }
        (occupied + 1 < LIST_REGISTERS || priority < most_urgent).then_some(first)
    }

    /// The first free list register, for an interrupt that is restored as active: those came out
    /// of as many list registers and need no reserve.
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
            source: VcpuSet::EMPTY,
            restored: false,
        }
    }

    #[test]
    fn the_last_list_register_is_for_a_more_urgent_interrupt() {
        let mut books = Books::default();
        for intid in 40..43 {
            let free = books.vacancy(0x80).unwrap();
            assert!(books.put(free, occupant(intid, 0x80)));
        }
        assert_eq!(books.vacancy(0x80), None, "an equal one waits");
        assert_eq!(books.vacancy(0x78), Some(3));
        assert!(books.put(3, occupant(50, 0x78)));
        assert!(!books.has_room());
        assert_eq!(books.vacancy(0), None);
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
