// SPDX-License-Identifier: BSD-2-Clause
//! Canonical postcard: one value, one encoding.
//!
//! Responsible for: turning messages into bytes and back. Must never: accept bytes that it would
//! not have written itself. `postcard` alone ignores trailing bytes and takes overlong integers,
//! so what was decoded is encoded again and compared, byte by byte and without a buffer.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why bytes are not a message, or a message did not become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// Not an encoding of this message.
    #[error("the payload of message {kind:#04x} is malformed")]
    Malformed {
        /// The frame's kind.
        kind: u8,
    },
    /// Decodes, but is not the encoding that we would have written.
    #[error("the payload of message {kind:#04x} is not canonical")]
    NotCanonical {
        /// The frame's kind.
        kind: u8,
    },
    /// Bytes follow the message.
    #[error("{excess} bytes too many in message {kind:#04x}")]
    Trailing {
        /// The frame's kind.
        kind: u8,
        /// How many bytes follow.
        excess: usize,
    },
    /// The kind names no message of this direction.
    #[error("unknown message {kind:#04x}")]
    UnknownKind {
        /// The frame's kind.
        kind: u8,
    },
    /// The message does not fit into the room given.
    #[error("message {kind:#04x} does not fit into {room} bytes")]
    TooLong {
        /// The frame's kind.
        kind: u8,
        /// The room given, in bytes.
        room: usize,
    },
}

/// Writes `value` to the start of `out`; returns its length.
///
/// # Errors
///
/// [`WireError::TooLong`].
pub fn encode<T: Serialize>(kind: u8, value: &T, out: &mut [u8]) -> Result<usize, WireError> {
    let room = out.len();
    postcard::to_slice(value, out)
        .map(|written| written.len())
        .map_err(|_| WireError::TooLong { kind, room })
}

/// Writes `value` and then `body`; returns the length of both.
///
/// # Errors
///
/// [`WireError::TooLong`].
pub fn encode_with_body<T: Serialize>(
    kind: u8,
    value: &T,
    body: &[u8],
    out: &mut [u8],
) -> Result<usize, WireError> {
    let room = out.len();
    let length = encode(kind, value, out)?;
    out.get_mut(length..length + body.len())
        .ok_or(WireError::TooLong { kind, room })?
        .copy_from_slice(body);
    Ok(length + body.len())
}

/// The value that `bytes` are the encoding of.
///
/// # Errors
///
/// [`WireError::Malformed`], [`WireError::NotCanonical`] and [`WireError::Trailing`].
pub fn decode<'a, T>(kind: u8, bytes: &'a [u8]) -> Result<T, WireError>
where
    T: Serialize + Deserialize<'a>,
{
    let (value, rest) = decode_with_body(kind, bytes)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(WireError::Trailing {
            kind,
            excess: rest.len(),
        })
    }
}

/// The value that `bytes` begin with, and what follows it.
///
/// # Errors
///
/// [`WireError::Malformed`] and [`WireError::NotCanonical`].
pub fn decode_with_body<'a, T>(kind: u8, bytes: &'a [u8]) -> Result<(T, &'a [u8]), WireError>
where
    T: Serialize + Deserialize<'a>,
{
    let (value, rest) =
        postcard::take_from_bytes::<T>(bytes).map_err(|_| WireError::Malformed { kind })?;
    let used = bytes.len().saturating_sub(rest.len());
    let comparison = Comparison {
        expected: bytes.get(..used).unwrap_or(bytes),
    };
    postcard::serialize_with_flavor(&value, comparison)
        .map_err(|_| WireError::NotCanonical { kind })?;
    Ok((value, rest))
}

/// A serialisation that goes nowhere and fails at the first byte that differs from the expected.
struct Comparison<'a> {
    expected: &'a [u8],
}

impl Flavor for Comparison<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        match self.expected.split_first() {
            Some((first, rest)) if *first == byte => {
                self.expected = rest;
                Ok(())
            }
            _ => Err(postcard::Error::SerializeBufferFull),
        }
    }

    fn finalize(self) -> postcard::Result<()> {
        if self.expected.is_empty() {
            Ok(())
        } else {
            Err(postcard::Error::SerializeBufferFull)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlong_integers_are_refused() {
        assert_eq!(postcard::from_bytes::<u16>(&[0x81, 0x00]), Ok(1));
        assert_eq!(
            decode::<u16>(7, &[0x81, 0x00]),
            Err(WireError::NotCanonical { kind: 7 })
        );
        assert_eq!(decode::<u16>(7, &[0x01]), Ok(1));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(
            decode::<u16>(7, &[0x01, 0x00]),
            Err(WireError::Trailing { kind: 7, excess: 1 })
        );
    }

    #[test]
    fn a_body_follows_its_value() {
        let mut out = [0; 8];
        let length = encode_with_body(7, &300_u16, b"body", &mut out);
        assert_eq!(length, Ok(6));
        assert_eq!(
            decode_with_body::<u16>(7, &out[..6]),
            Ok((300, &b"body"[..]))
        );
        assert_eq!(
            encode_with_body(7, &300_u16, b"a longer body", &mut out),
            Err(WireError::TooLong { kind: 7, room: 8 })
        );
    }
}
