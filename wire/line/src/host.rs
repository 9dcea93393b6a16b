// SPDX-License-Identifier: BSD-2-Clause
//! The host's end: begins sessions, polls, and asks for what is missing.
//!
//! Responsible for: everything that depends on time. Must never: read a clock; whoever runs it
//! says what time it is.

use crate::segment::{ENCODED, Kind, Segment};
use crate::window::{WINDOW, Window};
use crate::wire::{Inbox, Outbox};
use crate::{Sink, segments};

/// Milliseconds since some time.
pub type Millis = u64;

/// After so long without a poll there is one: the board may have sent what was lost.
const PAUSE: Millis = 50;
/// What a poll's answer may take beyond the time that the bytes before it need.
const SLACK: Millis = 100;
/// A board that says nothing for so long, beyond what a [`stall`] takes, has forgotten the session.
const SILENCE: Millis = 5000;
/// How many polls in a row may be lost with their answers on a line that is of any use.
const LOST_POLLS: Millis = 4;
/// Of how many segments received, or sent, the other end is asked or told.
const HALF: usize = WINDOW / 2;

/// How long the answer to a poll may take on a line of `baud` bits a second.
const fn timeout(baud: u32) -> Millis {
    // A window either way at ten bits a byte.
    let bits = 2 * 10 * (WINDOW + 2) as u64 * ENCODED as u64;
    let baud = if baud == 0 { 1 } else { baud };
    SLACK + bits * 1000 / baud as u64
}

/// For how long nothing of a stream may arrive though both ends are there and a line of `baud` bits
/// a second works: what was lost is sent again, and may be lost again.
#[must_use]
pub const fn stall(baud: u32) -> Millis {
    LOST_POLLS * timeout(baud)
}

/// A poll on its way.
#[derive(Debug, Clone, Copy)]
struct Poll {
    number: u16,
    kind: Kind,
    /// The number of our data that came next when it left.
    next: u16,
    at: Millis,
}

/// The host's end of a line.
#[derive(Debug)]
pub struct Host {
    session: u32,
    /// The board knows of the session.
    attached: bool,
    window: Window,
    /// The number of the board's data that has not come yet.
    expected: u16,
    poll: Option<Poll>,
    polls: u16,
    /// When the last poll left, and when the board was last heard.
    polled: Millis,
    heard: Millis,
    /// Segments received and sent since the last poll.
    received: usize,
    sent: usize,
    /// Data of the board's is missing.
    missing: bool,
    /// How long a poll's answer may take.
    timeout: Millis,
    /// A board that says nothing for so long has forgotten the session.
    silence: Millis,
    inbox: Inbox,
    outbox: Outbox,
}

impl Host {
    /// An end that begins a session, over a line of `baud` bits a second. `session` is a number
    /// that no earlier session had, as far as can be helped: draw it.
    #[must_use]
    pub fn new(session: u32, baud: u32, now: Millis) -> Self {
        Self {
            session,
            attached: false,
            window: Window::new(),
            expected: 0,
            poll: None,
            polls: 0,
            polled: now,
            heard: now,
            received: 0,
            sent: 0,
            missing: false,
            timeout: timeout(baud),
            silence: SILENCE + stall(baud),
            inbox: Inbox::new(),
            outbox: Outbox::beginning(),
        }
    }

