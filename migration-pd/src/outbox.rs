// SPDX-License-Identifier: BSD-2-Clause
//! What waits to be sent on the link.
//!
//! Responsible for: putting messages into frames, and keeping what the ring does not take at once.
//! Must never: begin a frame before the one before it has left, or block.
//!
//! Two buffers: one for a bulk frame (pages, records, and what must come after them), filled in
//! place; one for everything else, which may overtake a bulk frame that has not begun to leave.

use crate::copier::Sink;
use protocol::frame::finish;
use protocol::pages::{Contents, ENTRY_LENGTH, append};
use protocol::wire::WireError;
use protocol::{HEADER_LENGTH, MAX_FRAME, MAX_PAYLOAD, MoveId, Transfer, kind};
use vm::PAGE_SIZE;

/// The most that a page takes in a message.
const PAGE_ROOM: usize = ENTRY_LENGTH + PAGE_SIZE;

/// Messages waiting.
#[derive(Debug)]
pub struct Outbox<'m> {
    messages: &'m mut [u8; MAX_FRAME],
    messages_sent: usize,
    messages_held: usize,
    bulk: &'m mut [u8; MAX_FRAME],
    state: Bulk,
    /// Messages for which there was no room.
    dropped: u64,
}

/// What is in the bulk buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bulk {
    Empty,
    /// A message of pages that has so many bytes of payload; more may come.
    Filling {
        used: usize,
    },
    /// A whole frame.
    Leaving {
        sent: usize,
        length: usize,
    },
}

impl<'m> Outbox<'m> {
    /// An empty one, in this memory.
    pub const fn new(messages: &'m mut [u8; MAX_FRAME], bulk: &'m mut [u8; MAX_FRAME]) -> Self {
        Self {
            messages,
            messages_sent: 0,
            messages_held: 0,
            bulk,
            state: Bulk::Empty,
            dropped: 0,
        }
    }

    /// Appends a message; `write` writes its payload. A message for which there is no room is
    /// dropped, which its receiver takes for a loss on the link.
    pub fn message(
        &mut self,
        kind: u8,
        tag: u32,
        write: impl FnOnce(&mut [u8]) -> Result<usize, WireError>,
    ) {
        let room = self
            .messages
            .get_mut(self.messages_held..)
            .unwrap_or_default();
        let length = room
            .get_mut(HEADER_LENGTH..)
            .and_then(|payload| write(payload).ok())
            .and_then(|length| finish(room, kind, tag, length));
        match length {
            Some(length) => self.messages_held += length,
            None => self.dropped += 1,
        }
    }

    /// Appends a message of the hand-over.
    pub fn transfer(&mut self, message: &Transfer<'_>) {
        self.message(message.kind(), 0, |payload| message.encode(payload));
    }

    /// Puts a message into the empty bulk buffer.
    pub fn bulk(&mut self, message: &Transfer<'_>) {
        let length = self
            .bulk
            .get_mut(HEADER_LENGTH..)
            .and_then(|payload| message.encode(payload).ok())
            .and_then(|length| finish(self.bulk, message.kind(), 0, length));
        if let Some(length) = length {
            self.state = Bulk::Leaving { sent: 0, length };
        } else {
            self.dropped += 1;
        }
    }

    /// Whether [`Self::bulk`] may be used.
    pub fn bulk_is_empty(&self) -> bool {
        self.state == Bulk::Empty
    }

    /// Whether pages wait for more pages before they leave.
    pub const fn is_filling(&self) -> bool {
        matches!(self.state, Bulk::Filling { .. })
    }

    /// Whether nothing waits for room in the ring.
    pub const fn has_left(&self) -> bool {
        self.messages_held == 0 && !matches!(self.state, Bulk::Leaving { .. })
    }

    /// Bytes that wait for room in the ring.
    pub const fn waiting(&self) -> usize {
        let bulk = match self.state {
            Bulk::Leaving { sent, length } => length - sent,
            Bulk::Empty | Bulk::Filling { .. } => 0,
        };
        self.messages_held - self.messages_sent + bulk
    }

    /// Messages for which there was no room.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a page can be put into the message of pages, opening one if there is none. One that
    /// has `limit` bytes gets no more.
    pub const fn has_room_for_page(&self, limit: usize) -> bool {
        match self.state {
            Bulk::Empty => true,
            Bulk::Filling { used } => used < limit && MAX_PAYLOAD - used >= PAGE_ROOM,
            Bulk::Leaving { .. } => false,
        }
    }

    /// Appends a page to the message of pages, whose number is `index`.
    pub fn page(&mut self, id: MoveId, index: u32, page: u32, contents: &Contents<'_>) {
        let payload = self.bulk.get_mut(HEADER_LENGTH..).unwrap_or_default();
        let used = match self.state {
            Bulk::Filling { used } => Some(used),
            _ => {
                let body = &[];
                Transfer::Pages { id, index, body }.encode(payload).ok()
            }
        };
        match used.and_then(|used| append(payload, used, page, contents)) {
            Some(used) => self.state = Bulk::Filling { used },
            None => self.dropped += 1,
        }
    }

    /// Lets the message of pages leave. Returns its frame's length, 0 if there is none.
    pub fn close_pages(&mut self) -> usize {
        let Bulk::Filling { used } = self.state else {
            return 0;
        };
        let length = finish(self.bulk, kind::PAGES, 0, used).unwrap_or(0);
        self.state = Bulk::Leaving { sent: 0, length };
        length
    }

    /// Forgets the bulk frame, unless part of it has left.
    pub fn drop_bulk(&mut self) {
        if !matches!(self.state, Bulk::Leaving { sent: 1.., .. }) {
            self.state = Bulk::Empty;
        }
    }

    /// Gives to `send`, which says how many bytes it took, as much as it takes.
    pub fn drain(&mut self, mut send: impl FnMut(&[u8]) -> usize) {
        if let Bulk::Leaving { sent: 1.., .. } = self.state {
            self.drain_bulk(&mut send);
            if self.state != Bulk::Empty {
                return;
            }
        }
        let waiting = self.messages.get(self.messages_sent..self.messages_held);
        self.messages_sent += waiting
            .filter(|bytes| !bytes.is_empty())
            .map_or(0, &mut send);
        if self.messages_sent < self.messages_held {
            return;
        }
        (self.messages_sent, self.messages_held) = (0, 0);
        self.drain_bulk(&mut send);
    }

    fn drain_bulk(&mut self, send: &mut impl FnMut(&[u8]) -> usize) {
        if let Bulk::Leaving { sent, length } = self.state {
            let sent = sent + self.bulk.get(sent..length).map_or(0, send);
            self.state = if sent < length {
                Bulk::Leaving { sent, length }
            } else {
                Bulk::Empty
            };
        }
    }
}

/// The pages of one move on their way into an [`Outbox`].
#[derive(Debug)]
pub struct PageSink<'a, 'm> {
    /// Where they go.
    pub outbox: &'a mut Outbox<'m>,
    /// The move.
    pub id: MoveId,
    /// The number of the message that is being filled.
    pub index: u32,
    /// So long a message gets no more pages.
    pub limit: usize,
    /// Whether the other board has room for another message.
    pub window_open: bool,
}

impl Sink for PageSink<'_, '_> {
    fn has_room(&self) -> bool {
        self.window_open && self.outbox.has_room_for_page(self.limit)
    }

    fn put(&mut self, page: u32, contents: &Contents<'_>) {
        self.outbox.page(self.id, self.index, page, contents);
    }
}

#[cfg(test)]
mod tests;
