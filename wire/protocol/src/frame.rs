// SPDX-License-Identifier: BSD-2-Clause
//! Frames: how messages lie in a stream of bytes.
//!
//! Responsible for: cutting a byte stream into messages, and finding the next one after anything
//! that is none of ours: the second half of a frame whose sender died, bytes lost on the way, noise. Must
//! never: believe a length before the header's own check, or look for frames *inside* the payload
//! of a damaged one, since a payload holds what a guest wrote into its memory.
//!
//! # Layout, little-endian
//!
//! | bytes | field |
//! |---|---|
//! | 0–3 | magic `C7 'G' 'D' 'W'` |
//! | 4 | protocol version |
//! | 5 | kind |
//! | 6–7 | flags; none are defined, so 0 |
//! | 8–11 | tag: a request's, echoed by its answer; otherwise free |
//! | 12–15 | length of the payload, at most [`MAX_PAYLOAD`] |
//! | 16–19 | the payload's [`checksum`] |
//! | 20–23 | CRC-32/ISO-HDLC of bytes 0–19 |

use crate::fingerprint::checksum;
use crc::{CRC_32_ISO_HDLC, Crc};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a frame before its payload.
pub const HEADER_LENGTH: usize = size_of::<RawHeader>();
/// The longest payload: fifteen whole pages with their page numbers, and some room.
pub const MAX_PAYLOAD: usize = MAX_FRAME - HEADER_LENGTH;
/// The longest frame.
pub const MAX_FRAME: usize = line::LONGEST_MESSAGE;
/// What whoever connects to a board sends first, unless over a line: it completes the frame in which a predecessor may
/// have died, which then does not match its check. A relay that passes on frames only has to send it itself.
pub static RESYNC: [u8; MAX_FRAME] = [0; MAX_FRAME];

/// A byte that neither starts a UTF-8 character nor is common in memory, and a name.
const MAGIC: [u8; 4] = [0xc7, b'G', b'D', b'W'];
const HEADER_CHECK: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 4],
    version: u8,
    kind: u8,
    flags: U16,
    tag: U32,
    length: U32,
    payload_check: U32,
    header_check: U32,
}

/// A frame as received, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which message; see [`kind`](super::kind).
    pub kind: u8,
    /// A request's tag, echoed by its answer.
    pub tag: u32,
    /// The message's encoding.
    pub payload: &'a [u8],
    /// The whole frame, to be passed on as it came.
    pub bytes: &'a [u8],
}

impl RawHeader {
    fn check(&self) -> u32 {
        let bytes = self.as_bytes();
        HEADER_CHECK.checksum(bytes.get(..HEADER_LENGTH - 4).unwrap_or(bytes))
    }

    /// The header that `bytes` begin with, if it is one of this version.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (header, _) = Self::read_from_prefix(bytes).ok()?;
        let length = usize::try_from(header.length.get()).ok()?;
        let valid = header.is_one()
            && header.version == super::VERSION
            && header.flags.get() == 0
            && length <= MAX_PAYLOAD;
        valid.then_some((header, length))
    }

    /// The version that a header is of, whichever that is: what names it, and where, is the same in all.
    fn version(bytes: &[u8]) -> Option<u8> {
        let (header, _) = Self::read_from_prefix(bytes).ok()?;
        header.is_one().then_some(header.version)
    }

    fn is_one(&self) -> bool {
        self.magic == MAGIC && self.header_check.get() == self.check()
    }
}

/// Completes the frame whose payload of `length` bytes lies in `frame` behind the header's place:
/// writes the header, returns the whole frame's length. None if there is no such payload.
#[must_use]
pub fn finish(frame: &mut [u8], kind: u8, tag: u32, length: usize) -> Option<usize> {
    finish_in(super::VERSION, frame, kind, tag, length)
}

