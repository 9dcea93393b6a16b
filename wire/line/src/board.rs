// SPDX-License-Identifier: BSD-2-Clause
//! The board's end: answers, and sends its data when it has been told that there is room.
//!
//! Responsible for: what a board says to what a host says, and for a clear start: a host that died may
//! have left half a message, so before the first byte of a session the receiver gets as many zeros as
//! its longest message has bytes, which end it. Must never: say anything before a host has begun a
//! session.

use crate::segment::{Kind, Segment};
use crate::window::Window;
use crate::wire::{Inbox, Outbox};
use crate::{Sink, segments};

/// Zeros to be given at once.
static ZEROS: [u8; 256] = [0; 256];

/// What a receiver gets before a session's first byte.
#[derive(Debug)]
struct Start {
    /// Bytes of the longest message.
    longest: usize,
    /// Zeros that are still to be given.
    zeros: usize,
}

impl Start {
    /// Gives `sink` as many zeros as it takes of those that are left.
    fn complete(&mut self, sink: &mut impl Sink) {
        while self.zeros > 0 {
            let count = self.zeros.min(sink.room()).min(ZEROS.len());
            if count == 0 {
                return;
            }
            sink.put(ZEROS.get(..count).unwrap_or_default());
            self.zeros -= count;
        }
    }

    /// How many of the session's own bytes `sink` takes: none before the zeros.
    fn room(&self, sink: &mut impl Sink) -> usize {
        if self.zeros == 0 { sink.room() } else { 0 }
    }
}

/// The board's end of a line.
#[derive(Debug)]
pub struct Board {
    session: Option<u32>,
    window: Window,
    /// The number of the host's data that has not come yet.
    expected: u16,
    /// The number of a poll that waits for an answer.
    answer: Option<u16>,
    start: Start,
    inbox: Inbox,
    outbox: Outbox,
}

impl Board {
    /// An end that waits for a host, and whose receiver takes messages of at most `longest` bytes.
    #[must_use]
    pub const fn new(longest: usize) -> Self {
        Self {
            session: None,
            window: Window::new(),
            expected: 0,
            answer: None,
            start: Start { longest, zeros: 0 },
            inbox: Inbox::new(),
            outbox: Outbox::new(),
        }
    }

    /// Takes bytes from the line; what they carry goes into `sink`.
    pub fn input(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        self.start.complete(sink);
        for byte in bytes {
            if self.inbox.take(*byte)
                && let Some((segment, payload)) = self.inbox.segment()
            {
                if segment.kind == Kind::Reset && self.session != Some(segment.session) {
                    self.session = Some(segment.session);
                    self.window.reset();
                    self.expected = 0;
                    self.start.zeros = self.start.longest;
                    self.start.complete(sink);
                }
                if self.session != Some(segment.session) {
                    continue;
                }
                match segment.kind {
                    Kind::Data => {
                        if segment.number == self.expected && payload.len() <= self.start.room(sink)
                        {
                            sink.put(payload);
                            self.expected = self.expected.wrapping_add(1);
                        }
                        continue;
                    }
                    // Only a board says that.
                    Kind::Answer => continue,
                    Kind::Reset | Kind::Poll | Kind::Resend => {}
                }
                self.window.acknowledge(segment.expected, segment.room);
                if segment.kind == Kind::Resend {
                    self.window.go_back();
                }
                self.answer = Some(segment.number);
            }
        }
    }

    /// Whether it takes bytes to send: a host is there and has not yet to acknowledge too many.
    #[must_use]
    pub fn can_accept(&self) -> bool {
        self.session.is_some() && self.window.has_space()
    }

    /// Lets `fill` write bytes to send into a place, and say how many; returns that.
    pub fn accept(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        if self.can_accept() {
            self.window.add(fill)
        } else {
            0
        }
    }

    /// What goes over the line next; [`Self::sent`] says how much of it has. `sink` is asked for
    /// its room.
    pub fn output(&mut self, sink: &mut impl Sink) -> &[u8] {
        if self.outbox.is_empty() {
            self.compose(sink);
        }
        self.outbox.bytes()
    }

    fn compose(&mut self, sink: &mut impl Sink) {
        let Some(session) = self.session else {
            return;
        };
        let mut segment = Segment {
            kind: Kind::Answer,
            session,
            number: 0,
            next: self.window.next(),
            expected: self.expected,
            room: 0,
        };
        if let Some(number) = self.answer.take() {
            segment.number = number;
            segment.room = segments(self.start.room(sink));
            self.outbox.put(&segment, &[]);
        } else if let Some((number, payload)) = self.window.send() {
            segment.kind = Kind::Data;
            segment.number = number;
            self.outbox.put(&segment, payload);
        }
    }

    /// So many bytes of [`Self::output`] have gone over the line.
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
    }
}
