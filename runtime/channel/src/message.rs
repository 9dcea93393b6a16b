// SPDX-License-Identifier: BSD-2-Clause
//! A message between two domains, as seL4 carries it: a label and message registers.

use thiserror::Error;

/// The most message registers that a message of ours uses.
pub const MAX_WORDS: usize = 16;

/// A message: what is asked or answered (`label`), and its words.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    label: u64,
    length: usize,
    words: [u64; MAX_WORDS],
}

/// Why a peer domain's message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The label names no message of this channel.
    #[error("unknown message {label:#x}")]
    UnknownLabel {
        /// The label received.
        label: u64,
    },
    /// The message has fewer or more words than its label calls for.
    #[error("message {label:#x} has {found} words")]
    Length {
        /// The label received.
        label: u64,
        /// How many words came with it.
        found: usize,
    },
    /// A field's value is outside its range.
    #[error("{field} out of range: {value:#x}")]
    Range {
        /// The field's name.
        field: &'static str,
        /// The value received.
        value: u64,
    },
    /// The peer domain understood the request and refuses it in its present state.
    #[error("refused by the other domain, reason {reason}")]
    Refused {
        /// The reason as the channel's own module numbers it.
        reason: u64,
    },
}

/// A register's value that no guest can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalValue {
    /// The number of the vCPU.
    pub vcpu: u8,
    /// The register's key in records.
    pub register: u32,
    /// The value.
    pub value: u64,
    /// The bits of it that are wrong.
    pub bits: u64,
}

/// The label of every answer that is not a refusal.
pub const ANSWER: u64 = 0;
/// The label of an answer that says that the request was not understood.
const LABEL_NOT_UNDERSTOOD: u64 = 0xfff;
/// The label of an answer that refuses a request that was understood.
const LABEL_REFUSED: u64 = 0xffe;

/// What earlier, longer messages left behind the words does not count.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label && self.words() == other.words()
    }
}

impl Eq for Message {}

impl Message {
    /// A message with `label` (below `0xff0`) and no words yet.
    #[inline]
    pub const fn new(label: u64) -> Self {
        Self {
            label,
            length: 0,
            words: [0; MAX_WORDS],
        }
    }

    /// A message as the kernel delivered it. Words beyond [`MAX_WORDS`] make it unreadable.
    #[inline]
    pub fn received(label: u64, words: &[u64]) -> Result<Self, ProtocolError> {
        let mut message = Self::new(label);
        message.receive(label, words)?;
        Ok(message)
    }

    /// Takes the place of what was there: [`Self::received`] without making a message anew.
    #[inline]
    pub fn receive(&mut self, label: u64, words: &[u64]) -> Result<(), ProtocolError> {
        let found = words.len();
        let room = self.words.get_mut(..found);
        let room = room.ok_or(ProtocolError::Length { label, found })?;
        room.copy_from_slice(words);
        (self.label, self.length) = (label, found);
        Ok(())
    }

    /// Starts over with `label` (below `0xff0`) and no words yet.
    #[inline]
    pub const fn restart(&mut self, label: u64) {
        (self.label, self.length) = (label, 0);
    }

    /// One more word. Words beyond [`MAX_WORDS`] are a bug of ours and are dropped, which the
    /// receiver's length check then reports.
    #[inline]
    pub fn push(&mut self, word: u64) {
        if let Some(slot) = self.words.get_mut(self.length) {
            *slot = word;
            self.length += 1;
        }
    }

    /// The same message with one more word, as [`Self::push`] has it.
    #[inline]
    #[must_use]
    pub fn with(mut self, word: u64) -> Self {
        self.push(word);
        self
    }

    /// The answer to a request that was not understood.
    pub const fn not_understood() -> Self {
        Self::new(LABEL_NOT_UNDERSTOOD)
    }

    /// The answer to a request that cannot be carried out, with a reason of the channel's own.
    pub fn refused(reason: u64) -> Self {
        Self::new(LABEL_REFUSED).with(reason)
    }

    /// The answer to a request that would give a register a value which no guest can have; the reason is the channel's.
    pub fn refused_value(reason: u64, value: IllegalValue) -> Self {
        let IllegalValue {
            vcpu,
            register,
            value,
            bits,
        } = value;
        Self::refused(reason)
            .with(vcpu.into())
            .with(register.into())
            .with(value)
            .with(bits)
    }

    /// What an answer by [`Self::refused_value`] is about.
    pub fn illegal_value(&self) -> Option<IllegalValue> {
        let [_, vcpu, register, value, bits] = *self.words() else {
            return None;
        };
        let (vcpu, register) = (u8::try_from(vcpu).ok()?, u32::try_from(register).ok()?);
        (self.label == LABEL_REFUSED).then_some(IllegalValue {
            vcpu,
            register,
            value,
            bits,
        })
    }

    /// What is asked or answered.
    #[inline]
    pub const fn label(&self) -> u64 {
        self.label
    }

    /// Its words.
    #[inline]
    pub fn words(&self) -> &[u64] {
        self.words.get(..self.length).unwrap_or(&[])
    }

    /// Its words, to be read in order and completely; see [`Reader::finish`].
    #[inline]
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            label: self.label,
            words: self.words(),
            taken: 0,
        }
    }

    /// The words of an answer, unless the answer says that the request failed.
    #[inline]
    pub fn answer(&self) -> Result<Reader<'_>, ProtocolError> {
        match self.label {
            ANSWER => Ok(self.reader()),
            LABEL_REFUSED => Err(ProtocolError::Refused {
                reason: self.words().first().copied().unwrap_or(0),
            }),
            label => Err(ProtocolError::UnknownLabel { label }),
        }
    }
}

/// Reads a message's words in order.
#[derive(Debug)]
pub struct Reader<'a> {
    label: u64,
    words: &'a [u64],
    taken: usize,
}

impl Reader<'_> {
    /// The next word.
    #[inline]
    pub fn word(&mut self) -> Result<u64, ProtocolError> {
        let word = self.words.get(self.taken).ok_or(ProtocolError::Length {
            label: self.label,
            found: self.words.len(),
        })?;
        self.taken += 1;
        Ok(*word)
    }

    /// The next word as a `T`, checked.
    #[inline]
    pub fn field<T: TryFrom<u64, Error = ProtocolError>>(&mut self) -> Result<T, ProtocolError> {
        T::try_from(self.word()?)
    }

    /// The next word as one of the values that `field` can have.
    pub fn code<T: TryFrom<u64>>(&mut self, field: &'static str) -> Result<T, ProtocolError> {
        let value = self.word()?;
        T::try_from(value).map_err(|_| ProtocolError::Range { field, value })
    }

    /// The next word as a number of at most 32 bits.
    #[inline]
    pub fn word32(&mut self, field: &'static str) -> Result<u32, ProtocolError> {
        let value = self.word()?;
        u32::try_from(value).map_err(|_| ProtocolError::Range { field, value })
    }

    /// The next word as a truth value: 0 or 1, nothing else.
    #[inline]
    pub fn flag(&mut self, field: &'static str) -> Result<bool, ProtocolError> {
        match self.word()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(ProtocolError::Range { field, value }),
        }
    }

    /// How many words are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.words.len() - self.taken
    }

    /// Checks that nothing is left over.
    #[inline]
    pub fn finish(self) -> Result<(), ProtocolError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(ProtocolError::Length {
                label: self.label,
                found: self.words.len(),
            })
        }
    }
}
