// SPDX-License-Identifier: BSD-2-Clause
//! What the guest is started from, sent along: it does not change, so it goes once and before guest RAM.
//!
//! Responsible for: sending its pages in order, in slices that the guest's share of the board's time allows. Must never:
//! send what the destination has.

use super::downtime::Rounds;
use super::{Core, Work};
use crate::bundle::{self, Found};
use crate::copier::{Sink as _, pack};
use crate::outbox::PageSink;
use crate::port::Port;
use crate::ram::GuestRam;
use protocol::MoveId;
use protocol::transfer::OfferedBundle;

/// Pages in a slice: each is compressed, which takes longer than looking at one.
const SLICE: u32 = 16;

/// A bundle that is sent; by default none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sending {
    found: Option<Found>,
    next: u32,
    /// What the move had sent in bytes when all of this had been.
    bytes: u64,
}

impl Sending {
    /// What there is to offer.
    pub(super) fn offered(&self) -> Option<OfferedBundle> {
        self.found.map(|found| found.bundle)
    }

    /// Pages sent so far.
    pub(super) const fn sent(&self) -> u32 {
        self.next
    }

    /// Pages to be sent.
    pub(super) fn left(&self) -> u32 {
        self.found.map_or(0, |found| found.bundle.pages - self.next)
    }

    /// Bytes that the move has sent for it, once it has.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Core<'_> {
    /// What the guest is started from, if that is on this board.
    pub(super) fn find_bundle<P: Port>(&mut self, port: &mut P) -> Sending {
        let identity = self.guest.bundle();
        let found = identity.and_then(|identity| bundle::find(port, identity, self.scratch.page));
        Sending {
            found,
            ..Sending::default()
        }
    }

    /// Sends a slice. The pre-copy rounds over guest RAM begin when all is sent.
    pub(super) fn copy_bundle<P: Port>(&mut self, port: &mut P, id: MoveId, began: u64) -> Work {
        let pace = self.outgoing.pace();
        let mut sink = PageSink {
            window_open: self.outgoing.under_way() < pace.window(),
            outbox: &mut self.outbox,
            id,
            index: self.outgoing.next,
            limit: pace.message_bytes(),
        };
        let first = port.ram().pages();
        let sending = &mut self.outgoing.bundle;
        let mut blocked = false;
        for _ in 0..SLICE.min(sending.left()) {
            blocked = !sink.has_room();
            let Some(found) = sending.found.filter(|_| !blocked) else {
                break;
            };
            port.bundle_page(found.place, sending.next, self.scratch.page);
            sink.put(first + sending.next, &pack(&mut self.scratch));
            sending.next += 1;
        }
        let done = sending.left() == 0;
        let now = port.now();
        self.outgoing.worked_in_period += now.saturating_sub(began);
        let closed = (blocked || done) && self.close_pages(now);
        if done {
            self.outgoing.bundle.bytes = self.outgoing.bytes;
            self.outgoing.rounds = Rounds::begin(now);
        }
        if blocked && !closed {
            Work::Waiting
        } else {
            self.more(now)
        }
    }
}
