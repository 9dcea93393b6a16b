// SPDX-License-Identifier: BSD-2-Clause
//! The source's pre-copy rounds over guest RAM.
//!
//! Responsible for: which page is looked at next, which is sent, and when the guest should be
//! paused. Must never: count a page as sent whose copy is not what the other board will have.
//!
//! While the guest runs, each round compares every page with what it was in the round before. A
//! page that differs is only noted; it is sent in a later round, once it has stopped changing, so a
//! page that the guest writes all the time is not sent over and over but once, at the end. One
//! that was sent and changed again has to rest longer ([`PageTable`]). The other board's RAM is
//! zero, so a page of zeros is as good as sent.
//!
//! Once the guest is paused, pages that are known to differ are sent while the last round looks
//! for others: the link never waits for the round.

use crate::ram::GuestRam;
use lz4_flex::block::{CompressTable, compress_into_with_table};
use protocol::fingerprint::{Fingerprint, Key, PAGE_SIZE, Page};
use protocol::heap::COMPRESSED_ROOM;
use protocol::pages::Contents;
use protocol::table::PageTable;

/// A page is sent compressed if that saves at least an eighth.
const WORTHWHILE: usize = PAGE_SIZE - PAGE_SIZE / 8;
/// After this many rounds in a row that did not leave at least a quarter fewer pages than the one
/// before, more will not help.
const FRUITLESS_ROUNDS: u16 = 2;

/// Where pages go.
pub trait Sink {
    /// Whether there is room for a page, in any form.
    fn has_room(&self) -> bool;
    /// Sends a page; there is room.
    fn put(&mut self, page: u32, contents: &Contents<'_>);
}

/// What compressing a page takes, besides the page: large, so it is made once and lent.
pub type Compressor = CompressTable;

/// Buffers for one page each.
pub struct Scratch<'m> {
    /// The page's copy.
    pub page: &'m mut Page,
    /// Its compressed form.
    pub compressed: &'m mut [u8; COMPRESSED_ROOM],
    /// What compressing it takes.
    pub compressor: &'m mut Compressor,
}

impl core::fmt::Debug for Scratch<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Scratch(..)")
    }
}

/// How a slice of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slice {
    /// There is more to do.
    More,
    /// The sink is full.
    Blocked,
    /// The round is complete; with the guest paused, everything is sent.
    Done,
}

/// When to stop the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// As soon as no more pages than this are left.
    pub dirty_pages: u32,
    /// After so many rounds in any case.
    pub rounds: u16,
}

/// The state of the rounds.
pub struct Copier {
    key: Key,
    zero: Fingerprint,
    /// The next page that the round looks at.
    cursor: u32,
    /// Where to look for pages to send, once the guest is paused.
    drain: u32,
    rounds: u16,
    /// Dirty pages after the last complete round.
    left: u32,
    fruitless: u16,
    zeros: u32,
    zeros_in_round: u32,
    pages_sent: u32,
    /// Compress also while the guest is paused.
    compressed: bool,
}

impl Copier {
    /// Begins; the other board's RAM is zero.
    pub fn new(seed: [u64; 2], table: &mut PageTable<'_>) -> Self {
        let key = Key::new(seed);
        let zero = key.fingerprint_of(&[0; PAGE_SIZE]);
        table.reset(zero);
        Self {
            key,
            zero,
            cursor: 0,
            drain: 0,
            rounds: 0,
            left: u32::MAX,
            fruitless: 0,
            zeros: 0,
            zeros_in_round: 0,
            pages_sent: 0,
            compressed: false,
        }
    }

    /// How many rounds are complete.
    pub const fn rounds(&self) -> u16 {
        self.rounds
    }

    /// Pages of this round looked at.
    pub const fn scanned(&self) -> u32 {
        self.cursor
    }

    /// Pages that were zero in the last complete round.
    pub const fn zeros(&self) -> u32 {
        self.zeros
    }

    /// Pages sent so far, each time they were.
    pub const fn pages_sent(&self) -> u32 {
        self.pages_sent
    }

    /// Looks at `count` pages of a running guest and sends those that have stopped changing.
    pub fn copy<R: GuestRam, S: Sink>(
        &mut self,
        ram: &R,
        table: &mut PageTable<'_>,
        scratch: &mut Scratch<'_>,
        sink: &mut S,
        count: u32,
    ) -> Slice {
        let end = self.cursor.saturating_add(count).min(ram.pages());
        while self.cursor < end {
            let page = self.cursor;
            let known = table.print(page);
            let print = self.look_at(ram, page, known);
            if print != known {
                table.changed(page, print);
            } else if table.is_unsent(page) {
                if !sink.has_room() {
                    return Slice::Blocked;
                }
                if table.has_rested(page) {
                    self.send(ram, table, scratch, sink, page, true);
                }
            }
            self.look_at_next(print);
        }
        self.end_of_slice(ram.pages(), table)
    }

