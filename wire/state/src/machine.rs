// SPDX-License-Identifier: BSD-2-Clause
//! The record that describes a machine: what it is, not what it does.
//!
//! Responsible for: everything of a board that a guest can notice and that does not change while it runs. Never:
//! state; a description is compared ([`crate::admission`]), not restored.

use crate::record::{Kind, Record, RecordError, sealed};
use crate::{BaselineV1, MAX_VCPUS};
use heapless::String;
use serde::{Deserialize, Serialize};

/// The most bytes that a board's name has.
pub const MAX_BOARD_NAME: usize = 32;

/// Room in an image for the record of what its guest is promised.
pub const MAX_PROMISE: usize = 2048;

/// What a machine is to a guest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineRecordV2 {
    /// The board, as `board/` names it; for people.
    pub board: String<MAX_BOARD_NAME>,
    /// Where guest RAM begins, an IPA.
    pub ram_base: u64,
    /// Guest RAM in bytes.
    pub ram_size: u64,
    /// How many vCPUs the guest has; of a board without a guest, how many it can have.
    pub vcpus: u8,
    /// The GIC architecture's version: 2 or 3.
    pub gic_version: u8,
    /// How many shared interrupts the emulated distributor has.
    pub shared_interrupts: u16,
    /// What the guest may rely on of its processor; of a board without a guest, what its processor is.
    pub baseline: BaselineV1,
}

impl sealed::Sealed for MachineRecordV2 {}

impl Record for MachineRecordV2 {
    const KIND: Kind = Kind::Machine;
    const VERSION: u16 = 2;

    fn check(&self) -> Result<(), RecordError> {
        let out_of_range = |field, value: u64| Err(RecordError::Range { field, value });
        if self.vcpus == 0 || usize::from(self.vcpus) > MAX_VCPUS {
            return out_of_range("vcpus", self.vcpus.into());
        }
        if !matches!(self.gic_version, 2 | 3) {
            return out_of_range("GIC version", self.gic_version.into());
        }
        if self.ram_base.checked_add(self.ram_size).is_none() {
            return out_of_range("RAM size", self.ram_size);
        }
        self.baseline.check()
    }

    /// Version 2 made a baseline of the constants, with the implementations that the guest learns of, and whether it has.
    fn added_since(version: u16) -> Option<usize> {
        (version == 1).then_some(2)
    }

    /// The guest may rely on what its board's constants say.
    fn upgrade(mut self, _version: u16) -> Option<Self> {
        let as_then = self.baseline.implementations.is_empty() && !self.baseline.told;
        self.baseline = BaselineV1::of(&self.baseline.constants);
        as_then.then_some(self)
    }
}
