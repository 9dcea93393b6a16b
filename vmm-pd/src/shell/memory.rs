// SPDX-License-Identifier: BSD-2-Clause
//! The memory regions of this domain, as `system.xml` maps them.
//!
//! Responsible for: every access to memory that others share: guest RAM and the capture pages
//! with the guest, the published distributor with `vgic-pd`. Each access stays within its region;
//! nothing is assumed about what is read.

use core::arch::asm;
use core::ptr::NonNull;

/// Bytes of a cache line that every board has at least: `DC` operations step by this much.
const CACHE_LINE: usize = 64;

/// A region that somebody else may write at any time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    base: NonNull<u8>,
    length: usize,
}

impl Region {
    /// The region of `length` bytes at `base`.
    ///
    /// # Safety
    ///
    /// The region is mapped, readable, and (if any method is used that writes) writable for
    /// `length` bytes until the program ends, and no Rust reference points into it.
    pub(crate) const unsafe fn new(base: NonNull<u8>, length: usize) -> Self {
        Self { base, length }
    }

    /// Its length in bytes.
    pub(crate) const fn length(self) -> usize {
        self.length
    }

    fn at(self, offset: usize, bytes: usize) -> Option<*mut u8> {
        let end = offset.checked_add(bytes)?;
        // SAFETY: the result is within the region, or one past its end for an empty access.
        (end <= self.length).then(|| unsafe { self.base.as_ptr().add(offset) })
    }

    /// The aligned 32-bit word at `offset`.
    #[inline]
    pub(crate) fn word32(self, offset: usize) -> Option<u32> {
        let pointer = self.at(offset, 4).filter(|_| offset.is_multiple_of(4))?;
        // SAFETY: `at` has checked the range and regions are page aligned; volatile, because
        // others write.
        Some(unsafe { pointer.cast::<u32>().read_volatile() })
    }

    /// The aligned 64-bit word at `offset`.
    #[inline]
    pub(crate) fn word64(self, offset: usize) -> Option<u64> {
        let pointer = self.at(offset, 8).filter(|_| offset.is_multiple_of(8))?;
        // SAFETY: as for `word32`.
        Some(unsafe { pointer.cast::<u64>().read_volatile() })
    }

    /// Reads aligned 64-bit words from `offset` on; false, and nothing read, outside the region.
    pub(crate) fn words64(self, offset: usize, words: &mut [u64]) -> bool {
        let range = self.at(offset, size_of_val(words));
        let Some(pointer) = range.filter(|_| offset.is_multiple_of(8)) else {
            return false;
        };
        for (place, word) in words.iter_mut().enumerate() {
            // SAFETY: as for `word32`; `at` has checked the range of all words.
            *word = unsafe { pointer.cast::<u64>().add(place).read_volatile() };
        }
        true
    }

    /// Writes aligned 64-bit words from `offset` on; false, and nothing written, outside the region.
    pub(crate) fn set_words64(self, offset: usize, words: &[u64]) -> bool {
        let range = self.at(offset, size_of_val(words));
        let Some(pointer) = range.filter(|_| offset.is_multiple_of(8)) else {
            return false;
        };
        for (place, word) in words.iter().enumerate() {
            // SAFETY: as for `words64`, and the caller of `new` vouched for writing.
            unsafe { pointer.cast::<u64>().add(place).write_volatile(*word) };
        }
        true
    }

    /// Copies `bytes` to `offset`; false, and nothing written, if they do not fit.
    pub(crate) fn put(self, offset: usize, bytes: &[u8]) -> bool {
        let Some(pointer) = self.at(offset, bytes.len()) else {
            return false;
        };
        // SAFETY: `at` has checked the range; `bytes` is ours and cannot overlap the region, into
        // which no reference points.
        unsafe { pointer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        true
    }

    /// Copies `bytes` bytes of another region, from `at` on, to `offset`; false, and nothing written, if either has
    /// fewer.
    pub(crate) fn copy(self, offset: usize, from: Self, at: usize, bytes: usize) -> bool {
        let (Some(to), Some(from)) = (self.at(offset, bytes), from.at(at, bytes)) else {
            return false;
        };
        // SAFETY: `at` has checked both ranges; regions do not overlap, and no reference points into them. Nothing
        // depends on what is read, so that it does not matter if a peer domain writes it meanwhile.
        unsafe { to.copy_from_nonoverlapping(from, bytes) };
        true
    }

    /// Copies from `offset` into `bytes`; false, and nothing read, outside the region.
    pub(crate) fn get(self, offset: usize, bytes: &mut [u8]) -> bool {
        let Some(pointer) = self.at(offset, bytes.len()) else {
            return false;
        };
        for (place, byte) in bytes.iter_mut().enumerate() {
            // SAFETY: `at` has checked the range. Volatile, because a peer domain may write meanwhile:
            // each byte is read once, so what is checked after the copy is what is used. Of a plain
            // copy the compiler may keep no more than where it came from.
            *byte = unsafe { pointer.add(place).read_volatile() };
        }
        true
    }

    /// The whole region, to be written by us alone.
    ///
    /// # Safety
    ///
    /// Nobody else writes the region, and no other reference into it is alive.
    pub(crate) unsafe fn owned<'a>(self) -> &'a mut [u8] {
        // SAFETY: mapped for `length` bytes; exclusive by the caller's word.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.length) }
    }

    /// The whole region becomes all zero, for those too who run with their caches off.
    pub(crate) fn clear(self) {
        // SAFETY: mapped for `length` bytes, writable, and named by no reference.
        unsafe { self.base.as_ptr().write_bytes(0, self.length) };
        self.clean(0, self.length);
    }

    /// Writes back and drops what caches hold of a range, so that a vCPU that runs with its caches
    /// off sees it, and we see what that one wrote.
    pub(crate) fn clean(self, offset: usize, bytes: usize) {
        if self.at(offset, bytes).is_none() {
            return;
        }
        let start = self.base.as_ptr().addr() + offset;
        let lines = (start & !(CACHE_LINE - 1)..start + bytes).step_by(CACHE_LINE);
        for line in lines {
            // SAFETY: cache maintenance by address does not change memory's contents.
            unsafe { asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    }
}
