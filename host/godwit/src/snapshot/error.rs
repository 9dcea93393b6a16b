// SPDX-License-Identifier: BSD-2-Clause
//! Why a snapshot cannot be taken, read or restored.

use std::fmt;
use std::io;
use std::path::PathBuf;

use protocol::MoveFailure;
use protocol::management::Phase;
use state::admission::Refusal;
use state::legal::Illegal;
use state::record::RecordError;
use thiserror::Error;

use crate::client::ClientError;
use crate::link::{Address, LinkError};

/// A part of a snapshot's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The header.
    Header,
    /// The machine's description.
    Machine,
    /// The vCPUs and the console.
    Vcpus,
    /// The interrupt controller.
    Vgic,
    /// The count and the timers.
    Timer,
    /// The index of pages.
    Index,
    /// This page of guest RAM.
    Page(u32),
    /// What the guest is started from.
    Bundle,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Header => "its header",
            Self::Machine => "the machine's record",
            Self::Vcpus => "the vCPUs' record",
            Self::Vgic => "the interrupt controller's record",
            Self::Timer => "the timer's record",
            Self::Index => "the index of pages",
            Self::Bundle => "the guest's bundle",
            Self::Page(page) => return write!(formatter, "page {page:#x} of guest RAM"),
        })
    }
}

/// What to do about a snapshot of another version.
const fn remedy(version: u32) -> &'static str {
    if version > super::format::VERSION {
        "Use a newer godwit"
    } else if version == 0 {
        "No godwit has ever written that version: something else has changed the file"
    } else {
        "Use the godwit that it was taken with"
    }
}

/// Why a file cannot be read as a snapshot, or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system says so.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It does not begin as a snapshot does.
    #[error("{}: not a snapshot", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Of a version that this program does not know.
    #[error(
        "{}: a snapshot of version {version}; this godwit reads versions {} to {}. {}",
        path.display(), super::format::OLDEST_VERSION, super::format::VERSION, remedy(*version)
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Its end is missing.
    #[error(
        "{}: a snapshot that was cut off: {found} of {expected} bytes are there", path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How many bytes it should have.
        expected: u64,
        /// How many it has.
        found: u64,
    },
    /// Bytes have changed since it was written.
    #[error("{}: a damaged snapshot: {part} is not what was written", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// What is damaged.
        part: Part,
    },
    /// A record is whole and not understood.
    #[error("{}: {part}: {error}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Which record.
        part: Part,
        /// Why.
        error: RecordError,
    },
    /// The parts do not belong to one machine.
    #[error("{}: {part} is of another machine than the rest", path.display())]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// Which part.
        part: Part,
    },
}

/// Why a snapshot was not taken or not restored.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The board, or its link.
    #[error(transparent)]
    Board(#[from] ClientError),
    /// An earlier move of the board is not resolved.
    #[error(transparent)]
    Move(#[from] Box<crate::relay::Cause>),
    /// There is nothing to take.
    #[error("the guest of board {address} is {phase}: only one that runs or is paused can be kept")]
    NoGuest {
        /// The board.
        address: Address,
        /// Its guest's phase.
        phase: Phase,
    },
    /// No board has a guest of this size.
    #[error(
        "board {address} says that its guest has {bytes} bytes of RAM: that is zero, no whole number of pages, or more than \
         16 GiB. Use the same version of godwit on board and host"
    )]
    RamSize {
        /// The board.
        address: Address,
        /// What it says.
        bytes: u64,
    },
    /// There is a guest already.
    #[error(
        "board {address} has a guest already ({phase}): discard it, or restore to another board"
    )]
    Occupied {
        /// The board.
        address: Address,
        /// Its guest's phase.
        phase: Phase,
    },
    /// The guest would notice.
    #[error("the guest would notice that it is on board {address}: {refusal}")]
    Incompatible {
        /// The board.
        address: Address,
        /// What differs.
        refusal: Refusal,
    },
    /// No guest could have what the snapshot holds.
    #[error("the snapshot is of no guest that board {address} could have: {illegal}")]
    Illegal {
        /// The board.
        address: Address,
        /// What is wrong.
        illegal: Illegal,
    },
    /// The board called it off, or refused.
    #[error("board {address}: {failure}")]
    CalledOff {
        /// The board.
        address: Address,
        /// Why.
        failure: MoveFailure,
    },
    /// The board sent a malformed record.
    #[error(
        "board {address} sent a malformed record: {error}. Use the same version of godwit on board and host"
    )]
    Record {
        /// The board.
        address: Address,
        /// Why.
        error: RecordError,
    },
    /// Nothing was heard for too long.
    #[error("board {address} fell silent. See `godwit status`")]
    Silent {
        /// The board.
        address: Address,
    },
    /// The guest was handed over, and the board has not confirmed that.
    #[error(
        "board {address} was given the guest and has not said that it took it. See `godwit status`; \
         the snapshot can be restored again"
    )]
    Unconfirmed {
        /// The board.
        address: Address,
    },
}

impl From<LinkError> for SnapshotError {
    fn from(error: LinkError) -> Self {
        Self::Board(error.into())
    }
}
