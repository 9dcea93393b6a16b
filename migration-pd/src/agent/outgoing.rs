// SPDX-License-Identifier: BSD-2-Clause
//! The source's side of a move: what its machine asks for, done.
//!
//! Responsible for: copying in slices, the window of messages under way, the share of the board's
//! time that a move may take, and the source's timeout. Must never: resume the guest or
//! discard it other than as [`Source`] says.

mod bundle;
mod downtime;

use super::admission::check_coverage;
use super::{Core, SLICE, Work};
use crate::copier::{Copier, Slice};
use crate::handover::Source;
use crate::handover::source::{Action, Event};
use crate::outbox::PageSink;
use crate::port::Port;
use bundle::Sending;
use downtime::Rounds;
use protocol::failure::MoveFailure;
use protocol::frame::Frame;
use protocol::management::{Figures, Stage, StartMove};
use protocol::pace::{ACKNOWLEDGE_EVERY, Pace};
use protocol::table::PageTable;
use protocol::transfer::Offer;
use protocol::{Domain, MoveId, Transfer, timeouts};

/// With no more messages than this under way, an acknowledgement need not be due: a destination
/// sends one for every so many.
const QUIET: u32 = ACKNOWLEDGE_EVERY;
/// The move's share of the board's time, and its bandwidth, are kept to in periods of so many ms, as in `system.xml`.
const PERIOD_MS: u64 = 10;
/// Progress is reported at most every so many ms, and at the end of each round.
const REPORT_MS: u64 = 100;

/// What remains to be sent once the guest is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    #[default]
    Pages,
    Record(Domain),
    Prepare,
}

/// A move away from here.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    options: Option<StartMove>,
    copier: Option<Copier>,
    /// What the guest is started from, on its way.
    bundle: Sending,
    /// The guest should be paused as soon as the link is quiet.
    converged: bool,
    last: Last,
    /// The number of the next message of data.
    next: u32,
    /// All before this one have arrived.
    acknowledged: u32,
    bytes: u64,
    began_at: u64,
    stopped_at: Option<u64>,
    /// What the pre-copy rounds over RAM have taken.
    rounds: Rounds,
    heard_at: u64,
    reported_at: u64,
    period_began: u64,
    worked_in_period: u64,
    /// The bandwidth asked for allows nothing before this.
    not_before: u64,
}

impl Outgoing {
    /// A new move.
    pub(super) fn begin(&mut self, options: &StartMove, now: u64) {
        *self = Self {
            options: Some(*options),
            began_at: now,
            heard_at: now,
            ..Self::default()
        };
    }

    const fn under_way(&self) -> u32 {
        self.next - self.acknowledged
    }

    /// How fast the slowest link is that the move goes over.
    fn pace(&self) -> Pace {
        self.options.map_or(Pace::UNLIMITED, |options| options.pace)
    }

    fn timeout_ms(&self, paused: bool) -> u64 {
        self.options
            .map_or(0, |options| timeouts::of_source_ms(&options, paused))
    }
}

