// SPDX-License-Identifier: BSD-2-Clause
//! Calls from `migration-pd` to `vmm-pd`.
//!
//! Stopping needs the vCPUs to run the capture stub, so a call cannot wait for it: the request is
//! accepted at once, and `vmm-pd` notifies the channel whenever [`Status::phase`] has changed.

use hang::Hang;
pub use vm::{Failure, Phase, Refusal, Statistics};

use crate::message::ANSWER;
use crate::request::requests;
use crate::{Message, ProtocolError, VcpuId};

requests! {
    /// A request to `vmm-pd`.
    pub enum Request {
        /// Answered with [`Status`].
        Status = 1,
        /// Stop and capture all vCPUs. Accepted while running; ends in [`Phase::Stopped`].
        Stop = 2,
        /// Continue after [`Phase::Stopped`] or [`Phase::Imported`]; ends in [`Phase::Running`].
        Resume = 3,
        /// Writes the record of the vCPUs and the console into the export region. Only while the guest
        /// is paused. Answer: its length in bytes.
        Export = 4,
        /// Takes over the record of `length` bytes in the import region, all or nothing. Only while
        /// empty; ends in [`Phase::Imported`].
        Import { length: u32 } = 5,
        /// Discards the guest (stopped, imported, off or failed); ends in [`Phase::Empty`].
        Discard = 6,
        /// Writes what this board is to a guest (identification registers, cache geometry, counter
        /// frequency, RAM layout) into the export region. Answer: its length.
        Describe = 7,
        /// Counters of exits since start, by cause; answered with [`Statistics`].
        Statistics = 8,
        /// Gives a register of a paused vCPU another value, at the operator's word:
        /// `register` is its key in records. Only one that was captured and that a restore writes, and
        /// not one of the timer's, which is `timer-pd`'s.
        SetRegister {
            vcpu: VcpuId,
            register: u32,
            value: u128,
        } = 9,
        /// Whether a vCPU hangs, as far as its registers tell at this moment; answered with [`encode_hang`]. It runs on.
        Look { vcpu: VcpuId } = 10,
    }
}

/// The answer to [`Request::Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What the machine is doing.
    pub phase: Phase,
    /// How many vCPUs the guest has; 0 while empty.
    pub vcpus: u8,
    /// Why, if the phase is [`Phase::Failed`].
    pub failure: Failure,
    /// What the failure is about: a fault's syndrome, an error's number.
    pub detail: u64,
    /// Where the guest was: the program counter of the vCPU concerned.
    pub program_counter: u64,
    /// The identity of the bundle that the guest was started from, here or on another board; 0 if that is not known, or
    /// there is none.
    pub bundle: u64,
}

impl Status {
    /// The message that gives this answer.
    pub fn encode(&self) -> Message {
        Message::new(ANSWER)
            .with(self.phase as u64)
            .with(self.vcpus.into())
            .with(self.failure as u64)
            .with(self.detail)
            .with(self.program_counter)
            .with(self.bundle)
    }

    /// The answer that a message gives.
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let phase = reader.code("phase")?;
        let value = reader.word()?;
        let vcpus = u8::try_from(value).map_err(|_| ProtocolError::Range {
            field: "vcpus",
            value,
        })?;
        let status = Self {
            phase,
            vcpus,
            failure: reader.code("failure")?,
            detail: reader.word()?,
            program_counter: reader.word()?,
            bundle: reader.word()?,
        };
        reader.finish()?;
        Ok(status)
    }
}

/// The answer to [`Request::Statistics`].
pub fn encode_statistics(statistics: &Statistics) -> Message {
    let words = statistics.words().into_iter();
    words.fold(Message::new(ANSWER), Message::with)
}

/// The inverse of [`encode_statistics`].
pub fn decode_statistics(message: &Message) -> Result<Statistics, ProtocolError> {
    let mut reader = message.answer()?;
    let mut words = [0; 8];
    for word in &mut words {
        *word = reader.word()?;
    }
    reader.finish()?;
    Ok(Statistics::from_words(words))
}

/// The answer to [`Request::Look`]: what the vCPU hangs in, if it does.
pub fn encode_hang(hang: Option<Hang>) -> Message {
    let words = hang.map_or([0; hang::WORDS], |hang| hang.words());
    words.into_iter().fold(Message::new(ANSWER), Message::with)
}

/// The inverse of [`encode_hang`].
pub fn decode_hang(message: &Message) -> Result<Option<Hang>, ProtocolError> {
    let mut reader = message.answer()?;
    let mut words = [0; hang::WORDS];
    for word in &mut words {
        *word = reader.word()?;
    }
    reader.finish()?;
    Ok(Hang::from_words(words))
}

pub use crate::timer::{answer, decode_answer};
