// SPDX-License-Identifier: BSD-2-Clause
//! Reading bytes that another domain may be writing.
//!
//! Responsible for: one copy, each byte read once. Must never: create a reference to memory that
//! a peer domain writes.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Copies out of memory that another domain may be writing: every byte is read exactly once, by
/// relaxed atomic loads, so that there is no data race to be undefined, only stale bytes.
///
/// # Safety
///
/// `source` is valid for reads of `destination.len()` bytes, and nothing but the peer domain
/// writes them.
pub(super) unsafe fn copy_from_peer_domain(source: *const u8, destination: &mut [u8]) {
    let lead = source.align_offset(align_of::<AtomicU64>());
    let (head, body) = destination.split_at_mut(lead.min(destination.len()));
    let (blocks, tail) = body.as_chunks_mut::<32>();
    let mut source = source;
    for byte in head {
        // SAFETY: within the source, as each turn moves one byte on both sides.
        source = unsafe { load_byte(source, byte) };
    }
    for block in blocks {
        let (words, _) = block.as_chunks_mut::<8>();
        for word in words {
            // SAFETY: within the source, and aligned since `head` went up to an aligned address.
            unsafe {
                *word = (*source.cast::<AtomicU64>())
                    .load(Ordering::Relaxed)
                    .to_ne_bytes();
                source = source.add(size_of::<u64>());
            }
        }
    }
    for byte in tail {
        // SAFETY: within the source, as each turn moves one byte on both sides.
        source = unsafe { load_byte(source, byte) };
    }
}

/// Reads one shared byte; returns where the next one is.
///
/// # Safety
///
/// `source` is valid for reads of one byte.
unsafe fn load_byte(source: *const u8, byte: &mut u8) -> *const u8 {
    // SAFETY: the caller's promise; one past it is still within or just behind the region.
    unsafe {
        *byte = (*source.cast::<AtomicU8>()).load(Ordering::Relaxed);
        source.add(1)
    }
}
