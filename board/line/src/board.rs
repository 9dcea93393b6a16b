//! The board's end: answers, and sends its data when it has been told that there is room.
//!
//! Responsible for: what a board says to what a host says. Must never: say anything before a
//! host has begun a session.

use crate::segment::{Kind, Segment};
use crate::window::Window;
use crate::wire::{Inbox, Outbox};
use crate::{Sink, segments};

/// The board's end of a line.
#[derive(Debug)]
pub struct Board {
    session: Option<u32>,
    window: Window,
    /// The number of the host's data that has not come yet.
    expected: u16,
    /// The number of a poll that waits for an answer.
    answer: Option<u16>,
    inbox: Inbox,
    outbox: Outbox,
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// An end that waits for a host.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            session: None,
            window: Window::new(),
            expected: 0,
            answer: None,
            inbox: Inbox::new(),
            outbox: Outbox::new(),
        }
    }

    /// Takes bytes from the line; what they carry goes into `sink`.
    pub fn input(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        for byte in bytes {
            if self.inbox.take(*byte)
                && let Some((segment, payload)) = self.inbox.segment()
            {
                if segment.kind == Kind::Reset && self.session != Some(segment.session) {
                    self.session = Some(segment.session);
                    self.window.reset();
                    self.expected = 0;
                }
                if self.session != Some(segment.session) {
                    continue;
                }
                match segment.kind {
                    Kind::Data => {
                        if segment.number == self.expected && payload.len() <= sink.room() {
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
            segment.room = segments(sink);
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
