// SPDX-License-Identifier: BSD-2-Clause
//! Two boards, the host between them, and what goes wrong on the way.

use crate::bundles;
use crate::hardware::{Hardware, Writer, timers};
use crate::serial::Serial;
use channel::vmm::Phase;
use migration_pd::agent::{Agent, Wake};
use protocol::frame::finish;
use protocol::management::{MoveReport, Stage, StartMove, StatusReport};
use protocol::{
    Answer, Decoder, Event, HEADER_LENGTH, MAX_FRAME, MoveId, Pace, Request, RequestError, kind,
};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use vm::PAGE_SIZE;

/// Pages of the guests' RAM.
pub(crate) const PAGES: usize = 600;
/// How long a source waits.
pub(crate) const TIMEOUT_MS: u32 = 100;

/// Which board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What becomes of a frame between the boards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Arrives,
    IsLost,
    ArrivesTwice,
    /// After the frame that follows it.
    ArrivesLate,
}

/// What the link does to the frame with this number (over both directions), of this kind.
pub(crate) type Link = Box<dyn FnMut(usize, Side, u8) -> Action>;

pub(crate) struct Board {
    pub(crate) hardware: Hardware,
    agent: Agent<'static>,
    decoder: Decoder<Vec<u8>>,
    pub(crate) answers: VecDeque<(u32, Vec<u8>, u8)>,
    pub(crate) events: Vec<Event>,
    woken: bool,
    /// The line that its link goes over, if it does.
    pub(crate) serial: Option<Serial>,
    /// Bytes of frames for the other board, as they were sent.
    pub(crate) transferred: u64,
}

impl Board {
    fn new(mut hardware: Hardware, heap: usize) -> Self {
        let heap: &'static mut [u64] = vec![0; heap / 8].leak();
        let heap = zerocopy::IntoBytes::as_mut_bytes(heap);
        let agent = Agent::new(heap, Box::leak(Box::default()), &mut hardware).unwrap();
        let mut board = Self {
            hardware,
            agent,
            decoder: Decoder::new(vec![0; MAX_FRAME]),
            answers: VecDeque::new(),
            events: Vec::new(),
            woken: true,
            serial: None,
            transferred: 0,
        };
        board.run(true);
        board
    }

    fn run(&mut self, guest: bool) {
        let now = self.hardware.clock.get();
        let heartbeat = self
            .hardware
            .heartbeat
            .is_some_and(|heartbeat| heartbeat <= now);
        if heartbeat {
            self.hardware.heartbeat = None;
        }
        self.woken = false;
        self.agent
            .run(&mut self.hardware, Wake { guest, heartbeat });
    }

    /// Says something to the board.
    fn tell(&mut self, bytes: &[u8]) {
        match &mut self.serial {
            Some(serial) => serial.from_host.extend(bytes),
            None => self.hardware.received.extend(bytes),
        }
    }

    /// Lets its line continue; true if that brought or took anything.
    fn carry(&mut self) -> bool {
        let Some(serial) = &mut self.serial else {
            return false;
        };
        let any = serial.carry(self.hardware.clock.get(), &mut self.hardware);
        self.woken |= any && self.hardware.wants_space > 0;
        any
    }

    /// When something happens here by itself.
    fn next_event(&self) -> Option<u64> {
        let line = self.serial.as_ref().map(Serial::next_event);
        self.hardware.next_event().into_iter().chain(line).min()
    }

    fn is_due(&self) -> bool {
        let now = self.hardware.clock.get();
        self.woken
            || !self.hardware.received.is_empty()
            || self
                .hardware
                .heartbeat
                .is_some_and(|heartbeat| heartbeat <= now)
    }
}

pub(crate) struct World {
    pub(crate) clock: Rc<Cell<u64>>,
    pub(crate) a: Board,
    pub(crate) b: Board,
    pub(crate) link: Link,
    pub(crate) frames: usize,
    late: Option<(Side, Vec<u8>)>,
    next_tag: u32,
}

/// A guest that keeps some pages busy.
pub(crate) const GUEST: Writer = Writer {
    busy: 40,
    used: 300,
};

