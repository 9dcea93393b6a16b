// SPDX-License-Identifier: BSD-2-Clause
//! Payloads of earlier versions, read and compared as if what later versions added at the end followed as zeros.
//!
//! Responsible for: the zeros, without a copy of the payload. Never: knows what they mean
//! ([`Record::upgrade`](crate::record::Record::upgrade) does).

use postcard::{Error, de_flavors, ser_flavors};

/// A payload and the zeros behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Padded<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) zeros: usize,
}

impl Padded<'_> {
    /// How many bytes are left.
    pub(crate) const fn left(&self) -> usize {
        self.payload.len() + self.zeros
    }

    fn next(&mut self) -> Option<u8> {
        if let Some((first, rest)) = self.payload.split_first() {
            self.payload = rest;
            return Some(*first);
        }
        self.zeros = self.zeros.checked_sub(1)?;
        Some(0)
    }
}

/// The source of a record's bytes.
impl<'de> de_flavors::Flavor<'de> for Padded<'de> {
    type Remainder = Self;
    type Source = Self;

    fn pop(&mut self) -> postcard::Result<u8> {
        self.next().ok_or(Error::DeserializeUnexpectedEnd)
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        let (taken, rest) = self
            .payload
            .split_at_checked(count)
            .ok_or(Error::DeserializeUnexpectedEnd)?;
        self.payload = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<Self> {
        Ok(self)
    }
}

/// Takes an encoding in place of a buffer, and compares it with the bytes that should come.
impl ser_flavors::Flavor for Padded<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        match self.next() {
            Some(expected) if expected == byte => Ok(()),
            _ => Err(Error::SerializeBufferFull),
        }
    }

    fn finalize(self) -> postcard::Result<()> {
        match self.left() {
            0 => Ok(()),
            _ => Err(Error::SerializeBufferFull),
        }
    }
}
