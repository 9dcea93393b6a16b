// SPDX-License-Identifier: BSD-2-Clause
//! A position in a ring.
//!
//! Responsible for: turning counts of bytes into places within a region. Must never: yield a
//! place outside the region's data, whatever it is asked.

use super::{HEADER_LENGTH, Header, RingError, Span};
use core::ptr::NonNull;

/// A position in a region's data: a count of bytes, and where that is.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) count: u64,
    /// `count` modulo `capacity`.
    pub(super) index: usize,
    pub(super) capacity: usize,
}

impl Cursor {
    pub(super) fn new(region: NonNull<u8>, length: usize) -> Result<Self, RingError> {
        let capacity = length.saturating_sub(HEADER_LENGTH);
        if capacity == 0
            || isize::try_from(length).is_err()
            || !region.cast::<Header>().is_aligned()
        {
            return Err(RingError::Region {
                address: region.addr().get(),
                length,
            });
        }
        Ok(Self {
            count: 0,
            index: 0,
            capacity,
        })
    }

    /// `by` is at most the capacity.
    pub(super) fn advance(&mut self, by: usize) {
        self.count += widen(by);
        self.index = self.index_after(by);
    }

    fn index_after(&self, by: usize) -> usize {
        let index = self.index + by;
        if index < self.capacity {
            index
        } else {
            index - self.capacity
        }
    }

    /// Where the `count` bytes after the next `skip` lie; `skip + count` is at most the capacity.
    pub(super) fn spans(&self, skip: usize, count: usize) -> [Span; 2] {
        let index = self.index_after(skip);
        let first = count.min(self.capacity - index);
        [
            Span {
                offset: HEADER_LENGTH + index,
                length: first,
            },
            Span {
                offset: HEADER_LENGTH,
                length: count - first,
            },
        ]
    }
}

/// A length as a count.
pub(super) const fn widen(length: usize) -> u64 {
    length as u64
}

/// The difference of two counts that are no further apart than a ring is long.
#[expect(clippy::cast_possible_truncation, reason = "at most a capacity")]
pub(super) const fn narrow(distance: u64) -> usize {
    distance as usize
}
