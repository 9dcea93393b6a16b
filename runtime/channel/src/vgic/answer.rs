// SPDX-License-Identifier: BSD-2-Clause
//! What `vgic-pd` answers: a value and what to inject, who sits in the list registers, what to restore.

use super::{CpuInterface, LIST_REGISTERS};
use crate::message::ANSWER;
use crate::request::Field as _;
use crate::{Intid, MAX_VCPUS, Message, ProtocolError, Reader, VcpuId};

/// The most injections that one answer carries. When more are due, [`Answer::more`] says so, and
/// [`Request::Refill`](super::Request::Refill) brings the rest.
pub const MAX_INJECTIONS: usize = 12;

/// An interrupt to be put into a list register by `vmm-pd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// The vCPU.
    pub vcpu: VcpuId,
    /// The interrupt.
    pub intid: Intid,
    /// Its priority's upper five bits, 0 (highest) to 31, as seL4 takes it.
    pub priority: u8,
    /// Its group: 0 or 1.
    pub group: u8,
    /// The list register.
    pub list_register: u8,
}

impl Injection {
    const fn to_word(self) -> u64 {
        self.intid.value() as u64
            | (self.priority as u64) << 16
            | (self.group as u64) << 24
            | (self.list_register as u64) << 32
            | (self.vcpu.index() as u64) << 40
    }

    fn from_word(word: u64) -> Result<Self, ProtocolError> {
        let byte = |shift: u32, limit: u8, field| match ((word >> shift) & 0xff).try_into() {
            Ok(value) if value < limit => Ok(value),
            _ => Err(ProtocolError::Range { field, value: word }),
        };
        if word >> 48 != 0 {
            return Err(ProtocolError::Range {
                field: "injection",
                value: word,
            });
        }
        Ok(Self {
            intid: Intid::try_from(word & 0xffff)?,
            priority: byte(16, 32, "priority")?,
            group: byte(24, 2, "group")?,
            list_register: byte(32, 16, "list register")?,
            vcpu: VcpuId::try_from((word >> 40) & 0xff)?,
        })
    }
}

/// The answer to a request: a value, and what to inject.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The value that the request calls for; for [`Request::Maintenance`](super::Request::Maintenance) the INTID that ended,
    /// or [`Answer::NOTHING_ENDED`].
    pub value: u64,
    /// [`MORE`], and what [`Self::rearrange`] gives, in their places in the message.
    flags: u64,
    count: usize,
    injections: [u64; MAX_INJECTIONS],
}

/// What an earlier answer in the same place left behind the injections does not count.
impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        (self.value, self.flags) == (other.value, other.flags)
            && self.injections().eq(other.injections())
    }
}

impl Eq for Answer {}

/// The flag in an answer's first word that says that more injections are due.
const MORE: u64 = 1 << 63;
/// Where an answer's first word has [`Answer::rearrange`]: in the same byte.
const REARRANGE_SHIFT: usize = 56;
const _: () = assert!(MAX_VCPUS < 8);
/// The bits of an answer's first word that are its value.
const VALUE: u64 = (1 << REARRANGE_SHIFT) - 1;

impl Answer {
    /// [`Answer::value`] of a [`Request::Maintenance`](super::Request::Maintenance) for a list register that was empty.
    pub const NOTHING_ENDED: u64 = 0xffff;

    /// An answer with nothing to inject yet.
    pub const fn new(value: u64) -> Self {
        Self {
            value,
            flags: 0,
            count: 0,
            injections: [0; MAX_INJECTIONS],
        }
    }

    /// Adds an injection; false, and [`Self::more`] true, when there is no room.
    pub fn inject(&mut self, injection: Injection) -> bool {
        if let Some(slot) = self.injections.get_mut(self.count) {
            *slot = injection.to_word();
            self.count += 1;
            true
        } else {
            self.flags |= MORE;
            false
        }
    }

    /// Starts over with `value` and nothing to inject.
    #[inline]
    pub const fn restart(&mut self, value: u64) {
        (self.value, self.flags, self.count) = (value, 0, 0);
    }

    /// More injections are due: ask with [`Request::Refill`](super::Request::Refill) for each vCPU.
    pub const fn more(&self) -> bool {
        self.flags & MORE != 0
    }

