// SPDX-License-Identifier: BSD-2-Clause
//! What is known of each page: its fingerprint when last looked at, whether that was sent, and
//! for how long the page should rest before it is.
//!
//! Responsible for: 128 bits, a flag and a byte for each page of guest RAM, in memory given by
//! the shell. Must never: forget that a page is still to be sent.
//!
//! One fingerprint serves for two questions. While the page is to be sent it is what the page was
//! when last looked at, and a page that is the same now has stopped changing. Afterwards it is
//! what the other board has.
//!
//! A page that changed again after it was sent has been sent in vain. It has to rest longer before
//! the next time, or waits for the end.

use crate::fingerprint::{Digest, Fingerprint};
use zerocopy::FromBytes;

/// Bits of a word of flags.
const WORD: u32 = u64::BITS;

/// The table, for as many pages as guest RAM has.
#[derive(Debug)]
pub struct PageTable<'m> {
    prints: &'m mut [Fingerprint],
    /// One bit a page: set if it is still to be sent.
    unsent: &'m mut [u64],
    /// How often the page was sent, in the upper half; in the lower, for how many more rounds it
    /// has to stay the same before it is sent again.
    rest: &'m mut [u8],
    count: u32,
}

/// For how many rounds a page has to stay the same before it is sent while the guest runs, by how
/// often it has been sent. Rounds take some 50 ms.
const REST: [u8; 3] = [1, 4, 15];
/// Where the number of sends begins in a page's byte.
const SENDS: u32 = 4;

/// How many bytes a table for so many pages takes.
#[must_use]
pub const fn bytes_needed(pages: u32) -> u64 {
    pages as u64 * (size_of::<Fingerprint>() as u64 + 1) + words_of_flags(pages) as u64 * 8
}

const fn words_of_flags(pages: u32) -> u32 {
    pages.div_ceil(WORD)
}

impl<'m> PageTable<'m> {
    /// A table for so many pages in `memory` (aligned to 8 bytes); None if that is too small.
    /// Says nothing about any page before [`Self::reset`].
    #[must_use]
    pub fn new(memory: &'m mut [u8], pages: u32) -> Option<Self> {
        let words = usize::try_from(words_of_flags(pages)).ok()?;
        let pages = usize::try_from(pages).ok()?;
        let (prints, rest) = <[Fingerprint]>::mut_from_prefix_with_elems(memory, pages).ok()?;
        let (unsent, rest) = <[u64]>::mut_from_prefix_with_elems(rest, words).ok()?;
        let rest = rest.get_mut(..pages)?;
        Some(Self {
            prints,
            unsent,
            rest,
            count: 0,
        })
    }

    /// How many pages it is for.
    #[must_use]
    pub fn pages(&self) -> u32 {
        u32::try_from(self.prints.len()).unwrap_or(u32::MAX)
    }

    /// All pages are known to be `print` on both sides.
    pub fn reset(&mut self, print: Fingerprint) {
        self.prints.fill(print);
        self.unsent.fill(0);
        self.rest.fill(0);
        self.count = 0;
    }

    /// The page's fingerprint when last looked at or sent.
    #[must_use]
    pub fn print(&self, page: u32) -> Fingerprint {
        usize::try_from(page)
            .ok()
            .and_then(|page| self.prints.get(page))
            .copied()
            .unwrap_or_default()
    }

    /// Whether the page is still to be sent.
    #[must_use]
    pub fn is_unsent(&self, page: u32) -> bool {
        let word = self.unsent.get(word_of(page)).copied().unwrap_or(0);
        word & bit_of(page) != 0
    }

    /// How many pages are still to be sent.
    #[must_use]
    pub const fn unsent(&self) -> u32 {
        self.count
    }

    /// The page was seen to have changed to this.
    pub fn changed(&mut self, page: u32, print: Fingerprint) {
        self.set(page, print);
        if let Some(byte) = self.rest_of(page) {
            let sends = *byte >> SENDS;
            let rest = REST.get(usize::from(sends)).or(REST.last());
            *byte = sends << SENDS | rest.copied().unwrap_or(1);
        }
        if let Some(word) = self.unsent.get_mut(word_of(page)) {
            self.count += u32::from(*word & bit_of(page) == 0);
            *word |= bit_of(page);
        }
    }

    /// The page was seen not to have changed, and is still to be sent; true if it should be now.
    pub fn has_rested(&mut self, page: u32) -> bool {
        let Some(byte) = self.rest_of(page) else {
            return true;
        };
        let rest = (*byte & ((1 << SENDS) - 1)).saturating_sub(1);
        *byte = *byte >> SENDS << SENDS | rest;
        rest == 0
    }

