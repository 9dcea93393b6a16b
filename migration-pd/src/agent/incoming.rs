// SPDX-License-Identifier: BSD-2-Clause
//! The destination's side of a move: what its machine asks for, done.
//!
//! Responsible for: clearing RAM, taking the bundle, pages and records in order, checking all of it before it
//! says that it is prepared, and the destination's timeout. Must never: let the guest run other
//! than as [`Destination`](crate::handover::Destination) says.

use super::guest::{illegal_value, reason_of};
use super::{Core, Work, ZERO_PAGE};
use crate::bundle::Taking;
use crate::handover::destination::{Action, Arriving, Event, Stage as Arrival};
use crate::port::Port;
use crate::ram::GuestRam;
use channel::{Ticks, timer, vgic, vmm};
use protocol::fingerprint::{Key, split_mix};
use protocol::frame::Frame;
use protocol::management::{Figures, Phase, Stage};
use protocol::pace::ACKNOWLEDGE_EVERY;
use protocol::pages::iterate;
use protocol::transfer::{Offer, OfferedBundle};
use protocol::{Domain, HEADER_LENGTH, Incarnation, MoveFailure, MoveId, Transfer, kind, timeouts};

/// How often a source that waits hears that it does not wait in vain, within its timeout.
const SIGNS_OF_LIFE: u64 = 4;

/// A move to here.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// What was offered last; not necessarily what is being taken.
    offered: Option<Offer>,
    /// What the guest that was offered last is started from, if that is not here.
    pub(super) wanted: Option<OfferedBundle>,
    /// That, as it comes.
    bundle: Option<Taking>,
    key: Option<Key>,
    /// The number of the next message of data.
    expected: u32,
    /// How long the records are that have come, by domain.
    records: [Option<u32>; 3],
    digest: [u64; 2],
    /// Something of the guest is in RAM or in a domain.
    touched: bool,
    timeout_ms: u64,
    heard_at: u64,
    /// When the source was last told that its guest is still awaited.
    told_at: u64,
    pages_total: u32,
    pages: u32,
    bytes: u64,
}

impl Incoming {
    /// What has arrived.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            pages_total: self.pages_total,
            pages_sent: self.pages,
            bytes: self.bytes,
            ..Figures::default()
        }
    }
}

