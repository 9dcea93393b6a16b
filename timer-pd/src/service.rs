// SPDX-License-Identifier: BSD-2-Clause
//! Requests in, answers out, and the board's timer set to the next thing that is due.
//!
//! Responsible for: who may ask for what, and that the board's timer is always set to the earliest
//! deadline. It must never let a peer domain's nonsense do more than be refused.

use crate::board::BoardTimer;
use crate::timers::Timers;
use channel::timer::{ANSWER, Count, Refusal, Request};
use channel::{Message, Ticks};
use state::record;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// `vmm-pd`.
    Vmm,
    /// `migration-pd`.
    Migration,
}

/// The most bytes that a record of this machine has.
pub const MAX_RECORD: usize = 256;

/// The memory regions of the domain.
pub trait Regions {
    /// The region that records are exported into. Nobody else writes it.
    fn export(&mut self) -> &mut [u8];

    /// A private copy of the first `length` bytes of the region that records are imported from;
    /// nothing if that is more than [`MAX_RECORD`].
    fn import(&mut self, length: usize) -> Option<&[u8]>;
}

/// The domain: the machine's timers, the board's, and the regions for records.
#[derive(Debug)]
pub struct Service<B, R> {
    timers: Timers,
    board: B,
    regions: R,
}

impl<B: BoardTimer, R: Regions> Service<B, R> {
    /// No machine yet; the board's timer is off.
    pub fn new(board: B, regions: R) -> Self {
        let mut service = Self {
            timers: Timers::default(),
            board,
            regions,
        };
        service.set_board_timer();
        service
    }

    /// The board's timer.
    pub const fn board_mut(&mut self) -> &mut B {
        &mut self.board
    }

    /// The regions.
    pub const fn regions_mut(&mut self) -> &mut R {
        &mut self.regions
    }

    /// Carries out the request that `message` is, and puts the answer in its place.
    #[inline]
    pub fn handle(&mut self, caller: Caller, message: &mut Message) {
        let Ok(request) = Request::decode(message) else {
            *message = Message::not_understood();
            return;
        };
        let allowed = match (caller, request) {
            (_, Request::Export | Request::Import { .. }) => true,
            (caller, _) => caller == Caller::Vmm,
        };
        let carried_out = match request {
            _ if !allowed => Err(Refusal::NotYours),
            Request::Load { vcpu } => self.timers.load(vcpu).map(|timer| {
                *message = timer.encode();
            }),
            Request::Count => {
                *message = self.count().encode();
                Ok(())
            }
            _ => self.carry_out(request).map(|value| {
                message.restart(ANSWER);
                message.push(value);
            }),
        };
        if let Err(refusal) = carried_out {
            *message = Message::refused(refusal as u64);
        }
    }

    fn count(&self) -> Count {
        Count {
            count: self.timers.count(self.board.now()),
            frequency: self.board.frequency(),
        }
    }

    /// The requests that are answered with one word.
    #[inline]
    fn carry_out(&mut self, request: Request) -> Result<u64, Refusal> {
        let now = self.board.now();
        let mut value = 0;
        match request {
            Request::Reset { vcpus } => self.timers.reset(vcpus)?,
            Request::Freeze => value = self.timers.freeze(now).0,
            Request::Save { vcpu, timer } => return self.timers.save(vcpu, timer).map(|()| 0),
            Request::Load { vcpu } => return self.timers.load(vcpu).map(|_| 0),
            Request::Count => return Ok(self.count().count.0),
            Request::Release => value = self.timers.release(now)?.0,
            Request::Sleep { vcpu, deadline } => {
                let sleeps = self.timers.sleep(vcpu, deadline, now)?;
                value = u64::from(!sleeps);
            }
            Request::Alarm { deadline } => {
                value = u64::from(!self.timers.set_alarm(deadline, now)?);
            }
            Request::Wake { vcpu } => self.timers.wake(vcpu)?,
            Request::Due => value = self.timers.collect(now).into(),
            Request::Export => return self.export(),
            Request::Import { length, advance } => self.import(length, advance)?,
        }
        self.set_board_timer();
        Ok(value)
    }

    fn export(&mut self) -> Result<u64, Refusal> {
        let exported = self.timers.export(self.board.frequency())?;
        let length = record::encode(&exported, self.regions.export());
        // A frozen machine's record is in range, and the region larger than any: system.xml.
        length
            .map(|length| length as u64)
            .map_err(|_| Refusal::BadRecord)
    }

    fn import(&mut self, length: u32, advance: Ticks) -> Result<(), Refusal> {
        let length = usize::try_from(length).map_err(|_| Refusal::BadRecord)?;
        let bytes = self.regions.import(length).ok_or(Refusal::BadRecord)?;
        let imported = record::decode(bytes).map_err(|_| Refusal::BadRecord)?;
        self.timers
            .import(&imported, advance, self.board.frequency())
    }

    /// The board's timer interrupted, or somebody else did in its name: true if sleepers are due,
    /// of which `vmm-pd` is to be notified. Sets it to what is due next, so that it interrupts no
    /// longer.
    pub fn interrupt(&mut self) -> bool {
        let now = self.board.now();
        let due = self.timers.expire(now);
        self.set_board_timer();
        due
    }

    fn set_board_timer(&mut self) {
        self.board.set(self.timers.next());
    }
}