    /// The page is this on both sides.
    pub fn sent(&mut self, page: u32, print: Fingerprint) {
        self.set(page, print);
        if let Some(byte) = self.rest_of(page) {
            let sends = (*byte >> SENDS).saturating_add(1).min(u8::MAX >> SENDS);
            *byte = sends << SENDS;
        }
        if let Some(word) = self.unsent.get_mut(word_of(page)) {
            self.count -= u32::from(*word & bit_of(page) != 0);
            *word &= !bit_of(page);
        }
    }

    /// The first page from `from` on that is still to be sent.
    #[must_use]
    pub fn next_unsent(&self, from: u32) -> Option<u32> {
        let first = word_of(from);
        let mut mask = u64::MAX << (from % WORD);
        for (index, word) in self.unsent.iter().enumerate().skip(first) {
            let bits = word & mask;
            if bits != 0 {
                let page = u32::try_from(index).ok()? * WORD + bits.trailing_zeros();
                return Some(page);
            }
            mask = u64::MAX;
        }
        None
    }

    /// Over all fingerprints in order: equal on both boards if all pages are.
    #[must_use]
    pub fn digest(&self) -> [u64; 2] {
        let mut digest = Digest::new();
        for Fingerprint([low, high]) in self.prints.iter() {
            digest.word(*low);
            digest.word(*high);
        }
        digest.finish()
    }

    fn rest_of(&mut self, page: u32) -> Option<&mut u8> {
        usize::try_from(page)
            .ok()
            .and_then(|page| self.rest.get_mut(page))
    }

    fn set(&mut self, page: u32, print: Fingerprint) {
        let slot = usize::try_from(page)
            .ok()
            .and_then(|page| self.prints.get_mut(page));
        if let Some(slot) = slot {
            *slot = print;
        }
    }
}

const fn word_of(page: u32) -> usize {
    (page / WORD) as usize
}

const fn bit_of(page: u32) -> u64 {
    1 << (page % WORD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PAGES: u32 = 200;

    fn memory() -> Vec<u64> {
        vec![u64::MAX; usize::try_from(bytes_needed(PAGES) / 8).unwrap()]
    }

    fn bytes(memory: &mut [u64]) -> &mut [u8] {
        zerocopy::IntoBytes::as_mut_bytes(memory)
    }

    #[test]
    fn a_table_that_does_not_fit_is_none() {
        let mut memory = memory();
        let bytes = bytes(&mut memory);
        let length = bytes.len();
        assert!(PageTable::new(&mut bytes[..length - 1], PAGES).is_none());
        assert!(PageTable::new(bytes, PAGES).is_some());
        assert_eq!(bytes_needed(32_768), 524_288 + 4096 + 32_768);
    }

    #[test]
    fn the_digest_depends_on_which_page_has_which_fingerprint() {
        let mut memory = memory();
        let mut table = PageTable::new(bytes(&mut memory), PAGES).unwrap();
        table.reset(Fingerprint([1, 2]));
        table.changed(7, Fingerprint([3, 4]));
        let first = table.digest();
        table.sent(7, Fingerprint([3, 4]));
        assert_eq!(table.digest(), first);
        table.sent(7, Fingerprint([1, 2]));
        table.sent(8, Fingerprint([3, 4]));
        assert_ne!(table.digest(), first);
    }

    #[test]
    fn a_page_that_was_sent_in_vain_rests_longer_each_time() {
        let mut memory = memory();
        let mut table = PageTable::new(bytes(&mut memory), PAGES).unwrap();
        table.reset(Fingerprint::default());
        let mut rests = Vec::new();
        for time in 0..20 {
            table.changed(7, Fingerprint([time, 0]));
            rests.push(1 + (0..100).position(|_| table.has_rested(7)).unwrap());
            table.sent(7, Fingerprint([time, 0]));
        }
        assert_eq!(rests[..4], [1, 4, 15, 15]);
        assert!(rests[4..].iter().all(|rest| *rest == 15));
    }

    proptest! {
        #[test]
        fn pages_to_be_sent_are_those_changed_and_not_sent(
            operations in prop::collection::vec((0..PAGES, any::<bool>()), 0..300),
        ) {
            let mut memory = memory();
            let mut table = PageTable::new(bytes(&mut memory), PAGES).unwrap();
            table.reset(Fingerprint::default());
            let mut model = BTreeSet::new();
            for (page, changed) in operations {
                let print = Fingerprint([page.into(), 0]);
                if changed {
                    table.changed(page, print);
                    model.insert(page);
                } else {
                    table.sent(page, print);
                    model.remove(&page);
                }
                prop_assert_eq!(table.print(page), print);
                prop_assert_eq!(table.is_unsent(page), changed);
            }
            let mut found = BTreeSet::new();
            let mut from = 0;
            while let Some(page) = table.next_unsent(from) {
                found.insert(page);
                from = page + 1;
            }
            prop_assert_eq!(usize::try_from(table.unsent()).unwrap(), model.len());
            prop_assert_eq!(found, model);
        }
    }
}