    /// Whether the board answers.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.attached
    }

    /// Takes bytes from the line; what they carry goes into `sink`.
    pub fn input(&mut self, bytes: &[u8], now: Millis, sink: &mut impl Sink) {
        for byte in bytes {
            if self.inbox.take(*byte)
                && let Some((segment, payload)) = self.inbox.segment()
                && segment.session == self.session
            {
                self.heard = now;
                match segment.kind {
                    Kind::Data if !self.attached => {}
                    Kind::Data if segment.number == self.expected => {
                        if payload.len() <= sink.room() {
                            sink.put(payload);
                            self.expected = self.expected.wrapping_add(1);
                            self.received += 1;
                        } else {
                            self.note_missing();
                        }
                    }
                    Kind::Data => {
                        let ahead = segment.number.wrapping_sub(self.expected);
                        if usize::from(ahead) <= WINDOW {
                            self.note_missing();
                        }
                    }
                    Kind::Answer => self.answered(&segment),
                    // Only a host says that.
                    Kind::Reset | Kind::Poll | Kind::Resend => {}
                }
            }
        }
    }

    /// Something before what came is missing, unless it has been asked for already: then this
    /// left before the board heard that.
    fn note_missing(&mut self) {
        if self.poll.is_none_or(|poll| poll.kind != Kind::Resend) {
            self.missing = true;
        }
    }

    fn answered(&mut self, answer: &Segment) {
        let Some(poll) = self.poll.filter(|poll| poll.number == answer.number) else {
            return;
        };
        self.poll = None;
        self.attached = true;
        self.window.acknowledge(answer.expected, answer.room);
        if !self.window.is_acknowledged(poll.next) {
            self.window.go_back();
        }
        // A line does not reorder: all that the board had sent has come, or never will.
        self.missing = answer.next != self.expected;
    }

    /// Whether it takes bytes to send.
    #[must_use]
    pub const fn can_accept(&self) -> bool {
        self.attached && self.window.has_space()
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
    pub fn output(&mut self, now: Millis, sink: &mut impl Sink) -> &[u8] {
        if self.outbox.is_empty() {
            self.compose(now, sink);
        }
        self.outbox.bytes()
    }

    fn compose(&mut self, now: Millis, sink: &mut impl Sink) {
        if now.saturating_sub(self.heard) >= self.silence {
            self.begin_anew(now);
        }
        if let Some(poll) = self.poll
            && now.saturating_sub(poll.at) >= self.timeout
        {
            self.poll = None;
            self.missing |= poll.kind == Kind::Resend;
            self.polled = 0;
        }
        let segment = Segment {
            kind: Kind::Data,
            session: self.session,
            number: 0,
            next: self.window.next(),
            expected: self.expected,
            room: segments(sink.room()),
        };
        if self.poll.is_none() && self.wants_poll(now) {
            self.send_poll(segment, now);
        } else if let Some((number, payload)) = self.window.send() {
            self.outbox.put(&Segment { number, ..segment }, payload);
            self.sent += 1;
        }
    }

    fn wants_poll(&self, now: Millis) -> bool {
        let unacknowledged = !self.window.is_empty() && !self.window.can_send() && self.sent > 0;
        !self.attached
            || self.missing
            || unacknowledged
            || self.received >= HALF
            || self.sent >= HALF
            || now.saturating_sub(self.polled) >= PAUSE
    }

    fn send_poll(&mut self, segment: Segment, now: Millis) {
        let kind = match (self.attached, self.missing) {
            (false, _) => Kind::Reset,
            (true, false) => Kind::Poll,
            (true, true) => Kind::Resend,
        };
        self.polls = self.polls.wrapping_add(1);
        let number = self.polls;
        self.poll = Some(Poll {
            number,
            kind,
            next: self.window.next(),
            at: now,
        });
        self.polled = now;
        (self.received, self.sent, self.missing) = (0, 0, false);
        self.outbox.put(
            &Segment {
                kind,
                number,
                ..segment
            },
            &[],
        );
    }

    /// The board has been started anew, or the line is cut: another session, once it hears.
    fn begin_anew(&mut self, now: Millis) {
        self.session = self.session.wrapping_add(1);
        self.attached = false;
        self.window.reset();
        self.expected = 0;
        self.poll = None;
        self.heard = now;
    }

    /// So many bytes of [`Self::output`] have gone over the line.
    pub fn sent(&mut self, count: usize) {
        self.outbox.sent(count);
    }
}
