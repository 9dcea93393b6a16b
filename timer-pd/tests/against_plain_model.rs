// SPDX-License-Identifier: BSD-2-Clause
//! The timers against a plain model: a list of deadlines on a clock without an end.
//!
//! Whatever is asked for in whatever order: the board's timer is set to the earliest deadline,
//! nobody is told too early, everybody is told once, and nobody is forgotten.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the plain model counts modulo 2^64 on purpose"
)]

use channel::timer::{Refusal, Request, VirtualTimer, decode_answer};
use channel::{Message, ProtocolError, Ticks, VcpuId};
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use timer_pd::board::BoardTimer;
use timer_pd::{Caller, Regions, Service};

/// A board whose clock is moved by the test.
#[derive(Debug, Clone, Default)]
struct Board {
    now: Rc<Cell<u64>>,
    deadline: Rc<Cell<Option<u64>>>,
}

impl BoardTimer for Board {
    fn frequency(&self) -> u32 {
        62_500_000
    }

    fn now(&self) -> Ticks {
        Ticks(self.now.get())
    }

    fn set(&mut self, deadline: Option<Ticks>) {
        self.deadline.set(deadline.map(|ticks| ticks.0));
    }
}

#[derive(Debug)]
struct NoRegions;

impl Regions for NoRegions {
    fn export(&mut self) -> &mut [u8] {
        &mut []
    }

    fn import(&mut self, _: usize) -> Option<&[u8]> {
        None
    }
}

/// The plain model. Counts have no end here: 128 bits.
#[derive(Debug)]
struct Plain {
    /// The guest's count minus the board's, while time runs.
    ahead: Option<i128>,
    /// The guest's count while it is paused.
    standing: u64,
    loaded: [bool; VCPUS],
    /// Deadlines of sleepers, of the guest's count; and those reported due.
    sleepers: [Option<u64>; VCPUS],
    due: [bool; VCPUS],
    /// Deadlines of sleepers, on the board's clock.
    until: [u128; VCPUS],
}

const VCPUS: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Event {
    Advance(u64),
    Sleep(usize, u64),
    Doze(usize, u64),
    Wake(usize),
    Due,
    Freeze,
    Load(usize),
    Save(usize),
    Release,
    Reset,
}

struct Pair {
    service: Service<Board, NoRegions>,
    board: Board,
    plain: Plain,
}

impl Plain {
    fn new() -> Self {
        Self {
            ahead: None,
            standing: 0,
            loaded: [false; VCPUS],
            sleepers: [None; VCPUS],
            due: [false; VCPUS],
            until: [0; VCPUS],
        }
    }

    /// The guest's count, which has 64 bits.
    fn count(&self, now: u64) -> u64 {
        match self.ahead {
            Some(ahead) => (i128::from(now) + ahead).rem_euclid(1 << 64) as u64,
            None => self.standing,
        }
    }

    fn set_until(&mut self, vcpu: usize, deadline: u64, now: u64) {
        let left = deadline.saturating_sub(self.count(now));
        self.until[vcpu] = u128::from(now) + u128::from(left);
    }

    /// The earliest deadline on the board's clock, as far as that goes.
    fn next(&self) -> Option<u64> {
        let sleepers =
            (0..VCPUS).filter(|vcpu| self.ahead.is_some() && self.sleepers[*vcpu].is_some());
        let next = sleepers.map(|vcpu| self.until[vcpu]).min();
        next.map(|deadline| deadline.min(u64::MAX.into()) as u64)
    }

    /// Who is due now and was not before.
    fn expire(&mut self, now: u64) -> bool {
        let mut any = false;
        for vcpu in 0..VCPUS {
            let reached = self.until[vcpu] <= u128::from(now) || now == u64::MAX;
            if self.ahead.is_some() && self.sleepers[vcpu].is_some() && reached {
                self.sleepers[vcpu] = None;
                self.due[vcpu] = true;
                any = true;
            }
        }
        any
    }
}

fn handle<B: BoardTimer, R: Regions>(
    service: &mut Service<B, R>,
    caller: Caller,
    mut message: Message,
) -> Message {
    service.handle(caller, &mut message);
    message
}

fn id(vcpu: usize) -> VcpuId {
    VcpuId::new(vcpu).unwrap()
}

fn refused(refusal: Refusal) -> Result<u64, ProtocolError> {
    Err(ProtocolError::Refused {
        reason: refusal as u64,
    })
}

impl Pair {
    fn new(start: u64) -> Self {
        let board = Board::default();
        board.now.set(start);
        let service = Service::new(board.clone(), NoRegions);
        let mut pair = Self {
            service,
            board,
            plain: Plain::new(),
        };
        pair.apply(Event::Reset);
        pair
    }

    fn ask(&mut self, request: Request) -> Result<u64, ProtocolError> {
        let answer = handle(&mut self.service, Caller::Vmm, request.encode());
        decode_answer(&answer)
    }

