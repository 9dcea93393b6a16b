// SPDX-License-Identifier: BSD-2-Clause
//! Guest RAM as the move sees it.

use protocol::fingerprint::{Fingerprint, Key, PAGE_SIZE, Page};

/// Guest RAM, in pages from 0 to [`pages`](Self::pages).
///
/// A running guest writes it at any time: every word is read once, and what two reads give need
/// not agree. Pages that do not exist read as zero, and writing them does nothing; the callers
/// check numbers that come from elsewhere.
pub trait GuestRam {
    /// How many pages there are.
    fn pages(&self) -> u32;
    /// Copies a page out.
    fn read(&self, page: u32, into: &mut Page);
    /// Fills a page, so that the guest finds it so even before it turns its caches on.
    fn write(&mut self, page: u32, from: &Page);
    /// Makes a part of a page zero that is not, whatever a guest left there by whatever mapping; false if all of it is.
    /// Cheap then: writing what nobody used would make a host, or a board's caches, hold it.
    fn clear_some(&mut self, page: u32) -> bool;
    /// Whether a page is all zero as it is. Exact, and cheaper than a fingerprint: most pages of
    /// most guests are, and stay so.
    fn is_zero(&self, page: u32) -> bool;
    /// The fingerprint of a page as it is.
    fn fingerprint(&self, page: u32, key: &Key) -> Fingerprint;

    /// Its size in bytes.
    fn bytes(&self) -> u64 {
        u64::from(self.pages()) * PAGE_SIZE as u64
    }
}
