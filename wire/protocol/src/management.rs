// SPDX-License-Identifier: BSD-2-Clause
//! What the operator's program and a board say to each other.
//!
//! Responsible for: requests, answers and events, with their encoding. Every request has one
//! answer, which carries its tag; a host that hears none asks again, so requests are safe to
//! repeat. Must never: carry a guest's memory, or its registers unless the operator asks for those
//! of a paused guest.

use super::failure::{Domain, MoveFailure, RequestError};
use super::wire::{WireError, decode, encode};
use super::{MoveId, Pace, kind};
use hang::Hang;
use serde::{Deserialize, Serialize};
pub use vm::{Failure, Phase, Statistics};
use vm::{MAX_VCPUS, codes};

codes! {
    /// How far a move is on one board.
    pub enum Stage {
        /// Source: has asked the destination.
        Offering = 1,
        /// Source: copies RAM while the guest runs.
        Copying = 2,
        /// Source: pauses the guest.
        Stopping = 3,
        /// Source: sends what changed last, and the records.
        Finishing = 4,
        /// Source: everything is sent; the destination checks it.
        Preparing = 5,
        /// Source: has handed over and not heard that the destination took over. The guest is
        /// paused here and runs there or nowhere.
        InDoubt = 6,
        /// Source, ended: the guest is on the destination.
        Gone = 7,
        /// Destination: takes data.
        Receiving = 8,
        /// Destination: has everything, checked, and waits for the word.
        Prepared = 9,
        /// Destination, ended: the guest is here.
        Taken = 10,
        /// Ended: the move did not take place.
        Failed = 11,
        /// This board does not know the move, or no longer.
        Unknown = 12,
    }
}

impl Stage {
    /// Whether a move in this stage is over on this board.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            Self::Gone | Self::Taken | Self::Failed | Self::Unknown
        )
    }
}

codes! {
    /// How the operator resolves a doubt.
    pub enum Verdict {
        /// The destination does not have the guest and never will: it continues here.
        Keep = 1,
        /// The destination has the guest: it is discarded here.
        Drop = 2,
    }
}

/// Asks for a move away from the board that receives this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartMove {
    /// The move's number.
    pub id: MoveId,
    /// Random bits for the fingerprints' key, fresh for each move.
    pub seed: [u64; 2],
    /// Stop the guest as soon as the rest can be sent in this time, in µs.
    pub downtime_target_us: u32,
    /// Rather call the move off than stop the guest when the rest takes longer than this, in ms, as far as the source
    /// can know; 0 for no limit.
    pub downtime_limit_ms: u32,
    /// After so many pre-copy rounds over its RAM more will not help.
    pub max_rounds: u16,
    /// How much of the board's time the move may take while the guest runs, in per cent (1–100).
    pub share: u8,
    /// The most bytes a second to send while the guest runs; 0 for what the link carries.
    pub bandwidth: u64,
    /// Give up after nothing was heard from the other board for so long, in ms.
    pub timeout_ms: u32,
    /// The slowest link that the move goes over.
    pub pace: Pace,
    /// The guest's time runs while it is paused; otherwise that is frozen as well.
    pub advance: bool,
    /// The operator lets the guest run on a core that it was not started on and does not know of.
    pub accept_core: bool,
}

/// A request to a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Who are you? Answered with [`Welcome`].
    Hello,
    /// Answered with [`StatusReport`].
    Status,
    /// Pauses the guest; a [`Event::PhaseChanged`] says when it does.
    Pause,
    /// Resumes the guest after a pause, or start where it arrived.
    Resume,
    /// Answered with [`Statistics`].
    Statistics,
    /// Answered with the machine's description.
    Describe,
    /// Discards the guest.
    Discard,
    /// Moves the guest away.
    Start(StartMove),
    /// Calls a move off, unless it may have happened already.
    Cancel(MoveId),
    /// Answered with [`MoveReport`].
    Query(MoveId),
    /// Resolves the doubt about a move.
    Resolve(MoveId, Verdict),
    /// Answered with a domain's record of a paused guest.
    Examine(Domain),
    /// Gives a register of a paused guest another value.
    SetRegister(SetRegister),
    /// Whether vCPUs hang, of a guest that runs or is paused. Answered with [`Looked`].
    Look,
}

/// What each vCPU hangs in, as far as its registers tell at one moment.
pub type Looked = [Option<Hang>; MAX_VCPUS];

/// A register of a paused guest, and what it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRegister {
    /// Which vCPU.
    pub vcpu: u8,
    /// The register's key in records: the low half of its public identifier.
    pub register: u32,
    /// Its value.
    pub value: u128,
}

