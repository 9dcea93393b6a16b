// SPDX-License-Identifier: BSD-2-Clause
//! Guest RAM and the bundles, as `system.xml` maps them.
//!
//! Responsible for: every access to pages that the guest and `vmm-pd` share. Each access stays within its region; nothing is
//! assumed about what is read.

use core::arch::asm;
use core::ptr::NonNull;
use migration_pd::ram::GuestRam;
use protocol::fingerprint::{Fingerprint, Key, PAGE_SIZE, Page};
use region::cache;

/// 64-bit words of a page.
const WORDS: usize = PAGE_SIZE / 8;
/// Words that are looked at before the search for one that is not zero may end.
const STRIDE: usize = 16;
/// Bytes of a page that are cleared at once: few enough that others are heard in between even where each store takes
/// milliseconds, as it may under QEMU; no less than what `DC ZVA` zeroes on any processor of a board's.
const PART_SIZE: usize = 512;
/// Words of that.
const PART: usize = PART_SIZE / 8;

/// Guest RAM.
pub(crate) struct Ram {
    base: NonNull<u64>,
    pages: u32,
    /// The page that is being cleared, and the part of it that is looked at next.
    clearing: Option<(u32, usize)>,
}

impl Ram {
    /// The region of `size` bytes at `base`.
    ///
    /// # Safety
    ///
    /// The region is page aligned, mapped, readable and, if any method is used that writes, writable for `size` bytes
    /// until the program ends, and no Rust reference points into it.
    pub(crate) unsafe fn new(base: NonNull<u8>, size: usize) -> Self {
        Self {
            base: base.cast(),
            pages: u32::try_from(size / PAGE_SIZE).unwrap_or(0),
            clearing: None,
        }
    }

    /// Where a page begins, if there is such a page.
    #[inline]
    fn page(&self, page: u32) -> Option<NonNull<u64>> {
        let page = (page < self.pages).then_some(page)?;
        let offset = usize::try_from(page).ok()? * WORDS;
        // SAFETY: the page is within the region.
        Some(unsafe { self.base.add(offset) })
    }
}

impl GuestRam for Ram {
    fn pages(&self) -> u32 {
        self.pages
    }

    fn read(&self, page: u32, into: &mut Page) {
        let Some(start) = self.page(page) else {
            into.fill(0);
            return;
        };
        let (words, _) = into.as_chunks_mut::<8>();
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: a page has so many words. Volatile, because the guest may write meanwhile:
            // each word is read once.
            *word = unsafe { start.add(index).read_volatile() }.to_ne_bytes();
        }
    }

    fn write(&mut self, page: u32, from: &Page) {
        let Some(start) = self.page(page) else {
            return;
        };
        let (words, _) = from.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            // SAFETY: a page has so many words, and the region is writable.
            unsafe { start.add(index).write_volatile(u64::from_ne_bytes(*word)) };
        }
        cache::clean(start.addr().get(), PAGE_SIZE);
    }

    fn clear_some(&mut self, page: u32) -> bool {
        let Some(start) = self.page(page) else {
            return false;
        };
        let first = match self.clearing {
            Some((under_way, part)) if under_way == page => part,
            _ => {
                // A guest with its caches off wrote past ours: what they hold is not what is there.
                cache::clean_and_invalidate(start.addr().get(), PAGE_SIZE);
                0
            }
        };
        let is_used = |part: &usize| {
            let words = (part * PART..(part + 1) * PART).map(|word| {
                // SAFETY: a page has so many words. Volatile, as in `read`.
                unsafe { start.add(word).read_volatile() }
            });
            words.fold(0, |sum, word| sum | word) != 0
        };
        let used = (first..WORDS / PART).find(is_used);
        if let Some(part) = used {
            // SAFETY: a part of a page of the region, which is writable.
            unsafe { zero(start.add(part * PART)) };
            cache::clean(start.addr().get() + part * PART_SIZE, PART_SIZE);
        }
        // Nobody writes a page that is being cleared: what lies before the next part is zero.
        self.clearing = used.map(|part| (page, part + 1));
        used.is_some()
    }

    #[inline]
    fn is_zero(&self, page: u32) -> bool {
        let Some(start) = self.page(page) else {
            return true;
        };
        (0..WORDS / STRIDE).all(|strip| {
            let words = (0..STRIDE).map(|word| {
                // SAFETY: a page has so many words. Volatile, as in `read`.
                unsafe { start.add(strip * STRIDE + word).read_volatile() }
            });
            words.fold(0, |sum, word| sum | word) == 0
        })
    }

    #[inline]
    fn fingerprint(&self, page: u32, key: &Key) -> Fingerprint {
        let Some(start) = self.page(page) else {
            return key.fingerprint(|_| (0, 0));
        };
        key.fingerprint(|pair| {
            // SAFETY: a page has twice so many words. Volatile, as in `read`.
            unsafe {
                let first = start.add(2 * pair);
                (first.read_volatile(), first.add(1).read_volatile())
            }
        })
    }
}

/// How many bytes `DC ZVA` zeroes at once, if this domain may use it (DDI 0487, D24.2.39 `DCZID_EL0`).
fn zeroed_at_once() -> Option<usize> {
    let identity: u64;
    // SAFETY: a read of a register that every program may read.
    unsafe {
        asm!("mrs {}, dczid_el0", out(reg) identity, options(nomem, nostack, preserves_flags));
    }
    let is_prohibited = identity & 1 << 4 != 0;
    let bytes = 4 << (identity & 0xf);
    (!is_prohibited && bytes <= PART_SIZE).then_some(bytes)
}

/// Fills a part of a page with zeros.
///
/// # Safety
///
/// `start` is that of [`PART`] writable words that no Rust reference points into, aligned to as much.
unsafe fn zero(start: NonNull<u64>) {
    let Some(block) = zeroed_at_once() else {
        for index in 0..PART {
            // SAFETY: within the part.
            unsafe { start.add(index).write_volatile(0) };
        }
        return;
    };
    let start = start.addr().get();
    for address in (start..start + PART_SIZE).step_by(block) {
        // SAFETY: a block of the part, which is aligned to no less than a block's size.
        unsafe { asm!("dc zva, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
}
