//! The record that describes a machine: what it is, not what it does.
//!
//! Responsible for: everything of a board that a guest can notice and that does not change while it runs. Never:
//! state; a description is compared ([`crate::admission`]), not restored.

use crate::record::{Kind, Record, RecordError, sealed};
use crate::register::{Class, Register};
use crate::{MAX_VCPUS, RegisterFile};
use heapless::String;
use serde::{Deserialize, Serialize};

/// The most bytes that a board's name has.
pub const MAX_BOARD_NAME: usize = 32;

/// What a machine is to a guest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineRecordV1 {
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
    /// The constant registers, `CNTFRQ_EL0` among them, read by a vCPU.
    pub constants: RegisterFile,
}

impl MachineRecordV1 {
    /// `CNTFRQ_EL0`: counts a second.
    pub fn counter_frequency(&self) -> Option<u64> {
        self.constants.word(Register::CNTFRQ_EL0)
    }
}

impl sealed::Sealed for MachineRecordV1 {}

impl Record for MachineRecordV1 {
    const KIND: Kind = Kind::Machine;
    const VERSION: u16 = 1;

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
        if let Some(defect) = self.constants.defect() {
            return Err(defect.into());
        }
        let mut registers = self.constants.iter().map(|(register, _)| register);
        match registers.find(|register| register.class() != Class::Constant) {
            Some(register) => Err(RecordError::Misplaced {
                register: register.name(),
            }),
            None => Ok(()),
        }
    }
}
