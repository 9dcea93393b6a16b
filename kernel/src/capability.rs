// SPDX-License-Identifier: BSD-2-Clause
//! Capability spaces: what each domain can name.
//!
//! Responsible for finding a capability by its address as the two levels of Microkit's layout do
//! on seL4. Must never give a capability to a domain whose description does not list it.

use crate::identifier::{DomainId, Identifier, Table};
use crate::object::{Capability, CapabilitySpace, LookupFailure};

/// Bits of an address that select a slot (Microkit's `PD_CAP_BITS`).
const SLOT_BITS: u8 = 9;

/// Bits of an address that select an entry of a domain's root (Microkit's `PD_ROOT_CAP_BITS`), of
/// which only the first, zero, leads anywhere.
const ROOT_BITS: u8 = 6;

/// Most capabilities of all domains together.
const CAPABILITIES: usize = 256;

const SLOTS: usize = 1 << SLOT_BITS;

/// The slots of one domain, as places in the list of all capabilities.
type Slots = [u8; SLOTS];

/// Every domain's capabilities.
#[derive(Debug)]
pub struct CapabilitySpaces {
    slots: Table<Slots, { DomainId::COUNT }>,
    /// The first is null and stays so.
    capabilities: [Capability; CAPABILITIES],
    used: usize,
}

impl CapabilitySpaces {
    /// Without capabilities.
    pub const EMPTY: Self = Self {
        slots: Table::new([[0; SLOTS]; DomainId::COUNT]),
        capabilities: [Capability::Null; CAPABILITIES],
        used: 1,
    };

    /// Puts a capability into a slot. Returns whether there was room.
    #[must_use]
    pub fn insert(&mut self, domain: DomainId, slot: u32, capability: Capability) -> bool {
        let slot = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.slots[domain].get_mut(slot));
        let place = self.capabilities.get_mut(self.used);
        match (slot, place, u8::try_from(self.used)) {
            (Some(slot), Some(place), Ok(index)) => {
                *place = capability;
                *slot = index;
                self.used += 1;
                true
            }
            _ => false,
        }
    }

    /// Finds a capability by its address. A slot that holds none is found too: as null.
    ///
    /// # Errors
    ///
    /// The address has bits set that must be zero.
    #[inline(always)]
    pub fn lookup(
        &self,
        space: CapabilitySpace,
        address: u64,
    ) -> Result<Capability, LookupFailure> {
        match space {
            CapabilitySpace::Domain(domain) => {
                if address >> SLOT_BITS != 0 {
                    return Self::outside(address, ROOT_BITS);
                }
                #[expect(clippy::cast_possible_truncation, reason = "below SLOTS")]
                let slot = address as usize;
                let index = self.slots[domain].get(slot).copied().unwrap_or(0);
                let found = self.capabilities.get(usize::from(index));
                Ok(found.copied().unwrap_or(Capability::Null))
            }
            CapabilitySpace::Empty if address >> SLOT_BITS == 0 => Ok(Capability::Null),
            CapabilitySpace::Empty => Self::outside(address, 0),
        }
    }

    /// The answer for an address beyond the slots, given the bits of the level above them: other
    /// entries of that level hold null, and the bits in between must be zero.
    #[cold]
    fn outside(address: u64, root_bits: u8) -> Result<Capability, LookupFailure> {
        const ADDRESS_BITS: u8 = 64;
        let bits_left = ADDRESS_BITS - root_bits;
        if root_bits > 0 && address >> bits_left != 0 {
            return Ok(Capability::Null);
        }
        Err(LookupFailure::GuardMismatch {
            bits_left,
            guard_bits: bits_left - SLOT_BITS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> CapabilitySpace {
        CapabilitySpace::Domain(DomainId::new(0).unwrap())
    }

    #[test]
    fn a_domain_finds_what_was_inserted_and_another_does_not() {
        let mut spaces = CapabilitySpaces::EMPTY;
        let capability = Capability::Interrupt { intid: 33 };
        assert!(spaces.insert(DomainId::new(0).unwrap(), 138, capability));
        assert_eq!(spaces.lookup(domain(), 138), Ok(capability));
        assert_eq!(spaces.lookup(domain(), 139), Ok(Capability::Null));
        let other = CapabilitySpace::Domain(DomainId::new(1).unwrap());
        assert_eq!(spaces.lookup(other, 138), Ok(Capability::Null));
        assert_eq!(
            spaces.lookup(CapabilitySpace::Empty, 138),
            Ok(Capability::Null)
        );
    }

    #[test]
    fn an_address_beyond_the_slots_fails_as_on_sel4() {
        let spaces = CapabilitySpaces::EMPTY;
        let mismatch = |bits_left, guard_bits| {
            Err(LookupFailure::GuardMismatch {
                bits_left,
                guard_bits,
            })
        };
        assert_eq!(spaces.lookup(domain(), 512), mismatch(58, 49));
        assert_eq!(spaces.lookup(domain(), 1 << 57), mismatch(58, 49));
        assert_eq!(spaces.lookup(domain(), 1 << 58 | 512), Ok(Capability::Null));
        assert_eq!(
            spaces.lookup(CapabilitySpace::Empty, 511),
            Ok(Capability::Null)
        );
        assert_eq!(
            spaces.lookup(CapabilitySpace::Empty, u64::MAX),
            mismatch(64, 55)
        );
    }

    #[test]
    fn insertion_ends_when_there_is_no_room() {
        let mut spaces = CapabilitySpaces::EMPTY;
        let owner = DomainId::new(0).unwrap();
        assert!(!spaces.insert(owner, 512, Capability::AddressSpace));
        for _ in 1..CAPABILITIES {
            assert!(spaces.insert(owner, 3, Capability::AddressSpace));
        }
        assert!(!spaces.insert(owner, 3, Capability::AddressSpace));
    }
}