impl Core<'_> {
    pub(super) fn destination_event<P: Port>(&mut self, port: &mut P, event: Event) {
        for action in self.destination.step(event) {
            self.act_as_destination(port, action);
        }
    }

    fn act_as_destination<P: Port>(&mut self, port: &mut P, action: Action) {
        match action {
            Action::Clear => self.begin_to_clear(port),
            Action::Accept { id, incarnation } => {
                // Until now the source had nothing to say.
                self.incoming.heard_at = port.now();
                let send_bundle = self.incoming.bundle.is_some();
                self.outbox.transfer(&Transfer::Accept {
                    id,
                    incarnation,
                    send_bundle,
                });
            }
            Action::Refuse { id, failure } => {
                self.outbox.transfer(&Transfer::Refuse { id, failure });
            }
            Action::Check => {
                let checked = self.check_and_import(port);
                self.destination_event(port, Event::Checked(checked));
            }
            Action::Prepared { id, incarnation } => {
                self.incoming.heard_at = port.now();
                self.outbox
                    .transfer(&Transfer::Prepared { id, incarnation });
            }
            Action::RunGuest => self.resume_guest(port, None),
            Action::Committed { id, incarnation } => {
                self.outbox
                    .transfer(&Transfer::Committed { id, incarnation });
            }
            Action::Aborted {
                id,
                incarnation,
                failure,
            } => self.outbox.transfer(&Transfer::Aborted {
                id,
                incarnation,
                failure,
            }),
            Action::Unknown { id } => self.outbox.transfer(&Transfer::Unknown { id }),
            Action::DiscardGuest => {
                if core::mem::take(&mut self.incoming.touched) {
                    self.discard_guest(port);
                }
            }
            Action::Ended { id, failure } => {
                self.incoming.touched = false;
                let figures = self.incoming.figures();
                self.ended(id, failure.map_or(Ok(Stage::Taken), Err), figures);
            }
        }
    }

    /// A message for the destination.
    pub(super) fn hear_source<P: Port>(&mut self, port: &mut P, frame: Frame<'_>) {
        let current = self.destination.arriving().map(|arriving| arriving.id);
        let message = match Transfer::decode(frame.kind, frame.payload) {
            Ok(message) => message,
            Err(_) => {
                let kind = frame.kind;
                self.destination_event(port, Event::Failed(MoveFailure::Malformed { kind }));
                return;
            }
        };
        if Some(message.id()) == current {
            self.incoming.heard_at = port.now();
            self.incoming.bytes += (HEADER_LENGTH + frame.payload.len()) as u64;
        }
        match message {
            Transfer::Offer { offer, machine } => self.offered(port, offer, machine),
            Transfer::Pages { id, index, body } => {
                self.data(port, id, index, |core, port| core.take_pages(port, body));
            }
            Transfer::Record {
                id,
                index,
                domain,
                body,
            } => self.data(port, id, index, |core, port| {
                core.take_record(port, domain, body)
            }),
            Transfer::Prepare { id, index, digest } => {
                self.data(port, id, index, |core, _| {
                    core.incoming.digest = digest;
                    Ok(())
                });
                self.destination_event(port, Event::Prepare { id });
            }
            Transfer::Commit {
                id,
                incarnation: to,
                advance_us,
            } => {
                let event = match self.let_time_continue(port, id, to, advance_us) {
                    Ok(()) => Event::Commit { id, to },
                    Err(failure) => Event::Failed(failure),
                };
                self.destination_event(port, event);
            }
            Transfer::Abort { id, failure } => {
                self.destination_event(port, Event::Abort { id, failure });
            }
            // Not for a destination.
            _ => {}
        }
    }

    fn offered<P: Port>(&mut self, port: &mut P, offer: Offer, machine: &[u8]) {
        let admissible = self.admit(port, &offer, machine);
        let [first, second] = offer.seed;
        let fresh = split_mix(first ^ split_mix(second ^ split_mix(port.now())));
        self.incoming.offered = Some(offer);
        let arriving = Arriving {
            id: offer.id,
            resume: offer.resume,
        };
        self.destination_event(
            port,
            Event::Offer {
                arriving,
                admissible,
                fresh,
            },
        );
    }

    fn begin_to_clear<P: Port>(&mut self, port: &mut P) {
        let Some(offer) = self.incoming.offered else {
            return;
        };
        let key = Key::new(offer.seed);
        let zero = key.fingerprint_of(ZERO_PAGE);
        self.incoming = Incoming {
            bundle: self.incoming.wanted.map(Taking::new),
            key: Some(key),
            timeout_ms: offer.timeout_ms.into(),
            heard_at: port.now(),
            told_at: port.now(),
            pages_total: port.ram().pages(),
            ..Incoming::default()
        };
        if let Some(table) = &mut self.table {
            table.reset(zero);
        }
    }

    pub(super) fn work_as_destination<P: Port>(&mut self, port: &mut P) -> Work {
        let Arrival::Clearing { arriving } = self.destination.stage() else {
            return Work::Waiting;
        };
        if self.clear_some(port) {
            self.destination_event(port, Event::Cleared);
        } else {
            self.show_life(port, arriving.id);
        }
        Work::More
    }

    /// Tells the source now and then that its guest is awaited, however long clearing takes: of its messages, none has come.
    fn show_life<P: Port>(&mut self, port: &mut P, id: MoveId) {
        let now = port.now();
        if now.saturating_sub(self.incoming.told_at)
            >= self.ticks((self.incoming.timeout_ms / SIGNS_OF_LIFE).max(1))
        {
            self.incoming.told_at = now;
            self.outbox.transfer(&Transfer::Acknowledge { id, next: 0 });
        }
    }

    /// A message of data, in its turn.
    fn data<P: Port>(
        &mut self,
        port: &mut P,
        id: MoveId,
        index: u32,
        take: impl FnOnce(&mut Self, &mut P) -> Result<(), MoveFailure>,
    ) {
        let Arrival::Receiving { arriving } = self.destination.stage() else {
            return;
        };
        if arriving.id != id {
            return;
        }
        let expected = self.incoming.expected;
        let taken = if index == expected {
            take(self, port)
        } else {
            let found = index;
            Err(MoveFailure::Sequence { expected, found })
        };
        if let Err(failure) = taken {
            self.destination_event(port, Event::Failed(failure));
            return;
        }
        self.incoming.expected += 1;
        let next = self.incoming.expected;
        if next.is_multiple_of(ACKNOWLEDGE_EVERY) {
            self.outbox.transfer(&Transfer::Acknowledge { id, next });
        }
    }

    fn take_pages<P: Port>(&mut self, port: &mut P, body: &[u8]) -> Result<(), MoveFailure> {
        let malformed = MoveFailure::Malformed { kind: kind::PAGES };
        let (Some(key), Some(table)) = (&self.incoming.key, &mut self.table) else {
            return Err(malformed);
        };
        self.incoming.touched = true;
        self.cleared = 0;
        for entry in iterate(body) {
            let (page, contents) = entry.map_err(|_| malformed)?;
            let contents = contents.unpack(self.scratch.page).map_err(|_| malformed)?;
            let ram = port.ram();
            if let Some(page) = page.checked_sub(ram.pages()) {
                let bundle = self.incoming.bundle.as_mut().ok_or(malformed)?;
                bundle.take(port, page, contents)?;
                self.incoming.pages += 1;
                continue;
            }
            ram.write(page, contents);
            // Of what is in RAM now, not of what came: the digest is to speak for RAM.
            table.sent(page, ram.fingerprint(page, key));
            self.incoming.pages += 1;
        }
        Ok(())
    }

    fn take_record<P: Port>(
        &mut self,
        port: &mut P,
        domain: Domain,
        body: &[u8],
    ) -> Result<(), MoveFailure> {
        let failure = MoveFailure::Record { domain, reason: 0 };
        if !port.import(domain, body) {
            return Err(failure);
        }
        let length = u32::try_from(body.len()).map_err(|_| failure)?;
        self.incoming.touched = true;
        *self.record_slot(domain) = Some(length);
        Ok(())
    }

    fn record_slot(&mut self, domain: Domain) -> &mut Option<u32> {
        let [vmm, vgic, timer] = &mut self.incoming.records;
        match domain {
            Domain::Vmm => vmm,
            Domain::Vgic => vgic,
            Domain::Timer => timer,
        }
    }

    /// Everything has come: is it what was sent, and will every domain take its record?
    fn check_and_import<P: Port>(&mut self, port: &mut P) -> Result<(), MoveFailure> {
        let digest = self.table.as_ref().map(|table| table.digest());
        if digest != Some(self.incoming.digest) {
            return Err(MoveFailure::Digest);
        }
        if let Some(bundle) = self.incoming.bundle.as_ref().filter(|it| !it.is_whole()) {
            let identity = bundle.bundle().identity;
            return Err(MoveFailure::Bundle { identity });
        }
        // vmm-pd last: only its record makes a guest of the parts.
        for domain in [Domain::Timer, Domain::Vgic, Domain::Vmm] {
            let absent = MoveFailure::Record { domain, reason: 0 };
            let length = self.record_slot(domain).ok_or(absent)?;
            import(port, domain, length, Ticks(0))?;
        }
        self.look_at_guest(port);
        match self.guest.phase() {
            Phase::Imported => Ok(()),
            phase => Err(MoveFailure::Occupied { phase }),
        }
    }

    /// Advances the count of a guest that is about to run: the record of its time once more, with that added.
    ///
    /// Before the word that makes it this board's, so that a failure still leaves it at its source. Each commit says
    /// how long the guest has been paused when that commit was sent: only the one that counts is carried out.
    fn let_time_continue<P: Port>(
        &mut self,
        port: &mut P,
        id: MoveId,
        to: Incarnation,
        advance_us: u64,
    ) -> Result<(), MoveFailure> {
        if advance_us == 0 || !self.destination.is_prepared(id, to) {
            return Ok(());
        }
        let domain = Domain::Timer;
        let failed = MoveFailure::Record { domain, reason: 0 };
        let length = self.record_slot(domain).ok_or(failed)?;
        let ticks = u128::from(advance_us) * u128::from(self.frequency) / 1_000_000;
        let ticks = u64::try_from(ticks).map_err(|_| failed)?;
        import(port, domain, length, Ticks(ticks))
    }

    /// When the destination stops waiting.
    pub(super) fn destination_deadline(&self) -> Option<u64> {
        let times = match self.destination.stage() {
            Arrival::Receiving { .. } => timeouts::FOR_DATA,
            Arrival::Prepared { .. } => timeouts::FOR_COMMIT,
            _ => return None,
        };
        // Half a frame on a slow line is a sign of life too.
        let heard_at = self.incoming.heard_at.max(self.partial_since.unwrap_or(0));
        let timeout = self.ticks(self.incoming.timeout_ms.saturating_mul(times));
        Some(heard_at.saturating_add(timeout))
    }

    pub(super) fn destination_timed_out<P: Port>(&mut self, port: &mut P) {
        self.destination_event(port, Event::Failed(MoveFailure::Silence));
    }
}

/// Lets a domain take its record over; of the timer's, the count with `advance` added.
fn import<P: Port>(
    port: &mut P,
    domain: Domain,
    length: u32,
    advance: Ticks,
) -> Result<(), MoveFailure> {
    let answer = match domain {
        Domain::Vmm => port.vmm(&vmm::Request::Import { length }),
        Domain::Vgic => port.vgic(&vgic::Request::Import { length }),
        Domain::Timer => port.timer(&timer::Request::Import { length, advance }),
    };
    if let Some(illegal) = answer.as_ref().ok().and_then(illegal_value) {
        return Err(illegal.into());
    }
    let imported = answer.and_then(|answer| match domain {
        Domain::Vmm => vmm::decode_answer(&answer),
        Domain::Vgic => vgic::Answer::decode(&answer).map(|answer| answer.value),
        Domain::Timer => timer::decode_answer(&answer),
    });
    match reason_of(imported) {
        Ok(_) => Ok(()),
        Err(reason) => Err(MoveFailure::Record { domain, reason }),
    }
}