    fn apply(&mut self, event: Event) {
        let now = self.board.now.get();
        match event {
            Event::Advance(ticks) => self.advance(ticks),
            Event::Sleep(vcpu, deadline) => self.sleep(vcpu, deadline),
            Event::Doze(vcpu, ticks) => {
                self.sleep(vcpu, self.plain.count(now).wrapping_add(ticks));
            }
            Event::Wake(vcpu) => {
                self.ask(Request::Wake { vcpu: id(vcpu) }).unwrap();
                self.plain.sleepers[vcpu] = None;
                self.plain.due[vcpu] = false;
            }
            Event::Due => {
                self.plain.expire(now);
                let due = std::mem::take(&mut self.plain.due);
                let bits = (0..VCPUS).fold(0, |bits, vcpu| bits | u64::from(due[vcpu]) << vcpu);
                assert_eq!(self.ask(Request::Due), Ok(bits));
            }
            Event::Freeze => {
                let count = self.plain.count(now);
                self.plain.standing = count;
                self.plain.ahead = None;
                self.plain.loaded = [false; VCPUS];
                assert_eq!(self.ask(Request::Freeze), Ok(count));
            }
            Event::Load(vcpu) => {
                let load = Request::Load { vcpu: id(vcpu) };
                let answer = handle(&mut self.service, Caller::Vmm, load.encode());
                assert_eq!(
                    VirtualTimer::decode(&answer).is_ok(),
                    self.plain.ahead.is_none()
                );
                self.plain.loaded[vcpu] = true;
            }
            Event::Save(vcpu) => {
                let timer = VirtualTimer::default();
                let answer = self.ask(Request::Save {
                    vcpu: id(vcpu),
                    timer,
                });
                assert_eq!(answer.is_ok(), self.plain.ahead.is_none());
                self.plain.loaded[vcpu] = false;
            }
            Event::Release => self.release(now),
            Event::Reset => {
                self.ask(Request::Reset { vcpus: VCPUS as u8 }).unwrap();
                self.plain = Plain::new();
            }
        }
        assert_eq!(
            self.board.deadline.get(),
            self.plain.next(),
            "after {event:?}"
        );
    }

    fn sleep(&mut self, vcpu: usize, deadline: u64) {
        let now = self.board.now.get();
        let answer = self.ask(Request::Sleep {
            vcpu: id(vcpu),
            deadline: Ticks(deadline),
        });
        if self.plain.ahead.is_none() {
            assert_eq!(answer, refused(Refusal::Frozen));
            return;
        }
        let passed = deadline <= self.plain.count(now);
        assert_eq!(answer, Ok(passed.into()));
        self.plain.due[vcpu] = false;
        self.plain.sleepers[vcpu] = (!passed).then_some(deadline);
        self.plain.set_until(vcpu, deadline, now);
    }

    fn release(&mut self, now: u64) {
        let answer = self.ask(Request::Release);
        if self.plain.ahead.is_some() {
            assert_eq!(answer, refused(Refusal::Running));
        } else if self.plain.loaded != [true; VCPUS] {
            assert_eq!(answer, refused(Refusal::NotLoaded));
        } else {
            let offset = now.wrapping_sub(self.plain.standing);
            assert_eq!(answer, Ok(offset));
            self.plain.ahead = Some(i128::from(self.plain.standing) - i128::from(now));
            for vcpu in 0..VCPUS {
                if let Some(deadline) = self.plain.sleepers[vcpu] {
                    self.plain.set_until(vcpu, deadline, now);
                }
            }
        }
    }

    /// Time passes; the board interrupts as soon as its deadline is reached.
    fn advance(&mut self, ticks: u64) {
        // A board's count takes centuries to its end.
        let now = self.board.now.get().saturating_add(ticks).min(u64::MAX - 1);
        self.board.now.set(now);
        if self
            .board
            .deadline
            .get()
            .is_some_and(|deadline| deadline <= now)
        {
            assert_eq!(self.service.interrupt(), self.plain.expire(now));
        }
    }
}

fn any_ticks() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..8, 4 => 0u64..1000, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn any_event() -> impl Strategy<Value = Event> {
    let vcpu = 0..VCPUS;
    prop_oneof![
        6 => any_ticks().prop_map(Event::Advance),
        3 => (vcpu.clone(), any_ticks()).prop_map(|(vcpu, at)| Event::Sleep(vcpu, at)),
        6 => (vcpu.clone(), any_ticks()).prop_map(|(vcpu, ticks)| Event::Doze(vcpu, ticks)),
        2 => vcpu.clone().prop_map(Event::Wake),
        3 => Just(Event::Due),
        1 => Just(Event::Freeze),
        5 => vcpu.clone().prop_map(Event::Load),
        1 => vcpu.prop_map(Event::Save),
        3 => Just(Event::Release),
    ]
}

proptest! {
    #[test]
    fn everybody_is_told_once_and_in_time(
        start in any_ticks(),
        running in any::<bool>(),
        events in prop::collection::vec(any_event(), 1..100),
    ) {
        let mut pair = Pair::new(start.min(u64::MAX - 1));
        if running {
            (0..VCPUS).for_each(|vcpu| pair.apply(Event::Load(vcpu)));
            pair.apply(Event::Release);
        }
        for event in events {
            pair.apply(event);
        }
    }
}