    /// Looks at or sends `count` pages of a paused guest. Done once the round that was
    /// begun by [`Self::begin_last`] is complete and every page is sent.
    pub fn finish<R: GuestRam, S: Sink>(
        &mut self,
        ram: &R,
        table: &mut PageTable<'_>,
        scratch: &mut Scratch<'_>,
        sink: &mut S,
        count: u32,
    ) -> Slice {
        for _ in 0..count {
            if table.unsent() > 0 && sink.has_room() {
                let next = table
                    .next_unsent(self.drain)
                    .or_else(|| table.next_unsent(0));
                if let Some(page) = next {
                    self.drain = page + 1;
                    self.send(ram, table, scratch, sink, page, false);
                }
            } else if self.cursor < ram.pages() {
                let page = self.cursor;
                if table.is_unsent(page) {
                    self.cursor += 1;
                    continue;
                }
                let known = table.print(page);
                let print = self.look_at(ram, page, known);
                if print != known {
                    table.changed(page, print);
                }
                self.look_at_next(print);
            } else if table.unsent() > 0 {
                return Slice::Blocked;
            } else {
                self.end_of_round(table);
                return Slice::Done;
            }
        }
        Slice::More
    }

    /// The guest is paused: what follows is the last round, from the beginning. Compressing takes
    /// longer than most links do, and now the guest waits: `compressed` if the link is slower.
    pub fn begin_last(&mut self, compressed: bool) {
        self.compressed = compressed;
        (self.cursor, self.drain, self.zeros_in_round) = (0, 0, 0);
    }

    /// After a complete round: whether the guest should be paused now.
    pub fn has_converged(&self, limits: Limits) -> bool {
        self.rounds >= limits.rounds.max(2)
            || (self.rounds >= 2
                && (self.left <= limits.dirty_pages || self.fruitless >= FRUITLESS_ROUNDS))
    }

    /// What a page is that was `known` to be something.
    #[inline]
    fn look_at<R: GuestRam>(&self, ram: &R, page: u32, known: Fingerprint) -> Fingerprint {
        if known == self.zero && ram.is_zero(page) {
            known
        } else {
            ram.fingerprint(page, &self.key)
        }
    }

    /// Copies a page and sends it, unless it changed since it was looked at.
    fn send<R: GuestRam, S: Sink>(
        &mut self,
        ram: &R,
        table: &mut PageTable<'_>,
        scratch: &mut Scratch<'_>,
        sink: &mut S,
        page: u32,
        running: bool,
    ) {
        ram.read(page, scratch.page);
        let print = self.key.fingerprint_of(scratch.page);
        if running && print != table.print(page) {
            table.changed(page, print);
            return;
        }
        let contents = if print == self.zero && is_zero(scratch.page) {
            Contents::Zero
        } else if running || self.compressed {
            compress(scratch)
        } else {
            Contents::Plain(scratch.page)
        };
        sink.put(page, &contents);
        table.sent(page, print);
        self.pages_sent += 1;
    }

    fn look_at_next(&mut self, print: Fingerprint) {
        self.cursor += 1;
        self.zeros_in_round += u32::from(print == self.zero);
    }

    fn end_of_slice(&mut self, pages: u32, table: &PageTable<'_>) -> Slice {
        if self.cursor < pages {
            return Slice::More;
        }
        self.end_of_round(table);
        self.cursor = 0;
        Slice::Done
    }

    fn end_of_round(&mut self, table: &PageTable<'_>) {
        self.rounds += 1;
        self.zeros = core::mem::take(&mut self.zeros_in_round);
        let left = table.unsent();
        // The first round only looks: what it leaves is everything.
        let better = self.rounds <= 2 || left < self.left - self.left / 4;
        self.fruitless = if better { 0 } else { self.fruitless + 1 };
        self.left = left;
    }
}

impl core::fmt::Debug for Copier {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Copier")
            .field("rounds", &self.rounds)
            .field("cursor", &self.cursor)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// The page in `scratch`, in its shortest form.
pub fn pack<'a>(scratch: &'a mut Scratch<'_>) -> Contents<'a> {
    if is_zero(scratch.page) {
        Contents::Zero
    } else {
        compress(scratch)
    }
}

fn compress<'a>(scratch: &'a mut Scratch<'_>) -> Contents<'a> {
    let Scratch {
        page,
        compressed,
        compressor,
    } = scratch;
    compress_into_with_table(page.as_slice(), compressed.as_mut_slice(), compressor)
        .ok()
        .filter(|length| *length < WORTHWHILE)
        .and_then(|length| compressed.get(..length))
        .map_or(Contents::Plain(page), Contents::Compressed)
}

fn is_zero(page: &Page) -> bool {
    page.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests;
