// SPDX-License-Identifier: BSD-2-Clause
//! What the operator's program and a board say to each other.
//!
//! Responsible for: requests, answers and events, with their encoding. Every request has one
//! answer, which carries its tag; a host that hears none asks again, so requests are safe to
//! repeat. Must never: carry a guest's memory, or its registers unless the operator asks for those
//! of a paused guest.

use super::failure::{Domain, MoveFailure, RequestError};
use super::messages::messages;
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

messages! {
    /// A request to a board.
    pub enum Request {
        /// Who are you? Answered with [`Welcome`].
        Hello = kind::HELLO,
        /// Answered with [`StatusReport`].
        Status = kind::STATUS,
        /// Pauses the guest; a [`Event::PhaseChanged`] says when it does.
        Pause = kind::PAUSE,
        /// Resumes the guest after a pause, or starts it where it arrived.
        Resume = kind::RESUME,
        /// Answered with [`Statistics`].
        Statistics = kind::STATISTICS,
        /// Answered with the machine's description.
        Describe = kind::DESCRIBE,
        /// Discards the guest.
        Discard = kind::DISCARD,
        /// Moves the guest away.
        Start(start: StartMove) = kind::START,
        /// Calls a move off, unless it may have happened already.
        Cancel(id: MoveId) = kind::CANCEL,
        /// Answered with [`MoveReport`].
        Query(id: MoveId) = kind::QUERY,
        /// Resolves the doubt about a move.
        Resolve(id: MoveId, verdict: Verdict) = kind::RESOLVE,
        /// Answered with a domain's record of a paused guest.
        Examine(domain: Domain) = kind::EXAMINE,
        /// Gives a register of a paused guest another value.
        SetRegister(set: SetRegister) = kind::SET_REGISTER,
        /// Whether vCPUs hang, of a guest that runs or is paused. Answered with [`Looked`].
        Look = kind::LOOK,
    }
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

messages! {
    /// A board's answer to a request.
    pub enum Answer<'a> {
        /// To [`Request::Hello`].
        Welcome(welcome: Welcome) = kind::WELCOME,
        /// To [`Request::Status`].
        Status(status: StatusReport) = kind::STATUS_REPORT,
        /// To a request that asks for nothing but action: it was begun.
        Accepted = kind::ACCEPTED,
        /// To [`Request::Statistics`].
        Statistics(statistics: Statistics) = kind::STATISTICS_REPORT,
        /// To [`Request::Describe`]: the machine's record.
        Description(; record: &'a [u8]) = kind::DESCRIPTION,
        /// To [`Request::Examine`]: the domain, and its record.
        Examined(domain: Domain; record: &'a [u8]) = kind::EXAMINED,
        /// To [`Request::Look`].
        Looked(looked: Looked) = kind::LOOKED,
        /// To [`Request::Query`].
        Move(report: MoveReport) = kind::MOVE_REPORT,
        /// To any: it is refused.
        Refused(error: RequestError) = kind::REFUSED,
    }
}

messages! {
    /// What a board says without being asked.
    pub enum Event {
        /// The machine's phase has changed.
        PhaseChanged(status: StatusReport) = kind::PHASE_CHANGED,
        /// A move continues.
        Progress(report: MoveReport) = kind::PROGRESS,
        /// A move is over on this board.
        MoveEnded(report: MoveReport) = kind::MOVE_ENDED,
    }
}

#[cfg(test)]
mod tests;
