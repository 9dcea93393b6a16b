// SPDX-License-Identifier: BSD-2-Clause
//! The agent: one board's end of its link.
//!
//! Responsible for: answering the host, and driving the board's side of a move: it turns what
//! happens into events of the [`handover`](crate::handover) machines and does what they ask for.
//! Must never: wait. [`Agent::run`] does what can be done now, in slices between which it looks
//! at the link, leaves word of what should wake it, and returns.

mod admission;
mod guest;
mod incoming;
mod management;
mod outgoing;
mod registers;
mod report;

use crate::copier::{Compressor, Scratch};
use crate::handover::{Destination, Source};
use crate::outbox::Outbox;
use crate::port::Port;
use crate::ram::GuestRam;
use guest::Guest;
use incoming::Incoming;
use outgoing::Outgoing;
use protocol::fingerprint::{PAGE_SIZE, Page};
use protocol::frame::{Decoder, Frame};
use protocol::heap::{self, COMPRESSED_ROOM, MAX_RECORD};
use protocol::management::{MoveReport, Phase};
use protocol::table::PageTable;
use protocol::{MAX_FRAME, Pace, kind};
use thiserror::Error;

/// Frames taken from the link between two slices of work.
const FRAMES_A_TURN: usize = 4;
/// Pages looked at in a slice: a third of a millisecond under emulation, less on a board.
const SLICE: u32 = 256;
/// After so long a slice that clears pages ends, in ms: a page may take far longer than the rest. Under QEMU one does that
/// held a guest's programs, because each store to it has all that was translated from that page looked through. So a page
/// is cleared in parts.
const SLICE_MS: u64 = 1;
/// What woke the domain; the link is always looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wake {
    /// `vmm-pd`: the guest's phase has changed.
    pub guest: bool,
    /// `heartbeat-pd`: a while has passed.
    pub heartbeat: bool,
}

/// What is left to do after a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// More can be done now.
    More,
    /// Nothing until something happens.
    Waiting,
    /// Nothing until the counter says this.
    Until(u64),
}

/// The memory given is too small even to talk about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("migration_heap has {available} bytes and needs {needed}")]
pub struct HeapTooSmall {
    /// Bytes needed.
    pub needed: u64,
    /// Bytes there are.
    pub available: u64,
}

/// One board's end of its link.
#[derive(Debug)]
pub struct Agent<'m> {
    decoder: Decoder<&'m mut [u8]>,
    core: Core<'m>,
}

/// All of it but the decoder, whose frames it works on.
#[derive(Debug)]
struct Core<'m> {
    outbox: Outbox<'m>,
    /// None if the heap is too small for guest RAM.
    table: Option<PageTable<'m>>,
    heap_bytes: u64,
    scratch: Scratch<'m>,
    record: &'m mut [u8; MAX_RECORD],
    guest: Guest,
    source: Source,
    destination: Destination,
    outgoing: Outgoing,
    incoming: Incoming,
    /// The pages below this number are zero and nobody has them; the others may hold what a guest left.
    cleared: u32,
    /// The last move that ended here.
    last: Option<MoveReport>,
    /// When the last byte of an incomplete frame came.
    partial_since: Option<u64>,
    /// A heartbeat was asked for, and has not come.
    heartbeat_comes: bool,
    frequency: u64,
    /// How fast the link is.
    pace: Pace,
}

impl<'m> Agent<'m> {
    /// An agent that works in `heap`, which is aligned to 8 bytes, and with `compressor`, on the
    /// board behind `port`.
    ///
    /// # Errors
    ///
    /// [`HeapTooSmall`] if not even the buffers fit. If only the table for the guest's pages does
    /// not, the agent works and refuses moves.
    pub fn new<P: Port>(
        heap: &'m mut [u8],
        compressor: &'m mut Compressor,
        port: &mut P,
    ) -> Result<Self, HeapTooSmall> {
        let available = heap.len() as u64;
        let pages = port.ram().pages();
        let frequency = port.frequency().max(1);
        let pace = port.pace();
        Self::carve(heap, compressor, pages, frequency, pace).ok_or(HeapTooSmall {
            needed: heap::needed(pages),
            available,
        })
    }

    fn carve(
        heap: &'m mut [u8],
        compressor: &'m mut Compressor,
        pages: u32,
        frequency: u64,
        pace: Pace,
    ) -> Option<Self> {
        let heap_bytes = heap.len() as u64;
        let (rest, compressed) = heap.split_last_chunk_mut::<COMPRESSED_ROOM>()?;
        let (received, rest) = rest.split_first_chunk_mut::<MAX_FRAME>()?;
        let (messages, rest) = rest.split_first_chunk_mut::<MAX_FRAME>()?;
        let (bulk, rest) = rest.split_first_chunk_mut::<MAX_FRAME>()?;
        let (record, rest) = rest.split_first_chunk_mut::<MAX_RECORD>()?;
        let (page, rest) = rest.split_first_chunk_mut::<PAGE_SIZE>()?;
        Some(Self {
            decoder: Decoder::new(received),
            core: Core {
                outbox: Outbox::new(messages, bulk),
                table: PageTable::new(rest, pages),
                heap_bytes,
                scratch: Scratch {
                    page,
                    compressed,
                    compressor,
                },
                record,
                guest: Guest::default(),
                source: Source::Idle,
                destination: Destination::default(),
                outgoing: Outgoing::default(),
                incoming: Incoming::default(),
                cleared: 0,
                last: None,
                partial_since: None,
                heartbeat_comes: false,
                frequency,
                pace,
            },
        })
    }

