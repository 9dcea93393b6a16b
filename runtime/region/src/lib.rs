// SPDX-License-Identifier: BSD-2-Clause
//! A memory region of a domain that somebody else may read or write at any time.
//!
//! Responsible for: every access to memory that domains share with each other and with a guest. Each access stays within
//! its region; nothing is assumed about what is read. Must never: make a reference into memory that others write.
#![cfg_attr(not(test), no_std)]

use core::ptr::NonNull;

/// A region that somebody else may write at any time.
#[derive(Debug, Clone, Copy)]
pub struct Region {
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
    pub const unsafe fn new(base: NonNull<u8>, length: usize) -> Self {
        Self { base, length }
    }

    /// Its length in bytes.
    pub const fn length(self) -> usize {
        self.length
    }

    fn at(self, offset: usize, bytes: usize) -> Option<*mut u8> {
        let end = offset.checked_add(bytes)?;
        // SAFETY: the result is within the region, or one past its end for an empty access.
        (end <= self.length).then(|| unsafe { self.base.as_ptr().add(offset) })
    }

    /// The aligned 32-bit word at `offset`.
    #[inline]
    pub fn word32(self, offset: usize) -> Option<u32> {
        let pointer = self.at(offset, 4).filter(|_| offset.is_multiple_of(4))?;
        // SAFETY: `at` has checked the range and regions are page aligned; volatile, because
        // others write.
        Some(unsafe { pointer.cast::<u32>().read_volatile() })
    }

    /// The aligned 64-bit word at `offset`.
    #[inline]
    pub fn word64(self, offset: usize) -> Option<u64> {
        let pointer = self.at(offset, 8).filter(|_| offset.is_multiple_of(8))?;
        // SAFETY: as for `word32`.
        Some(unsafe { pointer.cast::<u64>().read_volatile() })
    }

    /// Reads aligned 64-bit words from `offset` on; false, and nothing read, outside the region.
    pub fn words64(self, offset: usize, words: &mut [u64]) -> bool {
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
    pub fn set_words64(self, offset: usize, words: &[u64]) -> bool {
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
    pub fn put(self, offset: usize, bytes: &[u8]) -> bool {
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
    pub fn copy(self, offset: usize, from: Self, at: usize, bytes: usize) -> bool {
        let (Some(to), Some(from)) = (self.at(offset, bytes), from.at(at, bytes)) else {
            return false;
        };
        // SAFETY: `at` has checked both ranges; regions do not overlap, and no reference points into them. Nothing
        // depends on what is read, so that it does not matter if a peer domain writes it meanwhile.
        unsafe { to.copy_from_nonoverlapping(from, bytes) };
        true
    }

    /// Copies from `offset` into `bytes`; false, and nothing read, outside the region.
    pub fn get(self, offset: usize, bytes: &mut [u8]) -> bool {
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
    #[must_use]
    pub unsafe fn owned<'a>(self) -> &'a mut [u8] {
        // SAFETY: mapped for `length` bytes; exclusive by the caller's word.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.length) }
    }

    /// The whole region becomes all zero, for those too who run with their caches off.
    pub fn clear(self) {
        // SAFETY: mapped for `length` bytes, writable, and named by no reference.
        unsafe { self.base.as_ptr().write_bytes(0, self.length) };
        self.clean_and_invalidate(0, self.length);
    }

    /// Writes back and drops what caches hold of a range, so that a vCPU that runs with its caches
    /// off sees it, and we see what that one wrote.
    pub fn clean_and_invalidate(self, offset: usize, bytes: usize) {
        if self.at(offset, bytes).is_some() {
            cache::clean_and_invalidate(self.base.as_ptr().addr() + offset, bytes);
        }
    }
}

/// Cache maintenance by address, to the point of coherency (DDI 0487, D7.5.9): for a guest that reads or executes with its
/// own caches off or stale. Nothing on a host, which has no guest.
pub mod cache {
    /// Bytes of a cache line that every board has at least: `DC` operations step by this much.
    #[cfg(target_os = "none")]
    const LINE: usize = 64;

    /// Writes a range back from the caches to memory.
    #[cfg_attr(
        not(target_os = "none"),
        expect(clippy::missing_const_for_fn, reason = "on a host only")
    )]
    pub fn clean(start: usize, bytes: usize) {
        #[cfg(target_os = "none")]
        {
            for line in (start & !(LINE - 1)..start + bytes).step_by(LINE) {
                // SAFETY: cache maintenance by address does not change memory's contents.
                unsafe {
                    core::arch::asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags))
                };
            }
            barrier();
        }
        let _ = (start, bytes);
    }