/// The same in another version of the protocol, to find out who speaks it.
#[must_use]
pub fn finish_in(
    version: u8,
    frame: &mut [u8],
    kind: u8,
    tag: u32,
    length: usize,
) -> Option<usize> {
    let (space, payload) = frame.split_at_mut_checked(HEADER_LENGTH)?;
    let payload = payload.get(..length)?;
    let mut header = RawHeader {
        magic: MAGIC,
        version,
        kind,
        flags: U16::ZERO,
        tag: U32::new(tag),
        length: U32::new(
            u32::try_from(length)
                .ok()
                .filter(|_| length <= MAX_PAYLOAD)?,
        ),
        payload_check: U32::new(checksum(payload)),
        header_check: U32::ZERO,
    };
    header.header_check = U32::new(header.check());
    header.write_to(space).ok()?;
    Some(HEADER_LENGTH + length)
}

/// Finds frames in a stream of bytes.
///
/// Fill [`space`](Self::space), say how much with [`filled`](Self::filled), and take what
/// [`next`](Self::next) gives until it gives nothing. Never holds more than one frame and never
/// asks for bytes beyond the one it is working on, so it moves bytes only after garbage.
#[derive(Debug)]
pub struct Decoder<B> {
    buffer: B,
    held: usize,
    /// The frame at the buffer's start was given out and is to be dropped.
    delivered: bool,
    skipped: u64,
    damaged: u64,
    other_version: Option<u8>,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Decoder<B> {
    /// A decoder that works in `buffer`. Frames longer than that are taken for garbage; of
    /// [`MAX_FRAME`] bytes it takes all.
    pub const fn new(buffer: B) -> Self {
        Self {
            buffer,
            held: 0,
            delivered: false,
            skipped: 0,
            damaged: 0,
            other_version: None,
        }
    }

    /// Where the next bytes of the stream belong: never empty unless a frame is ready.
    pub fn space(&mut self) -> &mut [u8] {
        self.drop_delivered();
        let wanted = self.frame_length().unwrap_or(HEADER_LENGTH);
        self.buffer
            .as_mut()
            .get_mut(self.held..wanted)
            .unwrap_or_default()
    }

    /// Says that `count` bytes were put into [`Self::space`].
    pub fn filled(&mut self, count: usize) {
        self.held = (self.held + count).min(self.buffer.as_ref().len());
    }

    /// The next frame, if it is complete.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives borrows from it, which an iterator's items cannot"
    )]
    pub fn next(&mut self) -> Option<Frame<'_>> {
        self.drop_delivered();
        let (header, length) = loop {
            if self.held < HEADER_LENGTH {
                return None;
            }
            let Some((header, length)) = self.header() else {
                self.note_version();
                self.skip_to_candidate();
                continue;
            };
            if self.held < HEADER_LENGTH + length {
                return None;
            }
            if checksum(self.payload(length)) == header.payload_check.get() {
                break (header, length);
            }
            self.damaged += 1;
            self.drop_front(HEADER_LENGTH + length);
        };
        self.delivered = true;
        Some(Frame {
            kind: header.kind,
            tag: header.tag.get(),
            payload: self.payload(length),
            bytes: self
                .bytes()
                .get(..HEADER_LENGTH + length)
                .unwrap_or_default(),
        })
    }

    /// Whether part of a frame is here and the rest is not.
    pub fn is_partial(&self) -> bool {
        self.held > 0 && !self.delivered
    }

    /// The rest will not come: drops the part that is here. What follows is taken afresh.
    pub fn give_up(&mut self) {
        self.skipped += self.held as u64;
        self.held = 0;
        self.delivered = false;
    }

    /// Bytes that belonged to no frame.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Frames whose payload did not match its check.
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Another version of the protocol, of which a frame came last. Its frames are garbage, but say who is there.
    pub const fn other_version(&self) -> Option<u8> {
        self.other_version
    }

    fn note_version(&mut self) {
        let other = RawHeader::version(self.bytes()).filter(|it| *it != super::VERSION);
        self.other_version = other.or(self.other_version);
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().get(..self.held).unwrap_or_default()
    }

    fn payload(&self, length: usize) -> &[u8] {
        self.bytes()
            .get(HEADER_LENGTH..HEADER_LENGTH + length)
            .unwrap_or_default()
    }

    fn header(&self) -> Option<(RawHeader, usize)> {
        RawHeader::read(self.bytes())
            .filter(|(_, length)| HEADER_LENGTH + length <= self.buffer.as_ref().len())
    }

    fn frame_length(&self) -> Option<usize> {
        self.header().map(|(_, length)| HEADER_LENGTH + length)
    }

    fn drop_delivered(&mut self) {
        if core::mem::take(&mut self.delivered) {
            let length = self.frame_length().unwrap_or(self.held);
            self.drop_front(length);
        }
    }

    /// Drops bytes from the front up to the next that may start a header.
    fn skip_to_candidate(&mut self) {
        let bytes = self.bytes();
        let skip = (1..bytes.len())
            .find(|start| {
                let rest = bytes.get(*start..).unwrap_or_default();
                rest.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic)
            })
            .unwrap_or(bytes.len());
        self.skipped += skip as u64;
        self.drop_front(skip);
    }

    fn drop_front(&mut self, count: usize) {
        let count = count.min(self.held);
        self.buffer.as_mut().copy_within(count..self.held, 0);
        self.held -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, tag: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LENGTH];
        bytes.extend_from_slice(payload);
        assert!(finish(&mut bytes, kind, tag, payload.len()).is_some());
        bytes
    }

    type Received = Vec<(u8, u32, Vec<u8>)>;

    /// Feeds a stream in pieces of `step` bytes at most.
    fn feed(decoder: &mut Decoder<Vec<u8>>, stream: &[u8], step: usize) -> Received {
        let mut rest = stream;
        let mut received = Received::new();
        while !rest.is_empty() {
            let space = decoder.space();
            assert!(!space.is_empty());
            let count = space.len().min(rest.len()).min(step);
            space[..count].copy_from_slice(&rest[..count]);
            decoder.filled(count);
            rest = &rest[count..];
            while let Some(frame) = decoder.next() {
                assert_eq!(&frame.bytes[HEADER_LENGTH..], frame.payload);
                received.push((frame.kind, frame.tag, frame.payload.to_vec()));
            }
        }
        received
    }

    fn decoder() -> Decoder<Vec<u8>> {
        Decoder::new(vec![0; MAX_FRAME])
    }

    #[test]
    fn the_layout_is_fixed() {
        assert_eq!(
            frame(0x49, 0x0102_0304, &[1, 2, 3]),
            [
                0xc7, 0x47, 0x44, 0x57, 4, 0x49, 0, 0, 4, 3, 2, 1, 3, 0, 0, 0, 177, 94, 249, 99,
                198, 99, 122, 209, 1, 2, 3
            ]
        );
    }

    #[test]
    fn a_frame_cut_short_is_given_up_and_the_next_one_found() {
        let mut decoder = decoder();
        let first = frame(1, 1, &[7; 1000]);
        assert!(feed(&mut decoder, &first[..700], 64).is_empty());
        assert!(decoder.is_partial());
        decoder.give_up();
        assert!(!decoder.is_partial());
        let second = feed(&mut decoder, &frame(2, 2, b"hello"), 64);
        assert_eq!(second, [(2, 2, b"hello".to_vec())]);
        assert_eq!(decoder.skipped(), 700);
    }

    #[test]
    fn a_frame_cut_short_anywhere_ends_in_as_many_zeros_as_the_longest_frame() {
        let first = frame(1, 1, &[0xc7; MAX_PAYLOAD]);
        let mut rest = vec![0; MAX_FRAME];
        rest.extend_from_slice(&frame(2, 2, b"hello"));
        for cut in (0..64).chain([1000, MAX_FRAME - 1]) {
            let mut decoder = decoder();
            assert!(feed(&mut decoder, &first[..cut], MAX_FRAME).is_empty());
            let second = feed(&mut decoder, &rest, MAX_FRAME);
            assert_eq!(second, [(2, 2, b"hello".to_vec())], "cut after {cut} bytes");
        }
    }

    #[test]
    fn a_frame_inside_a_damaged_payload_is_not_taken() {
        let inner = frame(0x07, 0, &[]);
        let mut outer = frame(0x44, 0, &inner);
        let last = outer.len() - 1;
        outer[last] ^= 1;
        let mut decoder = decoder();
        assert!(feed(&mut decoder, &outer, 5).is_empty());
        assert_eq!(decoder.damaged(), 1);
        assert_eq!(feed(&mut decoder, &frame(2, 0, b"next"), 5).len(), 1);
    }

    #[test]
    fn a_frame_too_long_for_the_buffer_is_garbage() {
        let mut decoder = Decoder::new(vec![0; 100]);
        let mut stream = frame(1, 0, &[0; 77]);
        stream.extend(frame(2, 0, &[0; 76]));
        assert_eq!(feed(&mut decoder, &stream, 100).len(), 1);
    }

    #[test]
    fn a_frame_of_another_version_is_garbage_and_says_which() {
        let mut other = frame(1, 7, b"hello");
        let mut decoder = decoder();
        assert!(feed(&mut decoder, &[&[0; 99], &other[..20]].concat(), 5).is_empty());
        assert_eq!(feed(&mut decoder, &frame(2, 0, b"ours"), 5).len(), 1);
        assert_eq!(decoder.other_version(), None);
        assert!(finish_in(1, &mut other, 1, 7, 5).is_some());
        other[9] ^= 1;
        assert!(feed(&mut decoder, &other, 5).is_empty());
        assert_eq!(decoder.other_version(), None, "its header is damaged");
        other[9] ^= 1;
        assert!(feed(&mut decoder, &other, 5).is_empty());
        assert_eq!(decoder.other_version(), Some(1));
        assert_eq!(feed(&mut decoder, &frame(2, 0, b"ours"), 5).len(), 1);
        assert_eq!(decoder.other_version(), Some(1));
    }

    #[test]
    fn a_payload_over_the_limit_is_refused() {
        let mut bytes = vec![0; MAX_FRAME + 1];
        assert_eq!(finish(&mut bytes, 1, 0, MAX_PAYLOAD + 1), None);
        assert_eq!(finish(&mut bytes, 1, 0, MAX_PAYLOAD), Some(MAX_FRAME));
        assert_eq!(finish(&mut bytes[..30], 1, 0, 7), None);
    }

    proptest! {
        #[test]
        fn frames_arrive_whole_however_the_stream_is_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
            step in 1_usize..400,
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| frame(3, 9, payload)).collect();
            let received = feed(&mut decoder(), &stream, step);
            let expected: Received = payloads.into_iter().map(|payload| (3, 9, payload)).collect();
            prop_assert_eq!(received, expected);
        }

        #[test]
        fn arbitrary_bytes_neither_panic_nor_hide_the_next_frame(
            garbage in prop::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(MAGIC.to_vec())], 0..400),
            step in 1_usize..100,
        ) {
            let mut decoder = decoder();
            feed(&mut decoder, &garbage, step);
            let received = feed(&mut decoder, &frame(5, 6, b"after"), step);
            prop_assert_eq!(received, vec![(5, 6, b"after".to_vec())]);
        }

        #[test]
        fn a_flipped_bit_never_passes(payload in prop::collection::vec(any::<u8>(), 0..200),
                                      bit in any::<prop::sample::Index>()) {
            let mut bytes = frame(5, 6, &payload);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let received = feed(&mut decoder(), &bytes, 50);
            prop_assert_eq!(received, vec![]);
        }
    }
}
