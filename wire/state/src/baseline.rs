// SPDX-License-Identifier: BSD-2-Clause
//! What a guest may rely on of its processor.
//!
//! Responsible for: the description of the processor that a guest was started on, and the implementations that it was
//! told of: what goes with it from board to board. Never: says what the board that it happens to be on has.

use crate::record::RecordError;
use crate::register::{Class, Register};
use crate::{MachineRecordV2, RegisterFile};
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// The most implementations that a guest is told of.
pub const MAX_IMPLEMENTATIONS: usize = 8;

/// An implementation of the architecture: which core, of which revision. Software chooses workarounds by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImplementationV1 {
    /// `MIDR_EL1`.
    pub midr: u64,
    /// `REVIDR_EL1`.
    pub revidr: u64,
    /// `AIDR_EL1`.
    pub aidr: u64,
}

impl ImplementationV1 {
    /// The implementation with these constants, if they say all of it.
    pub fn of(constants: &RegisterFile) -> Option<Self> {
        Some(Self {
            midr: constants.word(Register::MIDR_EL1)?,
            revidr: constants.word(Register::REVIDR_EL1)?,
            aidr: constants.word(Register::AIDR_EL1)?,
        })
    }

    /// Whether `register` is one of the three.
    pub const fn includes(register: Register) -> bool {
        matches!(
            register,
            Register::MIDR_EL1 | Register::REVIDR_EL1 | Register::AIDR_EL1
        )
    }
}

/// What a guest may rely on; of a board without a guest, what it offers to one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BaselineV1 {
    /// The constant registers, `CNTFRQ_EL0` among them, of the processor that the guest was started on, lowered if its
    /// operator said so. Empty if nobody knows: a guest that came in a record of an earlier version.
    pub constants: RegisterFile,
    /// The implementations that the guest learns of when it asks, the one that it was started on first.
    pub implementations: Vec<ImplementationV1, MAX_IMPLEMENTATIONS>,
    /// It has asked, and for all of them.
    pub told: bool,
}

impl BaselineV1 {
    /// The baseline of a guest that is started where these constants are, and was promised nothing else.
    pub fn of(constants: &RegisterFile) -> Self {
        Self {
            constants: constants.clone(),
            implementations: ImplementationV1::of(constants).into_iter().collect(),
            told: false,
        }
    }

    /// Whether the guest knows that it may run on this implementation.
    pub fn knows(&self, implementation: ImplementationV1) -> bool {
        self.told && self.implementations.contains(&implementation)
    }

    /// Its constants are constants, in order and none too wide.
    pub(crate) fn check(&self) -> Result<(), RecordError> {
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

impl MachineRecordV2 {
    /// `CNTFRQ_EL0`: counts a second.
    pub fn counter_frequency(&self) -> Option<u64> {
        self.baseline.constants.word(Register::CNTFRQ_EL0)
    }
}