impl Core<'_> {
    pub(super) fn source_event<P: Port>(&mut self, port: &mut P, event: Event) {
        let before = self.source;
        let (next, actions) = before.step(event);
        self.source = next;
        let now = port.now();
        if next != before {
            self.outgoing.heard_at = now;
            if next != Source::Idle {
                self.progress(now);
            }
        }
        for action in actions {
            self.act_as_source(port, action);
        }
    }

    fn act_as_source<P: Port>(&mut self, port: &mut P, action: Action) {
        match action {
            Action::Offer => self.offer(port),
            Action::Copy => {
                let options = self.outgoing.options;
                let seed = options.map_or([0; 2], |options| options.seed);
                let table = self.table.as_mut();
                self.outgoing.copier = table.map(|table| Copier::new(seed, table));
                self.outgoing.rounds = Rounds::begin(port.now());
            }
            Action::StopGuest => {
                self.outgoing.stopped_at = Some(port.now());
                self.stop_guest(port);
            }
            Action::Finish => {
                self.outgoing.last = Last::Pages;
                let compressed = self.outgoing.pace().is_line();
                if let Some(copier) = &mut self.outgoing.copier {
                    copier.begin_last(compressed);
                }
            }
            Action::Commit { id, to } => {
                let advance_us = self.time_gone_on(port.now());
                self.outbox.transfer(&Transfer::Commit {
                    id,
                    incarnation: to,
                    advance_us,
                });
            }
            Action::Abort { id, failure } => {
                self.outbox.drop_bulk();
                self.outbox.transfer(&Transfer::Abort { id, failure });
            }
            Action::ResumeGuest => {
                let advance = self.outgoing.options.is_some_and(|options| options.advance);
                let behind_since = self.outgoing.stopped_at.filter(|_| advance);
                self.resume_guest(port, behind_since);
            }
            Action::DiscardGuest => self.discard_guest(port),
            Action::Ended { id, failure } => {
                let figures = self.figures(port.now());
                self.outgoing.copier = None;
                self.ended(id, failure.map_or(Ok(Stage::Gone), Err), figures);
            }
        }
    }

    fn offer<P: Port>(&mut self, port: &mut P) {
        let (Some(options), Some(leaving)) = (self.outgoing.options, self.source.leaving()) else {
            return;
        };
        let length = match self.own_machine(port) {
            Ok(length) => length,
            Err(reason) => {
                let domain = Domain::Vmm;
                let failure = MoveFailure::Export { domain, reason };
                self.source_event(port, Event::Failed(failure));
                return;
            }
        };
        let machine = self.record.get(..length).unwrap_or_default();
        if let Err(failure) = check_coverage(machine) {
            self.source_event(port, Event::Failed(failure));
            return;
        }
        self.outgoing.bundle = self.find_bundle(port);
        let offer = Offer {
            id: leaving.id,
            seed: options.seed,
            ram_bytes: super::ram_bytes(port),
            resume: leaving.resume,
            timeout_ms: options.timeout_ms,
            accept_core: options.accept_core,
            bundle: self.outgoing.bundle.offered(),
        };
        let machine = self.record.get(..length).unwrap_or_default();
        self.outbox.transfer(&Transfer::Offer { offer, machine });
    }

    /// A message for the source.
    pub(super) fn hear_destination<P: Port>(&mut self, port: &mut P, frame: Frame<'_>) {
        let Some(leaving) = self.source.leaving() else {
            return;
        };
        let Ok(message) = Transfer::decode(frame.kind, frame.payload) else {
            let kind = frame.kind;
            self.source_event(port, Event::Failed(MoveFailure::Malformed { kind }));
            return;
        };
        if message.id() != leaving.id {
            return;
        }
        self.outgoing.heard_at = port.now();
        let event = match message {
            Transfer::Acknowledge { next, .. } => {
                let possible = self.outgoing.acknowledged..=self.outgoing.next;
                if possible.contains(&next) {
                    self.outgoing.acknowledged = next;
                }
                return;
            }
            Transfer::Accept {
                id,
                incarnation,
                send_bundle,
            } => {
                if matches!(self.source, Source::Offering { .. }) && !send_bundle {
                    self.outgoing.bundle = Sending::default();
                }
                Event::Accepted {
                    id,
                    by: incarnation,
                }
            }
            Transfer::Refuse { id, failure } => Event::Refused { id, failure },
            Transfer::Prepared { id, incarnation } => {
                // From then on there is no way back.
                let late = self.has_been_paused_too_long(self.outgoing.heard_at);
                let by = incarnation;
                late.map_or(Event::Prepared { id, by }, Event::Failed)
            }
            Transfer::Committed { id, incarnation } => Event::Committed {
                id,
                by: incarnation,
            },
            Transfer::Aborted {
                id,
                incarnation,
                failure,
            } => Event::Aborted {
                id,
                by: incarnation,
                failure,
            },
            // Unknown leaves the doubt to the operator; the rest is not for a source.
            _ => return,
        };
        self.source_event(port, event);
    }

    pub(super) fn work_as_source<P: Port>(&mut self, port: &mut P) -> Work {
        match self.source {
            Source::Copying { leaving, .. } => self.copy(port, leaving.id),
            Source::Finishing { leaving, .. } => self.finish(port, leaving.id),
            _ => Work::Waiting,
        }
    }

    fn copy<P: Port>(&mut self, port: &mut P, id: MoveId) -> Work {
        let now = port.now();
        if self.outgoing.converged {
            let quiet = self.outgoing.under_way() <= QUIET && self.outbox.has_left();
            if quiet {
                self.source_event(port, Event::Converged);
                return Work::More;
            }
            return Work::Waiting;
        }
        if let Some(until) = self.held_back_until(now) {
            self.outgoing.rounds.hold_back(now);
            return Work::Until(until);
        }
        self.outgoing.rounds.resume(now);
        if self.outgoing.bundle.left() > 0 {
            return self.copy_bundle(port, id, now);
        }
        let slice = self.slice(port, id, |copier, parts| {
            let (ram, table, scratch, sink) = parts;
            copier.copy(ram, table, scratch, sink, SLICE)
        });
        let after = port.now();
        self.outgoing.worked_in_period += after.saturating_sub(now);
        let closed = match slice {
            Slice::More => return self.more(after),
            Slice::Blocked => self.close_pages(after),
            Slice::Done => {
                self.outgoing.rounds.complete(after);
                self.outgoing.converged = self.has_converged();
                self.close_pages(after);
                self.progress(after);
                if let Some(failure) = self.would_be_paused_too_long() {
                    self.source_event(port, Event::Failed(failure));
                    return Work::More;
                }
                self.outgoing.reported_at = after;
                true
            }
        };
        if closed {
            self.more(after)
        } else {
            Work::Waiting
        }
    }

    fn more(&mut self, now: u64) -> Work {
        if now.saturating_sub(self.outgoing.reported_at) >= self.ticks(REPORT_MS) {
            self.outgoing.reported_at = now;
            self.progress(now);
        }
        Work::More
    }

    fn finish<P: Port>(&mut self, port: &mut P, id: MoveId) -> Work {
        match self.outgoing.last {
            Last::Pages => {
                let slice = self.slice(port, id, |copier, parts| {
                    let (ram, table, scratch, sink) = parts;
                    copier.finish(ram, table, scratch, sink, SLICE)
                });
                let now = port.now();
                match slice {
                    Slice::More => {
                        // A message that is full leaves while the round continues.
                        let limit = self.outgoing.pace().message_bytes();
                        if !self.outbox.has_room_for_page(limit) {
                            self.close_pages(now);
                        }
                        Work::More
                    }
                    Slice::Blocked if self.close_pages(now) => Work::More,
                    Slice::Blocked => Work::Waiting,
                    Slice::Done => {
                        self.close_pages(now);
                        self.outgoing.last = Last::Record(Domain::Vmm);
                        Work::More
                    }
                }
            }
            _ if !self.outbox.bulk_is_empty() => Work::Waiting,
            Last::Record(domain) => {
                self.send_record(port, id, domain);
                Work::More
            }
            Last::Prepare => {
                let index = self.outgoing.next;
                let digest = self.table.as_ref().map_or([0; 2], |table| table.digest());
                self.outbox.bulk(&Transfer::Prepare { id, index, digest });
                self.outgoing.next += 1;
                self.source_event(port, Event::Sent);
                Work::More
            }
        }
    }

    fn send_record<P: Port>(&mut self, port: &mut P, id: MoveId, domain: Domain) {
        match self.export(port, domain) {
            Ok(length) => {
                let body = self.record.get(..length).unwrap_or_default();
                let index = self.outgoing.next;
                self.outbox.bulk(&Transfer::Record {
                    id,
                    index,
                    domain,
                    body,
                });
                self.outgoing.next += 1;
                self.outgoing.bytes += length as u64;
                self.outgoing.last = match domain {
                    Domain::Vmm => Last::Record(Domain::Vgic),
                    Domain::Vgic => Last::Record(Domain::Timer),
                    Domain::Timer => Last::Prepare,
                };
            }
            Err(reason) => {
                let failure = MoveFailure::Export { domain, reason };
                self.source_event(port, Event::Failed(failure));
            }
        }
    }

    /// Lets the copier work on everything it needs.
    fn slice<'a, P: Port>(
        &'a mut self,
        port: &'a mut P,
        id: MoveId,
        work: impl FnOnce(&mut Copier, Parts<'_, '_, P::Ram>) -> Slice,
    ) -> Slice {
        let pace = self.outgoing.pace();
        let window_open = self.outgoing.under_way() < pace.window();
        let (Some(copier), Some(table)) = (&mut self.outgoing.copier, &mut self.table) else {
            return Slice::Blocked;
        };
        let mut sink = PageSink {
            outbox: &mut self.outbox,
            id,
            index: self.outgoing.next,
            limit: pace.message_bytes(),
            window_open,
        };
        work(copier, (port.ram(), table, &mut self.scratch, &mut sink))
    }

    /// Lets the message of pages leave; false if there is none.
    fn close_pages(&mut self, now: u64) -> bool {
        let length = self.outbox.close_pages() as u64;
        if length == 0 {
            return false;
        }
        let quiet = self.outgoing.under_way() <= QUIET;
        let outgoing = &mut self.outgoing;
        if quiet {
            // An acknowledgement begins to be due.
            outgoing.heard_at = now;
        }
        outgoing.next += 1;
        outgoing.bytes += length;
        let bandwidth = outgoing.options.map_or(0, |options| options.bandwidth);
        let ticks = length.saturating_mul(self.frequency).checked_div(bandwidth);
        let period = self.frequency.saturating_mul(PERIOD_MS) / 1000;
        if let Some(ticks) = ticks {
            // What a heartbeat came too late for is made good.
            let earliest = now.saturating_sub(period);
            outgoing.not_before = outgoing.not_before.max(earliest).saturating_add(ticks);
        }
        true
    }

    /// The guest's share of the board's time, and the bandwidth, come before the move.
    fn held_back_until(&mut self, now: u64) -> Option<u64> {
        let period = self.ticks(PERIOD_MS);
        let outgoing = &mut self.outgoing;
        if now.saturating_sub(outgoing.period_began) >= period {
            outgoing.period_began = now;
            outgoing.worked_in_period = 0;
        }
        let share = outgoing.options.map_or(100, |options| options.share);
        let allowed = period * u64::from(share.clamp(1, 100)) / 100;
        let exhausted = share < 100 && outgoing.worked_in_period >= allowed;
        let until = if exhausted {
            outgoing.period_began + period
        } else {
            outgoing.not_before
        };
        (until > now).then_some(until)
    }

    /// By how much the guest's time is to have advanced since it was stopped, in µs: for as long as
    /// that is now, if that was asked for. A guest that was paused before stays as it is.
    fn time_gone_on(&self, now: u64) -> u64 {
        let asked_for = self.outgoing.options.is_some_and(|options| options.advance);
        let ran = self.source.leaving().is_some_and(|leaving| leaving.resume);
        let since = self.outgoing.stopped_at.filter(|_| asked_for && ran);
        since.map_or(0, |then| self.micros(now.saturating_sub(then)))
    }

    /// What the move has cost so far.
    pub(super) fn figures(&self, now: u64) -> Figures {
        let outgoing = &self.outgoing;
        let since = |then: u64| self.micros(now.saturating_sub(then));
        let mut figures = Figures {
            bytes: outgoing.bytes,
            elapsed_us: since(outgoing.began_at),
            downtime_us: outgoing.stopped_at.map_or(0, since),
            ..Figures::default()
        };
        if let (Some(copier), Some(table)) = (&outgoing.copier, &self.table) {
            figures.rounds = copier.rounds();
            figures.pages_total = table.pages();
            figures.pages_scanned = copier.scanned();
            figures.pages_sent = copier.pages_sent() + outgoing.bundle.sent();
            figures.pages_zero = copier.zeros();
            figures.dirty_pages = table.unsent() + outgoing.bundle.left();
        }
        figures
    }

    /// When the source stops waiting, for the other board or for its guest's sake.
    pub(super) fn source_deadline(&self) -> Option<u64> {
        let downtime = self.downtime_ends();
        self.times_out_at().into_iter().chain(downtime).min()
    }

    fn times_out_at(&self) -> Option<u64> {
        let outgoing = &self.outgoing;
        let running = matches!(
            self.source,
            Source::Offering { .. } | Source::Copying { .. }
        );
        // One that was paused before misses nothing.
        let resume = self.source.leaving().is_some_and(|leaving| leaving.resume);
        let paused = resume && !running;
        let milliseconds = match self.source {
            Source::Idle => return None,
            Source::Copying { .. } | Source::Finishing { .. } => {
                let due = outgoing.under_way() > QUIET || !self.outbox.has_left();
                if !due {
                    return None;
                }
                outgoing.timeout_ms(paused)
            }
            Source::Offering { .. } | Source::Stopping { .. } | Source::Preparing { .. } => {
                outgoing.timeout_ms(paused)
            }
            Source::InDoubt { .. } => timeouts::COMMIT_AGAIN_MS,
        };
        Some(outgoing.heard_at.saturating_add(self.ticks(milliseconds)))
    }

    pub(super) fn source_timed_out<P: Port>(&mut self, port: &mut P) {
        let now = port.now();
        self.outgoing.heard_at = now;
        let event = match (self.has_been_paused_too_long(now), self.source) {
            (Some(failure), _) => Event::Failed(failure),
            // It is the guest that is being waited for.
            (None, Source::Stopping { .. }) => Event::Failed(MoveFailure::Export {
                domain: Domain::Vmm,
                reason: 0,
            }),
            _ => Event::Silence,
        };
        self.source_event(port, event);
    }
}

/// What a slice works on.
type Parts<'a, 'm, R> = (
    &'a R,
    &'a mut PageTable<'m>,
    &'a mut crate::copier::Scratch<'m>,
    &'a mut PageSink<'a, 'm>,
);
