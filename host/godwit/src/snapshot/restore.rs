// SPDX-License-Identifier: BSD-2-Clause
//! Restoring a snapshot: the host as the source of a move.
//!
//! Responsible for: offering what a file holds to an empty board, and saying whether the guest is there now. Never:
//! changes the file, or offers what a guest would notice.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::fingerprint::{Key, PAGE_SIZE, Page};
use protocol::management::{Phase, StartMove};
use protocol::pages::{Contents, ENTRY_LENGTH, append};
use protocol::table::{PageTable, bytes_needed};
use protocol::transfer::Offer;
use protocol::{Domain, Incarnation, MAX_PAYLOAD, MoveFailure, MoveId, Transfer};
use state::admission::{self, OtherCore};
use state::legal::Processor;
use zerocopy::IntoBytes as _;

use super::file::encode;
use super::{Progress, SnapshotError, SnapshotFile, State, listen, say, transfer};
use crate::client::Client;
use crate::relay::{self, Options};
use crate::timeouts::{self, ARRIVAL};

/// The most pages in a message; what is left of a frame is for the message's head.
const PAGES_A_MESSAGE: usize = MAX_PAYLOAD / (PAGE_SIZE + ENTRY_LENGTH);
/// How often the board is told that the guest is its own, once a second.
const COMMITS: u32 = 10;

/// What the guest's clock does about the time since the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Advance {
    /// It has been paused.
    #[default]
    None,
    /// It has advanced by so much.
    By(Duration),
    /// It has advanced since the snapshot was taken, by the host's clock.
    SinceTaken,
}

/// How to restore a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreOptions {
    /// Leave the guest paused.
    pub paused: bool,
    /// What its clock does about the time between.
    pub advance: Advance,
    /// What becomes of a core that the guest does not know of.
    pub other_core: OtherCore,
}

/// A guest that was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Pages that were sent.
    pub pages: u32,
    /// How long it took.
    pub total: Duration,
    /// What the guest is doing.
    pub phase: Phase,
}

/// Puts a snapshot's guest onto an empty board.
///
/// # Errors
///
/// [`SnapshotError`]; the board is empty afterwards unless it is [`SnapshotError::Unconfirmed`].
pub fn restore(
    file: &SnapshotFile,
    board: &mut Client,
    options: &RestoreOptions,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Restored, SnapshotError> {
    let began = Instant::now();
    let status = relay::ready(board).map_err(Box::new)?;
    if status.phase != Phase::Empty {
        return Err(SnapshotError::Occupied {
            address: board.address().clone(),
            phase: status.phase,
        });
    }
    let here = board.describe()?;
    let admitted = admission::compare(&file.state().machine, &here, options.other_core);
    admitted.map_err(|refusal| {
        let address = board.address().clone();
        SnapshotError::Incompatible { address, refusal }
    })?;
    let processor = Processor::of(&here.baseline.constants);
    // As the board will.
    let mut vcpus = file.state().vcpus.clone();
    processor.adopt(&mut vcpus);
    processor.check(&vcpus).map_err(|illegal| {
        let address = board.address().clone();
        SnapshotError::Illegal { address, illegal }
    })?;
    let moves = Options {
        other_core: options.other_core,
        ..Options::default()
    };
    let start = relay::start_request(&moves, status.newest_move, board.pace());
    let mut state = file.state().clone();
    advance_clock(&mut state, options.advance);
    let mut sender = Sender::new(board, &start);
    let sent = sender.send(file, &state, !options.paused, on_progress);
    if let Err(error) = sent {
        sender.abort();
        return Err(error);
    }
    sender.commit()?;
    let wanted = if options.paused {
        Phase::Imported
    } else {
        Phase::Running
    };
    let status = sender.board.wait_for(wanted, ARRIVAL)?;
    Ok(Restored {
        pages: sender.pages,
        total: began.elapsed(),
        phase: status.phase,
    })
}

/// Advances the machine's count. Timers that were due meanwhile fire when the guest runs, as after a long pause.
pub(super) fn advance_clock(state: &mut State, advance: Advance) {
    let by = match advance {
        Advance::None => return,
        Advance::By(by) => by,
        Advance::SinceTaken => SystemTime::now()
            .duration_since(UNIX_EPOCH + Duration::from_micros(state.taken_us))
            .unwrap_or_default(),
    };
    let ticks = by.as_nanos() * u128::from(state.timer.frequency) / 1_000_000_000;
    let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
    state.timer.count = state.timer.count.wrapping_add(ticks);
}

struct Sender<'a> {
    board: &'a mut Client,
    id: MoveId,
    seed: [u64; 2],
    timeout_ms: u32,
    accept_core: bool,
    incarnation: Option<Incarnation>,
    /// The board has not got what the guest is started from.
    send_bundle: bool,
    prepared: bool,
    next: u32,
    acknowledged: u32,
    pages: u32,
}

