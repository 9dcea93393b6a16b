// SPDX-License-Identifier: BSD-2-Clause
//! Taking a snapshot: the host as the destination of a move that it calls off.
//!
//! Responsible for: receiving what a source sends, exactly as a board would, and then resuming the guest there.
//! Never: sends what would make the source give the guest up, or leaves it paused when something goes wrong.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::fingerprint::{Fingerprint, Key, PAGE_SIZE};
use protocol::management::{MoveReport, Phase, Stage, StartMove};
use protocol::pace::ACKNOWLEDGE_EVERY;
use protocol::pages::iterate;
use protocol::table::{PageTable, bytes_needed};
use protocol::transfer::{Offer, OfferedBundle};
use protocol::{Answer, Domain, Event, Incarnation, MoveFailure, MoveId, Request, Transfer, kind};
use state::MachineRecordV2;
use state::record::{self, Record};
use zerocopy::IntoBytes as _;

use super::{CapturedMemory, Progress, SnapshotError, State, bundle, event, listen, say, transfer};
use crate::client::{Client, ClientError, Step};
use crate::link::Frame;
use crate::random::random_bits;
use crate::relay::{self, Options};
use crate::timeouts::{BEHIND_BOARDS, REACTION};

/// The largest guest: 16 GiB, four times the RAM of any board that there is an image for.
const MOST_PAGES: u32 = 1 << 22;

/// A guest that was taken.
#[derive(Debug)]
pub struct Taken {
    /// Everything but its memory.
    pub state: State,
    /// Its memory.
    pub memory: CapturedMemory,
    /// How long it was paused, as the host saw it; none for one that was paused anyway.
    pub downtime: Option<Duration>,
}

/// Takes the guest of a board, which continues there as it was.
///
/// # Errors
///
/// [`SnapshotError`]; the guest continues in any case, unless the link broke: then it does after the options' timeout.
pub fn take(
    board: &mut Client,
    options: &Options,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Taken, SnapshotError> {
    let status = relay::ready(board).map_err(Box::new)?;
    let running = match status.phase {
        Phase::Running => true,
        Phase::Stopped => false,
        phase => {
            let address = board.address().clone();
            return Err(SnapshotError::NoGuest { address, phase });
        }
    };
    let pages = pages_of(status.ram_bytes).ok_or_else(|| SnapshotError::RamSize {
        address: board.address().clone(),
        bytes: status.ram_bytes,
    })?;
    let words = usize::try_from(bytes_needed(pages).div_ceil(8)).unwrap_or(0);
    let mut memory = vec![0_u64; words];
    let start = relay::start_request(options, status.newest_move, board.pace());
    let mut receiver = PageTable::new(memory.as_mut_bytes(), pages)
        .map(|table| Receiver::new(&start, table, pages))
        .ok_or_else(|| no_offer(board))?;
    let received = receiver.run(board, &start, options, on_progress);
    if received.is_err() {
        // Best effort: without it the source finds out by its own timeout.
        let _ = board.cancel_move(start.id);
    }
    received?;
    // As it was: running, or paused.
    board.wait_for(status.phase, REACTION)?;
    receiver.finish(board, running)
}

/// What has come of a move.
struct Receiver<'m> {
    id: MoveId,
    incarnation: Incarnation,
    key: Key,
    table: PageTable<'m>,
    memory: CapturedMemory,
    bundle: Option<OfferedBundle>,
    machine: Option<MachineRecordV2>,
    records: [Option<Vec<u8>>; 3],
    /// The number of the next message of data.
    expected: u32,
    pages: u32,
    stopped_at: Option<(Instant, u64)>,
    complete: Option<Instant>,
}

impl<'m> Receiver<'m> {
    fn new(start: &StartMove, mut table: PageTable<'m>, pages: u32) -> Self {
        let key = Key::new(start.seed);
        table.reset(key.fingerprint_of(&[0; PAGE_SIZE]));
        let [incarnation, _] = random_bits();
        Self {
            id: start.id,
            incarnation: Incarnation(incarnation),
            key,
            table,
            memory: CapturedMemory::new(pages),
            bundle: None,
            machine: None,
            records: [None, None, None],
            expected: 0,
            pages: 0,
            stopped_at: None,
            complete: None,
        }
    }

