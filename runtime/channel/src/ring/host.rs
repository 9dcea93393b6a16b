// SPDX-License-Identifier: BSD-2-Clause
//! Two domains in one program, for tests on the host.

extern crate std;

use super::{Duplex, HEADER_LENGTH, RingError};
use core::ptr::NonNull;
use std::alloc::{Layout, alloc_zeroed};

/// Both sides of a pair of regions whose data areas have these lengths: what the first side sends,
/// and what the second sends. The memory is never freed.
///
/// # Errors
///
/// [`RingError::Region`] for a length of 0, or when there is no memory.
pub fn pair(first: usize, second: usize) -> Result<(Duplex, Duplex), RingError> {
    let (left, left_length) = region(first)?;
    let (right, right_length) = region(second)?;
    // SAFETY: both regions live for ever, are used here alone, and each is written by one side.
    unsafe {
        Ok((
            Duplex::new(left, left_length, right, right_length)?,
            Duplex::new(right, right_length, left, left_length)?,
        ))
    }
}

fn region(capacity: usize) -> Result<(NonNull<u8>, usize), RingError> {
    let length = HEADER_LENGTH.saturating_add(capacity);
    let refused = RingError::Region { address: 0, length };
    let layout = Layout::from_size_align(length, HEADER_LENGTH).map_err(|_| refused)?;
    // SAFETY: a header is more than nothing.
    let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(refused)?;
    Ok((start, length))
}

impl super::Producer {
    /// Claims to have sent `produced` bytes since the start, as a hostile domain may.
    pub fn lie(&mut self, produced: u64) {
        super::header(&self.own)
            .produced
            .store(produced, core::sync::atomic::Ordering::Release);
    }
}

impl super::Consumer {
    /// Where the peer domain's region lies, for a fake device that reads it.
    pub fn region_address(&self) -> u64 {
        self.region.addr().get() as u64
    }
}
