// SPDX-License-Identifier: BSD-2-Clause
//! Why a board did not do what was asked.
//!
//! Responsible for: saying which board, what was attempted, and what the operator can do. Must never: blame a board that
//! may not even have heard the request.

use crate::link::{Address, LinkError};
use protocol::management::Phase;
use protocol::{RequestError, VERSION};
use std::fmt;
use thiserror::Error;

/// What was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Opening the link and greeting.
    Connect,
    /// Asking for its status.
    Status,
    /// Pausing its guest.
    Pause,
    /// Resuming its guest.
    Resume,
    /// Reading its counters.
    Statistics,
    /// Asking what it is.
    Describe,
    /// Looking at its guest.
    Examine,
    /// Looking at its guest's vCPUs.
    Look,
    /// Setting a register.
    SetRegister,
    /// Forgetting its guest.
    Discard,
    /// Starting a move.
    Start,
    /// Calling a move off.
    Cancel,
    /// Asking what became of a move.
    Query,
    /// Settling a doubt.
    Resolve,
    /// Waiting for its guest.
    Wait,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "greeting it",
            Self::Status => "asking for its status",
            Self::Pause => "pausing its guest",
            Self::Resume => "resuming its guest",
            Self::Statistics => "reading its counters",
            Self::Describe => "asking what it is",
            Self::Examine => "looking at its guest",
            Self::Look => "looking at its guest's vCPUs",
            Self::SetRegister => "setting a register of its guest",
            Self::Discard => "discarding its guest",
            Self::Start => "starting the move",
            Self::Cancel => "calling the move off",
            Self::Query => "asking what became of the move",
            Self::Resolve => "settling the doubt",
            Self::Wait => "waiting for its guest",
        })
    }
}

/// Why a board did not do what was asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Its link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It does not answer.
    #[error(
        "board {address} does not answer ({step}). If another program holds its link, end that; \
         otherwise restart the board"
    )]
    Silent {
        /// The board.
        address: Address,
        /// What was attempted.
        step: Step,
    },
    /// It answers in another version of the protocol.
    #[error(
        "board {address} speaks version {board} of the protocol, and this godwit version {VERSION}. Use the godwit that \
         the board's image was built with, or build the image anew"
    )]
    OtherVersion {
        /// The board.
        address: Address,
        /// The version that it speaks.
        board: u8,
    },
    /// It answers something else.
    #[error(
        "board {address} gave a malformed reply ({step}). Use the same version of godwit on \
         board and host"
    )]
    Nonsense {
        /// The board.
        address: Address,
        /// What was attempted.
        step: Step,
    },
    /// It refuses.
    #[error("board {address} refuses ({step}): {error}. {}", remedy(.error))]
    Refused {
        /// The board.
        address: Address,
        /// What was attempted.
        step: Step,
        /// Why.
        error: RequestError,
    },
    /// Its guest did not come as far as it should in the time given.
    #[error(
        "the guest of board {address} is {phase} and not yet {wanted}. Wait, or look at its console"
    )]
    Late {
        /// The board.
        address: Address,
        /// What its guest is doing.
        phase: Phase,
        /// What it should be doing.
        wanted: Phase,
    },
}

/// What the operator can do about a refusal.
const fn remedy(error: &RequestError) -> &'static str {
    match error {
        RequestError::WrongPhase {
            phase: Phase::Starting,
        } => "Try again in a moment",
        RequestError::WrongPhase {
            phase: Phase::Off | Phase::Failed,
        } => "Discard the guest, or start the board again",
        RequestError::BadRegister { .. } => "`godwit reg list` shows which can be set",
        RequestError::Illegal(_) => "Nothing has changed",
        RequestError::WrongPhase { .. } => "See `godwit status`",
        RequestError::Moving { .. } => "Wait for the move, or call it off",
        RequestError::InDoubt { .. } => {
            "`godwit resolve` says what is known of that move, and how to end the doubt"
        }
        RequestError::NoSuchMove => "See `godwit status`",
        RequestError::StaleMove { .. } => "Try again with a greater number",
        RequestError::HeapTooSmall { .. } => "Enlarge migration_heap in system.xml",
        RequestError::PeerDomain { .. } => "Look at the board's console",
        RequestError::NotUnderstood => "Use the same version of godwit on board and host",
    }
}
