//! The record that describes a machine: what it is, not what it does.
//!
//! Responsible for: everything of a board that a guest can notice and that does not change while it runs. Never:
//! state; a description is compared ([`crate::admission`]), not restored.

use crate::record::{self, Kind, Record, RecordError, sealed};
use crate::{BaselineV1, MAX_VCPUS, RegisterFile};
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

/// What a machine was before guests carried what they were started on: the constants are those of the board.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the version after it")]
pub struct MachineRecordV1 {
    pub board: String<MAX_BOARD_NAME>,
    pub ram_base: u64,
    pub ram_size: u64,
    pub vcpus: u8,
    pub gic_version: u8,
    pub shared_interrupts: u16,
    /// The constant registers, read by a vCPU.
    pub constants: RegisterFile,
}

impl From<MachineRecordV1> for MachineRecordV2 {
    fn from(earlier: MachineRecordV1) -> Self {
        Self {
            board: earlier.board,
            ram_base: earlier.ram_base,
            ram_size: earlier.ram_size,
            vcpus: earlier.vcpus,
            gic_version: earlier.gic_version,
            shared_interrupts: earlier.shared_interrupts,
            baseline: BaselineV1::of(&earlier.constants),
        }
    }
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

    fn of_earlier(version: u16, bytes: &[u8]) -> Option<Result<Self, RecordError>> {
        (version == MachineRecordV1::VERSION)
            .then(|| record::decode::<MachineRecordV1>(bytes).map(Self::from))
    }
}

impl sealed::Sealed for MachineRecordV1 {}

impl Record for MachineRecordV1 {
    const KIND: Kind = Kind::Machine;
    const VERSION: u16 = 1;

    fn check(&self) -> Result<(), RecordError> {
        MachineRecordV2::from(self.clone()).check()
    }
}
