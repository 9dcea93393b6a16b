// SPDX-License-Identifier: BSD-2-Clause
//! Calls to `timer-pd`.
//!
//! `timer-pd` alone knows the machine's counter offset. `vmm-pd` learns it through
//! [`Request::Release`] only, which is answered once every vCPU's timer is in place: the release
//! gate that keeps two vCPUs from ever seeing two times.

pub use crate::message::ANSWER;
use crate::request::{Field as _, fields, requests};
use crate::{MAX_VCPUS, Message, ProtocolError, Ticks, VcpuId};

/// A vCPU's virtual timer as the architecture defines it (DDI 0487, D11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VirtualTimer {
    /// `CNTV_CTL_EL0`: bit 0 enabled, bit 1 masked. Bit 2 (condition met) is not state.
    pub control: u32,
    /// `CNTV_CVAL_EL0`, against the guest's own count.
    pub compare: Ticks,
    /// `CNTKCTL_EL1`.
    pub kernel_control: u32,
    /// The interrupt was delivered to `vmm-pd` and not acknowledged: the kernel holds it masked.
    pub asserted: bool,
}

/// The machine's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// `CNTVCT_EL0` of every vCPU, or where it stands.
    pub count: Ticks,
    /// `CNTFRQ_EL0`: ticks a second.
    pub frequency: u32,
}

/// The alarm in the answer to [`Request::Due`].
pub const ALARM_IS_DUE: u64 = 1 << MAX_VCPUS;

requests! {
    /// A request to `timer-pd`.
    pub enum Request {
        /// A new machine of `vcpus` vCPUs whose count starts at zero, frozen. Forgets everything else.
        Reset { vcpus: u8 } = 1,
        /// Time is frozen from here. Answered with the machine's count ([`Ticks`]). Only with all
        /// vCPUs suspended. Frozen already: the same count again.
        Freeze = 2,
        /// A stopped vCPU's timer, at its capture.
        Save { vcpu: VcpuId, timer: VirtualTimer } = 3,
        /// A stopped vCPU's timer, to be restored. Answered with [`VirtualTimer`]'s words.
        Load { vcpu: VcpuId } = 4,
        /// Opens the gate: time runs. Refused until every vCPU of the machine has been loaded
        /// since the freeze. Answered with `CNTVOFF_EL2` for all vCPUs.
        Release = 5,
        /// The vCPU sleeps (WFI) until its virtual timer is due at `deadline` of the guest's count.
        /// Answer: 1 if that has passed already, and then it does not sleep.
        Sleep { vcpu: VcpuId, deadline: Ticks } = 6,
        /// The vCPU is awake for another reason.
        Wake { vcpu: VcpuId } = 7,
        /// After a notification: which sleepers are due, one bit a vCPU. They sleep no longer. The bit after those of
        /// [`MAX_VCPUS`] is the alarm's.
        Due = 8,
        /// What is the machine's count? Answered with [`Count`]'s words.
        Count = 11,
        /// Notifies at `deadline` of the guest's count; there is one alarm, and this replaces it. Answer: 1 if that has passed
        /// already, and then no notification comes.
        Alarm { deadline: Ticks } = 12,
        /// Writes the record into the export region. Refused unless frozen. Answer: its length.
        Export = 9,
        /// Takes over the record of `length` bytes in the import region, all or nothing; the machine
        /// stays frozen. `advance` ticks are added to the count: zero lets guest time stay frozen.
        Import { length: u32, advance: Ticks } = 10,
    }
}

/// Why `timer-pd` refuses a request that it understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// Time is not frozen, and the request needs it to be.
    Running = 1,
    /// Time is frozen, and the request needs it to run.
    Frozen = 2,
    /// A vCPU has not been loaded, or does not exist.
    NotLoaded = 3,
    /// The record to import is not one, or its frequency is not this board's.
    BadRecord = 4,
    /// The request is not for this caller.
    NotYours = 5,
}

impl Count {
    /// The answer to [`Request::Count`].
    pub fn encode(&self) -> Message {
        Message::new(ANSWER)
            .with(self.count.0)
            .with(self.frequency.into())
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let count = Self {
            count: Ticks(reader.word()?),
            frequency: reader.word32("CNTFRQ")?,
        };
        reader.finish()?;
        Ok(count)
    }
}

fields! {
    VirtualTimer { control, compare, kernel_control, asserted }
}

impl VirtualTimer {
    /// The answer to [`Request::Load`].
    pub fn encode(&self) -> Message {
        let mut message = Message::new(ANSWER);
        self.put(&mut message);
        message
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let timer = Self::take(&mut reader, "timer")?;
        reader.finish()?;
        Ok(timer)
    }
}

/// The answer of one word that every request but [`Request::Load`] and [`Request::Count`] has; zero where the request
/// names none.
pub fn answer(value: u64) -> Message {
    Message::new(ANSWER).with(value)
}

/// The inverse of [`answer`].
pub fn decode_answer(message: &Message) -> Result<u64, ProtocolError> {
    let mut reader = message.answer()?;
    let value = reader.word()?;
    reader.finish()?;
    Ok(value)
}