    /// Receives until the source says that the move is over.
    fn run(
        &mut self,
        board: &mut Client,
        start: &StartMove,
        options: &Options,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<(), SnapshotError> {
        let tag = board.next_tag();
        let request = Request::Start(*start);
        let encode = |payload: &mut [u8]| request.encode(payload);
        board.link.writer.send(request.kind(), tag, encode)?;
        loop {
            let silence = options.timeout + BEHIND_BOARDS;
            let Some(frame) = listen(board, silence)? else {
                let address = board.address().clone();
                return Err(SnapshotError::Silent { address });
            };
            if frame.tag == tag
                && let Ok(Answer::Refused(error)) = Answer::decode(frame.kind, frame.payload())
            {
                let (address, step) = (board.address().clone(), Step::Start);
                return Err(ClientError::Refused {
                    address,
                    step,
                    error,
                }
                .into());
            }
            if kind::is_transfer(frame.kind) {
                self.hear(board, &frame)?;
            } else if let Some(Event::MoveEnded(report) | Event::Progress(report)) = event(&frame)
                && report.id == self.id
                && self.follow(board, &report, on_progress)?
            {
                return Ok(());
            }
        }
    }

    /// Follows what the source says of itself; true once the move is over as it should be.
    fn follow(
        &mut self,
        board: &Client,
        report: &MoveReport,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, SnapshotError> {
        if report.stage == Stage::Stopping {
            self.stopped_at
                .get_or_insert_with(|| (Instant::now(), microseconds_since_epoch()));
        }
        on_progress(Progress {
            pages: self.pages,
            total: self.pages.saturating_add(report.figures.dirty_pages),
        });
        if !report.stage.is_end() {
            return Ok(false);
        }
        match (self.complete, report.failure) {
            (Some(_), _) => Ok(true),
            (None, failure) => Err(SnapshotError::CalledOff {
                address: board.address().clone(),
                failure: failure.unwrap_or(MoveFailure::NotKnown),
            }),
        }
    }

    /// A message of the move.
    fn hear(&mut self, board: &mut Client, frame: &Frame) -> Result<(), SnapshotError> {
        let failure = MoveFailure::Malformed { kind: frame.kind };
        let Some(message) = transfer(frame) else {
            return self.give_up(board, failure);
        };
        if message.id() != self.id || self.complete.is_some() {
            return Ok(());
        }
        let taken = match message {
            Transfer::Offer { offer, machine } => self.accept(board, &offer, machine),
            Transfer::Pages { index, body, .. } => {
                self.in_turn(index).and_then(|()| self.take_pages(body))
            }
            Transfer::Record {
                index,
                domain,
                body,
                ..
            } => self.in_turn(index).map(|()| {
                let [vmm, vgic, timer] = &mut self.records;
                *match domain {
                    Domain::Vmm => vmm,
                    Domain::Vgic => vgic,
                    Domain::Timer => timer,
                } = Some(body.to_vec());
            }),
            Transfer::Prepare { index, digest, .. } => {
                self.in_turn(index).and_then(|()| self.check(digest))
            }
            _ => return Ok(()),
        };
        if let Err(failure) = taken {
            return self.give_up(board, failure);
        }
        self.answer(board)
    }

    fn accept(
        &mut self,
        board: &mut Client,
        offer: &Offer,
        machine: &[u8],
    ) -> Result<(), MoveFailure> {
        let here = u64::from(self.table.pages()) * PAGE_SIZE as u64;
        if offer.ram_bytes != here {
            return Err(MoveFailure::RamSize {
                source_bytes: offer.ram_bytes,
                destination_bytes: here,
            });
        }
        let machine = record::decode(machine);
        self.machine = Some(machine.map_err(|_| MoveFailure::Malformed { kind: kind::OFFER })?);
        if let Some(bundle) = offer.bundle {
            if bundle.pages > MOST_PAGES {
                let available = u64::from(MOST_PAGES) * PAGE_SIZE as u64;
                let needed = u64::from(bundle.pages) * PAGE_SIZE as u64;
                return Err(MoveFailure::BundleRoom { needed, available });
            }
            self.memory.add_bundle(bundle.pages);
        }
        self.bundle = offer.bundle;
        let accept = Transfer::Accept {
            id: self.id,
            incarnation: self.incarnation,
            send_bundle: offer.bundle.is_some(),
        };
        // A link that breaks now breaks again at once.
        let _ = say(board, &accept);
        Ok(())
    }

    fn in_turn(&mut self, index: u32) -> Result<(), MoveFailure> {
        let expected = self.expected;
        if index != expected {
            let found = index;
            return Err(MoveFailure::Sequence { expected, found });
        }
        self.expected += 1;
        Ok(())
    }

    fn take_pages(&mut self, body: &[u8]) -> Result<(), MoveFailure> {
        let malformed = MoveFailure::Malformed { kind: kind::PAGES };
        let mut room = [0; PAGE_SIZE];
        for entry in iterate(body) {
            let (number, contents) = entry.map_err(|_| malformed)?;
            let page = contents.unpack(&mut room).map_err(|_| malformed)?;
            if !self.memory.put(number, page) {
                return Err(malformed);
            }
            if number < self.table.pages() {
                let print: Fingerprint = self.key.fingerprint_of(page);
                self.table.sent(number, print);
            }
            self.pages += 1;
        }
        Ok(())
    }

    fn check(&mut self, digest: [u64; 2]) -> Result<(), MoveFailure> {
        if digest != self.table.digest() {
            return Err(MoveFailure::Digest);
        }
        if let Some(offered) = self.bundle {
            let begins = bundle::begins_as(&self.memory, offered);
            let right = bundle::is_right(&self.memory);
            if !matches!((begins, right), (Ok(true), Ok(true))) {
                let identity = offered.identity;
                return Err(MoveFailure::Bundle { identity });
            }
        }
        self.complete = Some(Instant::now());
        Ok(())
    }

    /// Acknowledges, and resumes the guest once everything is here.
    fn answer(&self, board: &mut Client) -> Result<(), SnapshotError> {
        let (id, next) = (self.id, self.expected);
        if self.complete.is_some() {
            let message = Transfer::Aborted {
                id,
                incarnation: self.incarnation,
                failure: MoveFailure::Copied,
            };
            say(board, &message)?;
        } else if next > 0 && next.is_multiple_of(ACKNOWLEDGE_EVERY) {
            say(board, &Transfer::Acknowledge { id, next })?;
        }
        Ok(())
    }

    fn give_up(&self, board: &mut Client, failure: MoveFailure) -> Result<(), SnapshotError> {
        let (id, incarnation) = (self.id, self.incarnation);
        let message = Transfer::Aborted {
            id,
            incarnation,
            failure,
        };
        say(board, &message)?;
        let address = board.address().clone();
        Err(SnapshotError::CalledOff { address, failure })
    }

    /// Makes a machine of what has come.
    fn finish(self, board: &Client, running: bool) -> Result<Taken, SnapshotError> {
        let [vmm, vgic, timer] = &self.records;
        let (stopped, taken_us) = self
            .stopped_at
            .map_or((None, microseconds_since_epoch()), |(at, us)| {
                (Some(at), us)
            });
        let downtime = stopped
            .zip(self.complete)
            .filter(|_| running)
            .map(|(stopped, complete)| complete.saturating_duration_since(stopped));
        let state = State {
            taken_us,
            running,
            machine: self.machine.ok_or_else(|| no_offer(board))?,
            vcpus: decode(board, vmm.as_deref())?,
            vgic: decode(board, vgic.as_deref())?,
            timer: decode(board, timer.as_deref())?,
        };
        Ok(Taken {
            state,
            memory: self.memory,
            downtime,
        })
    }
}

fn decode<T: Record>(board: &Client, bytes: Option<&[u8]>) -> Result<T, SnapshotError> {
    record::decode(bytes.unwrap_or_default()).map_err(|error| SnapshotError::Record {
        address: board.address().clone(),
        error,
    })
}

/// The board did not say properly what its guest is.
/// How many pages a guest's RAM has, if it can be true: what a board says decides what is allocated here.
fn pages_of(ram_bytes: u64) -> Option<u32> {
    let whole = ram_bytes.is_multiple_of(PAGE_SIZE as u64);
    let pages = u32::try_from(ram_bytes / PAGE_SIZE as u64).ok()?;
    (whole && (1..=MOST_PAGES).contains(&pages)).then_some(pages)
}

fn no_offer(board: &Client) -> SnapshotError {
    SnapshotError::CalledOff {
        address: board.address().clone(),
        failure: MoveFailure::Malformed { kind: kind::OFFER },
    }
}

fn microseconds_since_epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_size_that_can_be_true_is_allocated_for() {
        assert_eq!(pages_of(128 << 20), Some(32_768));
        assert_eq!(pages_of(16 << 30), Some(MOST_PAGES));
        for bytes in [
            0,
            1,
            4095,
            (128 << 20) + 1,
            (16 << 30) + 4096,
            u64::MAX,
            !0xfff,
        ] {
            assert_eq!(pages_of(bytes), None, "{bytes}");
        }
    }
}
