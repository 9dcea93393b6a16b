// SPDX-License-Identifier: BSD-2-Clause
//! What the hostile domain can be told to do.
//!
//! Responsible for: the attacks with their numbers, and the symbols of the program that a test writes them into. One
//! program stands in for any domain of the system description, so all that differs is written into it. Must never: be
//! part of an image that is not a test.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod messages;

/// The symbol with the number of an [`Attack`].
pub const ATTACK_SYMBOL: &str = "hostile_attack";
/// The symbol with what the attack is about.
pub const ARGUMENT_SYMBOL: &str = "hostile_argument";
/// The symbol that says when: 0 for as soon as anything reaches the domain, anything else for at its start.
pub const AT_START_SYMBOL: &str = "hostile_at_start";
/// The symbol with a bit for each vCPU that the domain has.
pub const VCPUS_SYMBOL: &str = "hostile_vcpus";

/// What [`Attack::Capabilities`] ends with: a read of this address, and what it found in the bits above
/// [`GRANTED_SHIFT`]. Nothing is ever mapped there (user addresses on AArch64 end at 1 << 40).
pub const CONFESSION: u64 = 0x60_0000_0000;
/// Where an address of a confession has the first slot that answered as if there were a capability; 0 for none.
pub const GRANTED_SHIFT: u32 = 12;
/// Where it has the number of slots that refused.
pub const REFUSED_SHIFT: u32 = 24;

/// Slots of a domain's capability space (Microkit's `PD_CAP_BITS` is 9).
pub const SLOTS: u64 = 512;

/// What a hostile domain does, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Attack {
    /// Nothing by itself: it answers, to show that it and those around it are alive, and is a nuisance when told to.
    Witness = 0,
    /// Reads the word at the argument.
    Read = 1,
    /// Writes a word to the argument.
    Write = 2,
    /// Jumps to the argument.
    Execute = 3,
    /// Makes the system call of that number.
    SystemCall = 4,
    /// Calls the capability at the argument.
    Call = 5,
    /// Receives from the capability at the argument.
    Receive = 6,
    /// Calls every slot where it should have no capability, and confesses what came of it.
    Capabilities = 7,
    /// Reads a register of EL1.
    SystemRegister = 8,
    /// Reads a floating-point register, which may hold a guest's secret.
    FloatingPoint = 9,
    /// Answers every call with something else that is no answer, or not to that request.
    Answers = 10,
    /// Leaves nonsense in its rings, and notifies for ever.
    Flood = 11,
    /// Never answers a call: it computes for ever, with the argument in x0.
    Silence = 12,
    /// Leaves nonsense in its rings, notifies often, and then writes a word to the argument.
    Nonsense = 13,
}

impl Attack {
    /// Every attack.
    pub const ALL: [Self; 14] = [
        Self::Witness,
        Self::Read,
        Self::Write,
        Self::Execute,
        Self::SystemCall,
        Self::Call,
        Self::Receive,
        Self::Capabilities,
        Self::SystemRegister,
        Self::FloatingPoint,
        Self::Answers,
        Self::Flood,
        Self::Silence,
        Self::Nonsense,
    ];

    /// The attack of a number; a witness for any other.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self::ALL
            .into_iter()
            .find(|attack| *attack as u64 == number)
            .unwrap_or(Self::Witness)
    }
}

/// Slots in which a domain may have something besides channels, interrupts and vCPUs: its input, the fault endpoint,
/// its address space, its reply object, the monitor's endpoint (`microkit.h`).
const OWN: core::ops::RangeInclusive<u64> = 1..=5;
const NOTIFICATIONS: u64 = 10;
const ENDPOINTS: u64 = 74;
const INTERRUPTS: u64 = 138;
const VM_THREADS: u64 = 266;
const VCPUS: u64 = 330;

/// What a domain was given, a bit for each number of a channel or vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Granted {
    /// Channels that it may notify.
    pub notifications: u64,
    /// Channels that it may call.
    pub endpoints: u64,
    /// Interrupts that it handles.
    pub interrupts: u64,
    /// vCPUs of its virtual machine.
    pub vcpus: u64,
}

impl Granted {
    /// Whether there may be a capability in a slot.
    #[must_use]
    pub fn has(&self, slot: u64) -> bool {
        let classes = [
            (NOTIFICATIONS, self.notifications),
            (ENDPOINTS, self.endpoints),
            (INTERRUPTS, self.interrupts),
            (VM_THREADS, self.vcpus),
            (VCPUS, self.vcpus),
        ];
        OWN.contains(&slot)
            || classes.iter().any(|(base, mask)| {
                slot.checked_sub(*base)
                    .is_some_and(|number| number < 64 && mask >> number & 1 != 0)
            })
    }

    /// How many slots there are in which there should be none.
    #[must_use]
    pub fn forbidden(&self) -> u64 {
        (0..SLOTS).filter(|slot| !self.has(*slot)).count() as u64
    }
}

/// The address that a domain reads at the end of [`Attack::Capabilities`].
#[must_use]
pub const fn confession(refused: u64, first_granted: u64) -> u64 {
    CONFESSION | refused << REFUSED_SHIFT | first_granted << GRANTED_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_the_number_that_it_is_found_by() {
        for attack in Attack::ALL {
            assert_eq!(Attack::from_number(attack as u64), attack);
        }
        assert_eq!(Attack::from_number(14), Attack::Witness);
    }

    #[test]
    fn a_domain_has_the_slots_of_its_channels_and_no_others() {
        let granted = Granted {
            notifications: 1 << 4,
            endpoints: 1 << 1,
            interrupts: 1 << 10,
            vcpus: 0b11,
        };
        for slot in [1, 5, 14, 75, 148, 266, 267, 330, 331] {
            assert!(granted.has(slot), "{slot}");
        }
        for slot in [
            0, 6, 7, 9, 10, 11, 74, 76, 138, 202, 265, 268, 332, 458, 511,
        ] {
            assert!(!granted.has(slot), "{slot}");
        }
        assert_eq!(granted.forbidden(), SLOTS - 5 - 7);
        assert_eq!(Granted::default().forbidden(), SLOTS - 5);
    }

    #[test]
    fn confessions_differ_and_lie_below_the_end_of_user_addresses() {
        let all_refused = confession(SLOTS, 0);
        assert_ne!(all_refused, confession(SLOTS - 1, 75));
        assert!(confession(SLOTS, SLOTS - 1) < 1 << 40);
    }
}