/// Board A, whose guest was started from what is in its image.
fn started(clock: Rc<Cell<u64>>) -> Hardware {
    let mut hardware = Hardware::new(clock, PAGES, Some(GUEST));
    hardware.image = bundles::pages_of(1);
    hardware.bundle = bundles::identity_of(1);
    hardware
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(PAGES, 1 << 20)
    }

    pub(crate) fn with(pages_at_b: usize, heap: usize) -> Self {
        let clock = Rc::new(Cell::new(1000));
        let a = started(clock.clone());
        let b = Hardware::new(clock.clone(), pages_at_b, None);
        Self {
            a: Board::new(a, heap),
            b: Board::new(b, heap),
            clock,
            link: Box::new(|_, _, _| Action::Arrives),
            frames: 0,
            late: None,
            next_tag: 1,
        }
    }

    /// Two boards, the second one behind a serial line.
    pub(crate) fn over(serial: Serial) -> Self {
        let clock = Rc::new(Cell::new(1000));
        let a = started(clock.clone());
        let mut b = Hardware::new(clock.clone(), PAGES, None);
        b.pace = Serial::pace();
        let mut world = Self {
            a: Board::new(a, 1 << 20),
            b: Board::new(b, 1 << 20),
            clock,
            link: Box::new(|_, _, _| Action::Arrives),
            frames: 0,
            late: None,
            next_tag: 1,
        };
        world.b.serial = Some(serial);
        world
    }

    pub(crate) fn board(&mut self, side: Side) -> &mut Board {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Does one thing; false if nothing is left to do before time passes.
    fn turn(&mut self) -> bool {
        let mut any = false;
        for side in [Side::A, Side::B] {
            let board = self.board(side);
            any |= board.carry();
            board.hardware.catch_up();
            let guest = std::mem::take(&mut board.hardware.news);
            if guest || board.is_due() {
                board.run(guest);
                any = true;
            }
            any |= self.relay(side);
            self.check();
        }
        any
    }

    /// The rule that nothing may break.
    fn check(&self) {
        let runs = |board: &Board| matches!(board.hardware.phase, Phase::Running | Phase::Resuming);
        assert!(!(runs(&self.a) && runs(&self.b)), "the guest runs twice");
    }

    /// Moves what a board has sent.
    fn relay(&mut self, side: Side) -> bool {
        let mut any = false;
        loop {
            let board = self.board(side);
            if let Some(frame) = board.decoder.next() {
                let (kind, tag) = (frame.kind, frame.tag);
                let (payload, bytes) = (frame.payload.to_vec(), frame.bytes.to_vec());
                if kind::is_transfer(kind) {
                    board.transferred += bytes.len() as u64;
                    self.pass_on(side, kind, bytes);
                } else if let Ok(event) = Event::decode(kind, &payload) {
                    board.events.push(event);
                } else {
                    board.answers.push_back((tag, payload, kind));
                }
                any = true;
                continue;
            }
            let heard = match &mut board.serial {
                Some(serial) => &mut serial.at_host,
                None => &mut board.hardware.sent,
            };
            let space = board.decoder.space();
            let count = space.len().min(heard.len());
            if count == 0 {
                break;
            }
            for (byte, sent) in space.iter_mut().zip(heard.drain(..count)) {
                *byte = sent;
            }
            board.decoder.filled(count);
            if board.serial.is_none() && board.hardware.wants_space > 0 {
                board.woken = true;
            }
            any = true;
        }
        any
    }

    fn pass_on(&mut self, from: Side, kind: u8, bytes: Vec<u8>) {
        let number = self.frames;
        self.frames += 1;
        let action = (self.link)(number, from, kind);
        let late = self.late.take();
        let to = self.board(from.other());
        match action {
            Action::Arrives => to.tell(&bytes),
            Action::IsLost => {}
            Action::ArrivesTwice => {
                to.tell(&bytes);
                to.tell(&bytes);
            }
            Action::ArrivesLate => self.late = Some((from.other(), bytes)),
        }
        if let Some((to, bytes)) = late {
            self.board(to).tell(&bytes);
        }
    }

    /// Lets everything happen that happens within `ticks`.
    pub(crate) fn run_for(&mut self, ticks: u64) {
        let end = self.clock.get() + ticks;
        self.run_until(end, |_| false);
    }

    /// Lets things happen until `done`, at most until `end`.
    pub(crate) fn run_until(&mut self, end: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while self.clock.get() < end {
            if done(self) {
                return true;
            }
            if !self.turn() {
                let events = [&self.a, &self.b].map(Board::next_event);
                let next = events.into_iter().flatten().min().unwrap_or(end);
                // At least a tick, so that time never stops.
                self.clock.set(next.min(end).max(self.clock.get() + 1));
            }
        }
        done(self)
    }

    /// Makes a request; the answer's tag.
    pub(crate) fn send(&mut self, side: Side, request: &Request) -> u32 {
        let tag = self.next_tag;
        self.next_tag += 1;
        let mut frame = vec![0; 200];
        let length = request.encode(&mut frame[HEADER_LENGTH..]).unwrap();
        let length = finish(&mut frame, request.kind(), tag, length).unwrap();
        self.board(side).tell(&frame[..length]);
        tag
    }

    /// Makes a request and gives its answer to `read`.
    pub(crate) fn ask<T>(
        &mut self,
        side: Side,
        request: &Request,
        read: impl Fn(Answer<'_>) -> T,
    ) -> T {
        let tag = self.send(side, request);
        let end = self.clock.get() + 10_000_000;
        let answered = self.run_until(end, |world| {
            world
                .board(side)
                .answers
                .iter()
                .any(|(found, ..)| *found == tag)
        });
        assert!(answered, "no answer to {request:?}");
        let board = self.board(side);
        let (_, payload, kind) = board.answers.pop_back().unwrap();
        read(Answer::decode(kind, &payload).unwrap())
    }

    pub(crate) fn act(&mut self, side: Side, request: &Request) -> Result<(), RequestError> {
        self.ask(side, request, |answer| match answer {
            Answer::Accepted => Ok(()),
            Answer::Refused(error) => Err(error),
            other => panic!("{other:?}"),
        })
    }

    pub(crate) fn status(&mut self, side: Side) -> StatusReport {
        self.ask(side, &Request::Status, |answer| match answer {
            Answer::Status(status) => status,
            other => panic!("{other:?}"),
        })
    }

    /// Starts a move with a number greater than any.
    pub(crate) fn start(&mut self, from: Side) -> Result<MoveId, RequestError> {
        self.start_with(from, |_| {})
    }

    /// The same with other options.
    pub(crate) fn start_with(
        &mut self,
        from: Side,
        change: impl FnOnce(&mut StartMove),
    ) -> Result<MoveId, RequestError> {
        let newest = [Side::A, Side::B].map(|side| self.status(side).newest_move.0);
        let id = MoveId(newest.into_iter().max().unwrap_or(0) + 1);
        let paces = [&self.a, &self.b].map(|board| board.hardware.pace);
        let mut start = options(id, paces[0].slower(paces[1]));
        change(&mut start);
        self.act(from, &Request::Start(start)).map(|()| id)
    }

    /// Waits until a move is over on its source; the report.
    pub(crate) fn ended(&mut self, side: Side, id: MoveId) -> MoveReport {
        let end = self.clock.get() + 60_000_000;
        let mut report = None;
        self.run_until(end, |world| {
            report = world
                .board(side)
                .events
                .iter()
                .find_map(|event| match event {
                    Event::MoveEnded(report) if report.id == id => Some(*report),
                    _ => None,
                });
            report.is_some()
        });
        report.unwrap_or_else(|| panic!("move {id} does not end"))
    }

    /// Starts a move that nothing disturbs, and checks that it arrives.
    pub(crate) fn succeed(&mut self, from: Side) -> MoveReport {
        let id = self.start(from).unwrap();
        let report = self.ended(from, id);
        assert_eq!(report.stage, Stage::Gone, "{report:?}");
        self.run_for(10_000);
        self.runs_at(from.other());
        report
    }

    /// Checks that the guest runs here, with all that belongs to it, and that the other board is
    /// empty, ready and clean.
    pub(crate) fn runs_at(&mut self, side: Side) {
        self.runs_but_for_its_time(side);
        assert_eq!(self.board(side).hardware.timer, Some(timers()));
    }

    /// The same, but the guest's count may have continued.
    pub(crate) fn runs_but_for_its_time(&mut self, side: Side) {
        let board = self.board(side);
        board.hardware.catch_up();
        assert_eq!(board.hardware.phase, Phase::Running);
        let steps = board.hardware.steps;
        let pages = board.hardware.ram.pages.len();
        let expected = board.hardware.writer.after(steps, pages);
        assert_eq!(board.hardware.writer, GUEST);
        assert!(steps > 0);
        let wrong = (0..pages).find(|page| board.hardware.ram.pages[*page] != expected[*page]);
        assert_eq!(wrong, None, "a page is not what the guest wrote");
        assert_eq!(board.hardware.vgic, 0x1234_5678);
        assert_eq!(board.hardware.bundle, bundles::identity_of(1));
        assert!(bundles::is_at(&board.hardware, 1), "it cannot start again");
        let other = self.board(side.other());
        assert_eq!(other.hardware.phase, Phase::Empty);
        let zero = [0; PAGE_SIZE];
        assert!(other.hardware.ram.pages.iter().all(|page| *page == zero));
    }
}

/// How to move over links of which the slower one is so fast.
pub(crate) fn options(id: MoveId, pace: Pace) -> StartMove {
    StartMove {
        id,
        seed: [id.0, 77],
        downtime_target_us: 2000,
        downtime_limit_ms: 0,
        max_rounds: 10,
        share: 60,
        bandwidth: 0,
        timeout_ms: TIMEOUT_MS + u32::try_from(pace.silence_ms()).unwrap(),
        pace,
        advance: false,
        accept_core: false,
    }
}