    /// Says that more injections are due.
    pub const fn set_more(&mut self) {
        self.flags |= MORE;
    }

    /// One bit for each vCPU whose list registers hold what does not belong there: an interrupt that may be pending and
    /// that the distributor would no longer forward to it, or one that is less urgent than what waits while all are
    /// taken. Capturing that vCPU and restoring it withdraws those, and puts in what is right.
    pub const fn rearrange(&self) -> u8 {
        let [flags, ..] = self.flags.to_be_bytes();
        flags & !MORE.to_be_bytes()[0]
    }

    /// Says that a vCPU's list registers hold what does not belong there.
    pub const fn set_rearrange(&mut self, vcpu: VcpuId) {
        self.flags |= 1 << (REARRANGE_SHIFT + vcpu.index());
    }

    /// Injecting is all that there is to do: neither [`Self::more`] nor [`Self::rearrange`].
    #[inline]
    pub const fn is_all(&self) -> bool {
        self.flags == 0
    }

    /// Whether there is no room for another injection.
    pub const fn is_full(&self) -> bool {
        self.count == MAX_INJECTIONS
    }

    /// What to inject, in order.
    pub fn injections(&self) -> impl Iterator<Item = Injection> + '_ {
        self.injections
            .iter()
            .take(self.count)
            .filter_map(|word| Injection::from_word(*word).ok())
    }

    /// The message that gives this answer.
    #[inline]
    pub fn encode(&self) -> Message {
        let mut message = Message::new(ANSWER);
        self.encode_into(&mut message);
        message
    }

    /// Like [`Self::encode`], in the place of another message.
    #[inline]
    pub fn encode_into(&self, message: &mut Message) {
        message.restart(ANSWER);
        message.push(self.value | self.flags);
        for word in self.injections.iter().take(self.count) {
            message.push(*word);
        }
    }

    /// The answer that a message gives. Every injection has been checked.
    #[inline]
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let first = reader.word()?;
        let mut answer = Self::new(first & VALUE);
        answer.flags = first & !VALUE;
        answer.read_injections(&mut reader)?;
        Ok(answer)
    }

    /// Takes the injections that are the rest of a message.
    #[inline]
    fn read_injections(&mut self, reader: &mut Reader<'_>) -> Result<(), ProtocolError> {
        while reader.remaining() > 0 {
            let word = reader.word()?;
            if !self.inject(Injection::from_word(word)?) {
                return Err(ProtocolError::Range {
                    field: "injections",
                    value: word,
                });
            }
        }
        Ok(())
    }
}

/// The answer to [`Request::ListRegisterEntries`](super::Request::ListRegisterEntries): which interrupt sits in each list register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListRegisterEntries(pub [Option<Intid>; LIST_REGISTERS]);

impl ListRegisterEntries {
    const EMPTY: u64 = 0xffff;

    /// The message that gives this answer.
    pub fn encode(&self) -> Message {
        self.0.iter().fold(Message::new(ANSWER), |message, entry| {
            message.with(entry.map_or(Self::EMPTY, |intid| intid.value().into()))
        })
    }

    /// The answer that a message gives.
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let mut entries = Self::default();
        for entry in &mut entries.0 {
            *entry = match reader.word()? {
                Self::EMPTY => None,
                word => Some(Intid::try_from(word)?),
            };
        }
        reader.finish()?;
        Ok(entries)
    }
}

/// The answer to [`Request::Restore`](super::Request::Restore).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestorePlan {
    /// The CPU interface's own state.
    pub interface: CpuInterface,
    /// The active interrupts, in [`Answer::injections`].
    pub active: Answer,
}

impl RestorePlan {
    /// The message that gives this answer.
    pub fn encode(&self) -> Message {
        let mut message = Message::new(ANSWER);
        self.interface.put(&mut message);
        let injections = self.active.injections.iter().take(self.active.count);
        injections.for_each(|word| message.push(*word));
        message
    }

    /// The answer that a message gives.
    pub fn decode(message: &Message) -> Result<Self, ProtocolError> {
        let mut reader = message.answer()?;
        let interface = CpuInterface::take(&mut reader, "CPU interface")?;
        let mut active = Answer::new(0);
        active.read_injections(&mut reader)?;
        Ok(Self { interface, active })
    }
}