/// The answer to [`Request::Hello`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The guest's RAM on this board, in bytes.
    pub ram_bytes: u64,
    /// The board's counter, in Hz.
    pub counter_frequency: u64,
    /// What the counter says, in µs.
    pub uptime_us: u64,
    /// How fast the board's link is.
    pub pace: Pace,
}

/// The answer to [`Request::Status`], and what [`Event::PhaseChanged`] brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// What the machine is doing.
    pub phase: Phase,
    /// How many vCPUs the guest has; 0 while there is none.
    pub vcpus: u8,
    /// Why, if the phase is [`Phase::Failed`].
    pub failure: Failure,
    /// What the failure is about: a syndrome, an error's number.
    pub detail: u64,
    /// Where the guest was.
    pub program_counter: u64,
    /// The guest's RAM, in bytes.
    pub ram_bytes: u64,
    /// The greatest number of a move that this board has seen; 0 for none.
    pub newest_move: MoveId,
    /// The last move that this board took part in, and how far it is or how it ended.
    pub last_move: Option<MoveReport>,
}

/// How far a move is, or how it ended, as one board sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveReport {
    /// The move.
    pub id: MoveId,
    /// How far it is.
    pub stage: Stage,
    /// Why it did not take place, if [`Stage::Failed`].
    pub failure: Option<MoveFailure>,
    /// The source's figures; the destination counts what arrived.
    pub figures: Figures,
}

/// What a move has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Pre-copy rounds over RAM so far, the last one included.
    pub rounds: u16,
    /// Pages of guest RAM.
    pub pages_total: u32,
    /// Pages of the current round looked at.
    pub pages_scanned: u32,
    /// Pages sent, each time they were.
    pub pages_sent: u32,
    /// Pages that were never sent because they are zero on both sides, and those sent as zero.
    pub pages_zero: u32,
    /// Pages that differ from what was sent, as far as known.
    pub dirty_pages: u32,
    /// Bytes of pages and records sent, with their framing.
    pub bytes: u64,
    /// Since the move began, in µs.
    pub elapsed_us: u64,
    /// For how long the guest has been paused, in µs; once the move is over, in total, as far as
    /// the source can know: until it heard that the guest was taken.
    pub downtime_us: u64,
}

/// A board's answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// To [`Request::Hello`].
    Welcome(Welcome),
    /// To [`Request::Status`].
    Status(StatusReport),
    /// To a request that asks for nothing but action: it was begun.
    Accepted,
    /// To [`Request::Statistics`].
    Statistics(Statistics),
    /// To [`Request::Describe`]: the machine's record.
    Description(&'a [u8]),
    /// To [`Request::Examine`]: the domain, and its record.
    Examined(Domain, &'a [u8]),
    /// To [`Request::Look`].
    Looked(Looked),
    /// To [`Request::Query`].
    Move(MoveReport),
    /// To any: it is refused.
    Refused(RequestError),
}

/// What a board says without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The machine's phase has changed.
    PhaseChanged(StatusReport),
    /// A move continues.
    Progress(MoveReport),
    /// A move is over on this board.
    MoveEnded(MoveReport),
}

impl Request {
    /// The request's number.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Hello => kind::HELLO,
            Self::Status => kind::STATUS,
            Self::Pause => kind::PAUSE,
            Self::Resume => kind::RESUME,
            Self::Statistics => kind::STATISTICS,
            Self::Describe => kind::DESCRIBE,
            Self::Discard => kind::DISCARD,
            Self::Start(_) => kind::START,
            Self::Cancel(_) => kind::CANCEL,
            Self::Query(_) => kind::QUERY,
            Self::Resolve(..) => kind::RESOLVE,
            Self::Examine(_) => kind::EXAMINE,
            Self::SetRegister(_) => kind::SET_REGISTER,
            Self::Look => kind::LOOK,
        }
    }

    /// Writes the payload; returns its length.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let kind = self.kind();
        match self {
            Self::Hello
            | Self::Status
            | Self::Pause
            | Self::Resume
            | Self::Statistics
            | Self::Describe
            | Self::Look
            | Self::Discard => Ok(0),
            Self::Start(start) => encode(kind, start, out),
            Self::Cancel(id) | Self::Query(id) => encode(kind, id, out),
            Self::Resolve(id, verdict) => encode(kind, &(id, verdict), out),
            Self::Examine(domain) => encode(kind, domain, out),
            Self::SetRegister(set) => encode(kind, set, out),
        }
    }

    /// The request that a frame makes.
    ///
    /// # Errors
    ///
    /// [`WireError`] unless it is one, exactly.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, WireError> {
        let nothing = || decode::<()>(kind, payload);
        Ok(match kind {
            kind::HELLO => nothing().map(|()| Self::Hello)?,
            kind::STATUS => nothing().map(|()| Self::Status)?,
            kind::PAUSE => nothing().map(|()| Self::Pause)?,
            kind::RESUME => nothing().map(|()| Self::Resume)?,
            kind::STATISTICS => nothing().map(|()| Self::Statistics)?,
            kind::DESCRIBE => nothing().map(|()| Self::Describe)?,
            kind::DISCARD => nothing().map(|()| Self::Discard)?,
            kind::START => Self::Start(decode(kind, payload)?),
            kind::CANCEL => Self::Cancel(decode(kind, payload)?),
            kind::QUERY => Self::Query(decode(kind, payload)?),
            kind::RESOLVE => {
                let (id, verdict) = decode(kind, payload)?;
                Self::Resolve(id, verdict)
            }
            kind::EXAMINE => Self::Examine(decode(kind, payload)?),
            kind::SET_REGISTER => Self::SetRegister(decode(kind, payload)?),
            kind::LOOK => nothing().map(|()| Self::Look)?,
            kind => return Err(WireError::UnknownKind { kind }),
        })
    }
}