    /// Writes a range back and drops it from the caches, so that the next read is of memory.
    #[cfg_attr(
        not(target_os = "none"),
        expect(clippy::missing_const_for_fn, reason = "on a host only")
    )]
    pub fn clean_and_invalidate(start: usize, bytes: usize) {
        #[cfg(target_os = "none")]
        {
            for line in (start & !(LINE - 1)..start + bytes).step_by(LINE) {
                // SAFETY: cache maintenance by address does not change memory's contents.
                unsafe {
                    core::arch::asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags))
                };
            }
            barrier();
        }
        let _ = (start, bytes);
    }

    #[cfg(target_os = "none")]
    fn barrier() {
        // SAFETY: a barrier.
        unsafe { core::arch::asm!("dsb sy", options(nostack, preserves_flags)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 64;

    #[repr(align(8))]
    struct Memory([u8; LENGTH]);

    fn counting() -> Memory {
        Memory(core::array::from_fn(|place| u8::try_from(place).unwrap()))
    }

    fn region(memory: &mut Memory) -> Region {
        // SAFETY: the memory outlives the region in each test, and is not used by its name meanwhile.
        unsafe { Region::new(NonNull::from(&mut memory.0).cast(), LENGTH) }
    }

    /// Every access, at every offset and of every length around the region's, is done if and only if it lies within.
    #[test]
    fn whatever_is_asked_for_stays_within_the_region() {
        let offsets = (0..LENGTH + 2).chain([usize::MAX, usize::MAX - 7]);
        for (offset, length) in
            offsets.flat_map(|offset| (0..LENGTH + 2).map(move |length| (offset, length)))
        {
            let (mut memory, mut other) = (counting(), Memory([0xee; LENGTH]));
            let region = region(&mut memory);
            // SAFETY: as in `region`.
            let from = unsafe { Region::new(NonNull::from(&mut other.0).cast(), LENGTH) };
            let fits = offset.checked_add(length).is_some_and(|end| end <= LENGTH);
            let mut bytes = vec![0xff; length];
            assert_eq!(region.get(offset, &mut bytes), fits);
            let expected: Vec<u8> = match fits {
                true => (offset..offset + length)
                    .map(|place| u8::try_from(place).unwrap())
                    .collect(),
                false => vec![0xff; length],
            };
            assert_eq!(bytes, expected);
            assert_eq!(region.put(offset, &bytes), fits);
            assert_eq!(region.copy(offset, from, 0, length), fits);
            region.clean_and_invalidate(offset, length);
            for (place, byte) in memory.0.iter().enumerate() {
                let written = fits && (offset..offset + length).contains(&place);
                assert_eq!(
                    *byte,
                    if written {
                        0xee
                    } else {
                        u8::try_from(place).unwrap()
                    }
                );
            }
        }
    }

    #[test]
    fn words_are_aligned_and_all_or_nothing() {
        let mut memory = counting();
        let region = region(&mut memory);
        assert_eq!(region.word32(4), Some(0x0706_0504));
        assert_eq!(region.word64(8), Some(0x0f0e_0d0c_0b0a_0908));
        assert_eq!([region.word32(2), region.word32(LENGTH)], [None; 2]);
        assert_eq!([region.word64(4), region.word64(LENGTH - 4)], [None; 2]);
        assert!(region.set_words64(LENGTH - 16, &[1, 2]));
        assert!(!region.set_words64(LENGTH - 8, &[3, 4]) && !region.set_words64(4, &[3]));
        let mut words = [0; 2];
        assert!(region.words64(LENGTH - 16, &mut words) && !region.words64(LENGTH - 8, &mut words));
        assert_eq!(words, [1, 2]);
        region.clear();
        assert_eq!(memory.0, [0; LENGTH]);
    }
}