impl<'a> Sender<'a> {
    fn new(board: &'a mut Client, start: &StartMove) -> Self {
        Self {
            board,
            id: start.id,
            seed: start.seed,
            timeout_ms: start.timeout_ms,
            accept_core: start.accept_core,
            incarnation: None,
            send_bundle: false,
            prepared: false,
            next: 0,
            acknowledged: 0,
            pages: 0,
        }
    }

    /// Everything up to the word that the board can run the guest.
    fn send(
        &mut self,
        file: &SnapshotFile,
        state: &State,
        resume: bool,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<(), SnapshotError> {
        let machine = encode(&state.machine).map_err(|error| self.unencodable(error))?;
        let offer = Offer {
            id: self.id,
            seed: self.seed,
            ram_bytes: state.machine.ram_size,
            resume,
            timeout_ms: self.timeout_ms,
            accept_core: self.accept_core,
            bundle: file.bundle(),
        };
        let machine = &machine;
        self.say(&Transfer::Offer { offer, machine })?;
        self.hear_until(|sender| sender.incarnation.is_some())?;
        let digest = self.send_pages(file, on_progress)?;
        self.send_records(state)?;
        let (id, index) = (self.id, self.next);
        self.say(&Transfer::Prepare { id, index, digest })?;
        self.hear_until(|sender| sender.prepared)
    }

    /// Sends the bundle, if the board wants it, and the pages that are not zero; gives the digest over all pages of guest
    /// RAM.
    fn send_pages(
        &mut self,
        file: &SnapshotFile,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<[u64; 2], SnapshotError> {
        let key = Key::new(self.seed);
        let words = usize::try_from(bytes_needed(file.pages()).div_ceil(8)).unwrap_or(0);
        let mut memory = vec![0_u64; words];
        let mut table = PageTable::new(memory.as_mut_bytes(), file.pages());
        let mut page = [0; PAGE_SIZE];
        if let Some(table) = &mut table {
            table.reset(key.fingerprint_of(&page));
        }
        let wanted = file.bundle().filter(|_| self.send_bundle);
        let bundle = wanted.map_or(0, |bundle| bundle.pages);
        let total = used(file).saturating_add(bundle);
        let mut body = Body::new(self.board);
        // The bundle's pages come first, each of them.
        let behind = (0..bundle).map(|number| file.pages().saturating_add(number));
        for number in behind.chain(0..file.pages()) {
            let is_used = file.read(number, &mut page)?;
            let is_ram = number < file.pages();
            if is_ram && !is_used {
                continue;
            }
            if let Some(table) = table.as_mut().filter(|_| is_ram) {
                table.sent(number, key.fingerprint_of(&page));
            }
            self.send_page(&mut body, number, &page)?;
            on_progress(Progress {
                pages: self.pages,
                total,
            });
        }
        self.send_body(&mut body)?;
        Ok(table.map_or([0; 2], |table| table.digest()))
    }

    fn send_page(
        &mut self,
        body: &mut Body,
        number: u32,
        page: &Page,
    ) -> Result<(), SnapshotError> {
        self.pages += 1;
        if !body.put(number, page) {
            self.send_body(body)?;
            body.put(number, page);
        }
        Ok(())
    }

    /// Sends what is in the body, which is empty then.
    fn send_body(&mut self, body: &mut Body) -> Result<(), SnapshotError> {
        let filled = std::mem::take(&mut body.filled);
        if filled == 0 {
            return Ok(());
        }
        let (id, index) = (self.id, self.next);
        let body = body.bytes.get(..filled).unwrap_or_default();
        self.data(&Transfer::Pages { id, index, body })
    }

    fn send_records(&mut self, state: &State) -> Result<(), SnapshotError> {
        let records = [
            (Domain::Vmm, encode(&state.vcpus)),
            (Domain::Vgic, encode(&state.vgic)),
            (Domain::Timer, encode(&state.timer)),
        ];
        for (domain, record) in records {
            let record = record.map_err(|error| self.unencodable(error))?;
            self.data(&Transfer::Record {
                id: self.id,
                index: self.next,
                domain,
                body: &record,
            })?;
        }
        Ok(())
    }

    /// Sends a message of data, once there are not too many under way.
    fn data(&mut self, message: &Transfer<'_>) -> Result<(), SnapshotError> {
        let window = self.board.pace().window();
        self.hear_until(|sender| sender.next - sender.acknowledged < window)?;
        self.say(message)?;
        self.next += 1;
        Ok(())
    }

    /// Tells the board that the guest is its own, until it says so itself.
    fn commit(&mut self) -> Result<(), SnapshotError> {
        let unconfirmed = |board: &Client| SnapshotError::Unconfirmed {
            address: board.address().clone(),
        };
        let Some(incarnation) = self.incarnation else {
            return Err(unconfirmed(self.board));
        };
        let id = self.id;
        for _ in 0..COMMITS {
            let commit = Transfer::Commit {
                id,
                incarnation,
                // What its clock does is in the record already.
                advance_us: 0,
            };
            if say(self.board, &commit).is_err() {
                break;
            }
            let deadline = Instant::now() + Duration::from_secs(1) + self.board.allowance();
            while let Ok(Some(frame)) = self.board.link.reader.read(deadline) {
                match transfer(&frame) {
                    Some(Transfer::Committed { id, .. }) if id == self.id => return Ok(()),
                    Some(Transfer::Aborted { id, failure, .. }) if id == self.id => {
                        return Err(self.called_off(failure));
                    }
                    _ => {}
                }
            }
        }
        Err(unconfirmed(self.board))
    }

    /// Calls the move off, as far as the link still carries.
    fn abort(&mut self) {
        let (id, failure) = (self.id, MoveFailure::Operator);
        let _ = say(self.board, &Transfer::Abort { id, failure });
    }

    /// Listens until something is so.
    fn hear_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), SnapshotError> {
        while !done(self) {
            let Some(frame) = listen(self.board, timeouts::MOVE)? else {
                let address = self.board.address().clone();
                return Err(SnapshotError::Silent { address });
            };
            match transfer(&frame) {
                Some(message) if message.id() == self.id => self.hear(&message)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: &Transfer<'_>) -> Result<(), SnapshotError> {
        match *message {
            Transfer::Accept {
                incarnation,
                send_bundle,
                ..
            } => {
                self.incarnation = Some(incarnation);
                self.send_bundle = send_bundle;
            }
            Transfer::Acknowledge { next, .. }
                if (self.acknowledged..=self.next).contains(&next) =>
            {
                self.acknowledged = next;
            }
            Transfer::Prepared { incarnation, .. } => {
                self.prepared = self.incarnation == Some(incarnation);
            }
            Transfer::Refuse { failure, .. } | Transfer::Aborted { failure, .. } => {
                return Err(self.called_off(failure));
            }
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, message: &Transfer<'_>) -> Result<(), SnapshotError> {
        Ok(say(self.board, message)?)
    }

    fn called_off(&self, failure: MoveFailure) -> SnapshotError {
        let address = self.board.address().clone();
        SnapshotError::CalledOff { address, failure }
    }

    fn unencodable(&self, error: state::record::RecordError) -> SnapshotError {
        let address = self.board.address().clone();
        SnapshotError::Record { address, error }
    }
}

/// Pages on their way into one message.
struct Body {
    bytes: Vec<u8>,
    filled: usize,
}

impl Body {
    /// As long as the board's link can do with.
    fn new(board: &Client) -> Self {
        let pages = (board.pace().message_bytes() / PAGE_SIZE).min(PAGES_A_MESSAGE);
        Self {
            bytes: vec![0; pages * (PAGE_SIZE + ENTRY_LENGTH)],
            filled: 0,
        }
    }

    /// Adds a page; false if there is no room.
    fn put(&mut self, number: u32, page: &Page) -> bool {
        let filled = append(&mut self.bytes, self.filled, number, &Contents::Plain(page));
        self.filled = filled.unwrap_or(self.filled);
        filled.is_some()
    }
}

/// How many pages of a snapshot are not zero.
fn used(file: &SnapshotFile) -> u32 {
    let used = (0..file.pages()).filter(|page| file.kind(*page) != super::PageKind::Zero);
    u32::try_from(used.count()).unwrap_or(u32::MAX)
}
