// SPDX-License-Identifier: BSD-2-Clause
//! A segment: what one end says to the other at a time, and its encoding.
//!
//! Responsible for: the bytes of a segment, and that a damaged one is not taken for another. Must
//! never: know what segments mean to either end.
//!
//! The encoding is header, payload and CRC-32 (ISO-HDLC) of both, little-endian, with consistent
//! overhead byte stuffing (Cheshire and Baker, 1999) and a zero at the end: after damage, the next
//! zero is where a segment begins.

use crc::{CRC_32_ISO_HDLC, Crc};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The most bytes of a stream in one segment.
pub const PAYLOAD: usize = 512;
/// The most bytes of a segment before it is stuffed.
const PLAIN: usize = size_of::<Header>() + PAYLOAD + CHECK;
/// The most bytes of a segment on the line, its zero included.
pub(crate) const ENCODED: usize = corncobs::max_encoded_len(PLAIN);
/// Bytes of the CRC.
const CHECK: usize = 4;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What a segment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The host begins a session.
    Reset = 1,
    /// A piece of a stream.
    Data = 2,
    /// The host wants an answer.
    Poll = 3,
    /// The host wants an answer, and everything from `expected` on again.
    Resend = 4,
    /// The board's answer to a reset or a poll.
    Answer = 5,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Reset,
        Self::Data,
        Self::Poll,
        Self::Resend,
        Self::Answer,
    ];
}

/// A segment without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) kind: Kind,
    /// Which session it belongs to.
    pub(crate) session: u32,
    /// The number of data in its stream; of a reset or poll, and of the answer to it.
    pub(crate) number: u16,
    /// Of the sender's stream, the number that comes next on the line.
    pub(crate) next: u16,
    /// Of the receiver's stream, the number that the sender has not got yet.
    pub(crate) expected: u16,
    /// How many segments from there on the sender has room for.
    pub(crate) room: u8,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Header {
    kind: u8,
    room: u8,
    session: U32,
    number: U16,
    next: U16,
    expected: U16,
}

impl Segment {
    /// Writes the segment as it goes over the line; returns its length. A payload that is longer
    /// than [`PAYLOAD`] is cut.
    pub(crate) fn encode(&self, payload: &[u8], line: &mut [u8; ENCODED]) -> usize {
        let header = Header {
            kind: self.kind as u8,
            room: self.room,
            session: U32::new(self.session),
            number: U16::new(self.number),
            next: U16::new(self.next),
            expected: U16::new(self.expected),
        };
        let mut plain = [0; PLAIN];
        let mut length = 0;
        let mut put = |bytes: &[u8], plain: &mut [u8]| {
            for (place, byte) in plain.iter_mut().skip(length).zip(bytes) {
                *place = *byte;
                length += 1;
            }
        };
        put(header.as_bytes(), &mut plain);
        put(payload.get(..PAYLOAD).unwrap_or(payload), &mut plain);
        let end = size_of::<Header>() + payload.len().min(PAYLOAD);
        let check = CRC.checksum(plain.get(..end).unwrap_or_default());
        put(&check.to_le_bytes(), &mut plain);
        corncobs::encode_buf(plain.get(..length).unwrap_or_default(), line)
    }

    /// The segment that `line` is, its zero included, and its payload; none if it is damaged.
    pub(crate) fn decode(line: &mut [u8]) -> Option<(Self, &[u8])> {
        let length = corncobs::decode_in_place(line).ok()?;
        let plain = line.get(..length)?;
        let (plain, check) = plain.split_last_chunk::<CHECK>()?;
        if CRC.checksum(plain) != u32::from_le_bytes(*check) {
            return None;
        }
        let (header, payload) = Header::read_from_prefix(plain).ok()?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| *kind as u8 == header.kind)?;
        let segment = Self {
            kind,
            session: header.session.get(),
            number: header.number.get(),
            next: header.next.get(),
            expected: header.expected.get(),
            room: header.room,
        };
        (payload.len() <= PAYLOAD).then_some((segment, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEGMENT: Segment = Segment {
        kind: Kind::Answer,
        session: 0x1234_5600,
        number: 0xff00,
        next: 1,
        expected: 0,
        room: 16,
    };

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(payload in prop::collection::vec(any::<u8>(), 0..=PAYLOAD)) {
            let mut line = [0; ENCODED];
            let length = SEGMENT.encode(&payload, &mut line);
            let (zero, rest) = line[..length].split_last().unwrap();
            prop_assert_eq!(*zero, 0);
            prop_assert!(rest.iter().all(|byte| *byte != 0), "a zero only at the end");
            prop_assert_eq!(Segment::decode(&mut line[..length]), Some((SEGMENT, &payload[..])));
        }

        #[test]
        fn a_flipped_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut line = [0; ENCODED];
            let length = SEGMENT.encode(b"payload", &mut line);
            line[at.index(length)] ^= 1_u8 << bit;
            prop_assert_eq!(Segment::decode(&mut line[..length]), None);
        }

        #[test]
        fn garbage_is_no_panic(mut line in prop::collection::vec(any::<u8>(), 0..700)) {
            let _ = Segment::decode(&mut line);
        }
    }

    #[test]
    fn too_long_a_payload_is_cut() {
        let mut line = [0; ENCODED];
        let length = SEGMENT.encode(&[7; PAYLOAD + 9], &mut line);
        let (_, payload) = Segment::decode(&mut line[..length]).unwrap();
        assert_eq!(payload, [7; PAYLOAD]);
    }
}