    /// Does everything that can be done now.
    pub fn run<P: Port>(&mut self, port: &mut P, wake: Wake) {
        if wake.heartbeat {
            self.core.heartbeat_comes = false;
        }
        if wake.guest {
            self.core.look_at_guest(port);
        }
        loop {
            let received = self.receive(port);
            let now = port.now();
            self.give_up_partial_frame(now);
            self.core.check_timeouts(port, now);
            let work = self.core.work(port);
            let waiting = self.core.outbox.waiting();
            self.core.outbox.drain(|bytes| port.send(bytes));
            port.flush();
            let blocked = self.core.outbox.waiting();
            // What has left makes room for what could not be begun.
            if received || work == Work::More || blocked < waiting {
                continue;
            }
            if !port.wait(blocked) && self.core.can_wait(port, work) {
                return;
            }
        }
    }

    /// Takes some frames from the link; false if there was nothing.
    fn receive<P: Port>(&mut self, port: &mut P) -> bool {
        let mut frames = 0;
        let mut any = false;
        while frames < FRAMES_A_TURN {
            if let Some(frame) = self.decoder.next() {
                self.core.partial_since = None;
                self.core.frame(port, frame);
                frames += 1;
                any = true;
                continue;
            }
            let count = port.receive(self.decoder.space());
            if count == 0 {
                break;
            }
            self.decoder.filled(count);
            self.core.partial_since = Some(port.now());
            any = true;
        }
        if !self.decoder.is_partial() {
            self.core.partial_since = None;
        }
        any
    }

    fn give_up_partial_frame(&mut self, now: u64) {
        let timeout = self.core.ticks(self.core.pace.partial_frame_ms());
        if self
            .core
            .partial_since
            .is_some_and(|since| now.saturating_sub(since) >= timeout)
        {
            self.decoder.give_up();
            self.core.partial_since = None;
        }
    }
}

impl Core<'_> {
    fn frame<P: Port>(&mut self, port: &mut P, frame: Frame<'_>) {
        match frame.kind {
            kind::HELLO..=kind::LOOK => self.request(port, frame),
            kind::OFFER
            | kind::PAGES
            | kind::RECORD
            | kind::PREPARE
            | kind::COMMIT
            | kind::ABORT => self.hear_source(port, frame),
            kind::ACCEPT
            | kind::REFUSE
            | kind::ACKNOWLEDGE
            | kind::PREPARED
            | kind::COMMITTED
            | kind::ABORTED
            | kind::UNKNOWN => self.hear_destination(port, frame),
            // Not for a board, or of a protocol that we do not speak.
            _ => {}
        }
    }

    /// A slice of work.
    fn work<P: Port>(&mut self, port: &mut P) -> Work {
        match (self.source, self.destination.arriving()) {
            (Source::Idle, None) => self.work_without_a_move(port),
            (Source::Idle, Some(_)) => self.work_as_destination(port),
            _ => self.work_as_source(port),
        }
    }

    /// Between guests: nothing of the last one stays in RAM. The next is accepted meanwhile, and finds less left to do.
    fn work_without_a_move<P: Port>(&mut self, port: &mut P) -> Work {
        if self.guest.phase() == Phase::Empty && !self.clear_some(port) {
            Work::More
        } else {
            Work::Waiting
        }
    }

    /// Clears a slice of what is to be cleared; true if nothing is left.
    fn clear_some<P: Port>(&mut self, port: &mut P) -> bool {
        let pages = port.ram().pages();
        let end = self.cleared.saturating_add(SLICE).min(pages);
        let mut until = None;
        while self.cleared < end {
            if !port.ram().clear_some(self.cleared) {
                self.cleared += 1;
                continue;
            }
            let now = port.now();
            if now >= *until.get_or_insert(now.saturating_add(self.ticks(SLICE_MS))) {
                break;
            }
        }
        self.cleared == pages
    }

    /// Whoever was not heard for too long is given up.
    fn check_timeouts<P: Port>(&mut self, port: &mut P, now: u64) {
        if self
            .source_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.source_timed_out(port);
        }
        if self
            .destination_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.destination_timed_out(port);
        }
    }

    /// Sees to it that the agent looks again in time for what is due next; false if that is now.
    fn can_wait<P: Port>(&mut self, port: &mut P, work: Work) -> bool {
        let until = match work {
            Work::Until(until) => Some(until),
            Work::More | Work::Waiting => None,
        };
        let partial = self
            .partial_since
            .map(|since| since.saturating_add(self.ticks(self.pace.partial_frame_ms())));
        let due = [
            until,
            partial,
            self.source_deadline(),
            self.destination_deadline(),
        ];
        let Some(next) = due.into_iter().flatten().min() else {
            return true;
        };
        if next <= port.now() {
            return false;
        }
        // By a clock that no guest can touch, and so without a say in when: rather too often than too late.
        if !core::mem::replace(&mut self.heartbeat_comes, true) {
            port.ask_for_heartbeat();
        }
        true
    }

    const fn ticks(&self, milliseconds: u64) -> u64 {
        milliseconds.saturating_mul(self.frequency) / 1000
    }

    fn micros(&self, ticks: u64) -> u64 {
        let micros = u128::from(ticks) * 1_000_000 / u128::from(self.frequency);
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}

/// A page of zeros.
const ZERO_PAGE: &Page = &[0; PAGE_SIZE];

/// How many bytes of RAM the board's guest has.
fn ram_bytes<P: Port>(port: &mut P) -> u64 {
    port.ram().bytes()
}
