// SPDX-License-Identifier: BSD-2-Clause
//! Segments to and from the line's bytes.
//!
//! Responsible for: finding segments between zeros, and giving out an encoded one piece by piece.

use crate::segment::{ENCODED, Segment};

/// What arrives.
#[derive(Debug)]
pub(crate) struct Inbox {
    line: [u8; ENCODED],
    length: usize,
    /// Too much came without a zero: ignored up to the next.
    overlong: bool,
}

impl Inbox {
    pub(crate) const fn new() -> Self {
        Self {
            line: [0; ENCODED],
            length: 0,
            overlong: false,
        }
    }

    /// Takes a byte from the line; true if a segment may be complete.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        match self.line.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.overlong = true,
        }
        byte == 0
    }

    /// What came up to a zero, if that is a segment.
    pub(crate) fn segment(&mut self) -> Option<(Segment, &[u8])> {
        let (length, overlong) = (self.length, self.overlong);
        (self.length, self.overlong) = (0, false);
        let line = self.line.get_mut(..length).filter(|_| !overlong)?;
        Segment::decode(line)
    }
}

/// What leaves: one segment at a time.
#[derive(Debug)]
pub(crate) struct Outbox {
    line: [u8; ENCODED],
    waiting: core::ops::Range<usize>,
}

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            line: [0; ENCODED],
            waiting: 0..0,
        }
    }

    /// Nothing but a zero, which ends what somebody else may have left unfinished.
    pub(crate) const fn beginning() -> Self {
        Self {
            line: [0; ENCODED],
            waiting: 0..1,
        }
    }

    /// Whether all of the last segment has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next segment. The last one has left.
    pub(crate) fn put(&mut self, segment: &Segment, payload: &[u8]) {
        self.waiting = 0..segment.encode(payload, &mut self.line);
    }

    /// What has not left yet.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.line.get(self.waiting.clone()).unwrap_or_default()
    }

    /// So many bytes have left.
    pub(crate) fn sent(&mut self, count: usize) {
        self.waiting.start = (self.waiting.start + count).min(self.waiting.end);
    }
}