impl<'a> Answer<'a> {
    /// The answer's number.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Welcome(_) => kind::WELCOME,
            Self::Status(_) => kind::STATUS_REPORT,
            Self::Accepted => kind::ACCEPTED,
            Self::Statistics(_) => kind::STATISTICS_REPORT,
            Self::Description(_) => kind::DESCRIPTION,
            Self::Examined(..) => kind::EXAMINED,
            Self::Looked(_) => kind::LOOKED,
            Self::Move(_) => kind::MOVE_REPORT,
            Self::Refused(_) => kind::REFUSED,
        }
    }

    /// Writes the payload; returns its length.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        let kind = self.kind();
        match self {
            Self::Welcome(welcome) => encode(kind, welcome, out),
            Self::Status(status) => encode(kind, status, out),
            Self::Accepted => Ok(0),
            Self::Statistics(statistics) => encode(kind, statistics, out),
            Self::Description(record) => super::wire::encode_with_body(kind, &(), record, out),
            Self::Examined(domain, record) => {
                super::wire::encode_with_body(kind, domain, record, out)
            }
            Self::Looked(looked) => encode(kind, looked, out),
            Self::Move(report) => encode(kind, report, out),
            Self::Refused(error) => encode(kind, error, out),
        }
    }

    /// The answer that a frame gives.
    ///
    /// # Errors
    ///
    /// [`WireError`] unless it is one, exactly.
    pub fn decode(kind: u8, payload: &'a [u8]) -> Result<Self, WireError> {
        Ok(match kind {
            kind::WELCOME => Self::Welcome(decode(kind, payload)?),
            kind::STATUS_REPORT => Self::Status(decode(kind, payload)?),
            kind::ACCEPTED => decode(kind, payload).map(|()| Self::Accepted)?,
            kind::STATISTICS_REPORT => Self::Statistics(decode(kind, payload)?),
            kind::DESCRIPTION => Self::Description(payload),
            kind::EXAMINED => {
                let (domain, record) = super::wire::decode_with_body(kind, payload)?;
                Self::Examined(domain, record)
            }
            kind::LOOKED => Self::Looked(decode(kind, payload)?),
            kind::MOVE_REPORT => Self::Move(decode(kind, payload)?),
            kind::REFUSED => Self::Refused(decode(kind, payload)?),
            kind => return Err(WireError::UnknownKind { kind }),
        })
    }
}

impl Event {
    /// The event's number.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::PhaseChanged(_) => kind::PHASE_CHANGED,
            Self::Progress(_) => kind::PROGRESS,
            Self::MoveEnded(_) => kind::MOVE_ENDED,
        }
    }

    /// Writes the payload; returns its length.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, WireError> {
        match self {
            Self::PhaseChanged(status) => encode(self.kind(), status, out),
            Self::Progress(report) | Self::MoveEnded(report) => encode(self.kind(), report, out),
        }
    }

    /// The event that a frame brings.
    ///
    /// # Errors
    ///
    /// [`WireError`] unless it is one, exactly.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, WireError> {
        Ok(match kind {
            kind::PHASE_CHANGED => Self::PhaseChanged(decode(kind, payload)?),
            kind::PROGRESS => Self::Progress(decode(kind, payload)?),
            kind::MOVE_ENDED => Self::MoveEnded(decode(kind, payload)?),
            kind => return Err(WireError::UnknownKind { kind }),
        })
    }
}

#[cfg(test)]
mod tests;
