// SPDX-License-Identifier: BSD-2-Clause
//! Why a move did not take place.

use super::GuestLocation;
use crate::client::ClientError;
use crate::link::Address;
use protocol::management::Phase;
use protocol::{MoveFailure, MoveId};
use state::admission;
use thiserror::Error;

/// Why a move did not take place, or cannot be said to have.
#[derive(Debug, Error)]
pub enum Cause {
    /// A board, or its link.
    #[error(transparent)]
    Board(#[from] ClientError),
    /// The guest cannot be moved as it is.
    #[error(
        "the guest of board {address} is {phase}: only one that runs or is paused can be moved"
    )]
    NoGuest {
        /// The source.
        address: Address,
        /// Its phase.
        phase: Phase,
    },
    /// The destination has a guest.
    #[error(
        "board {address} has a guest already ({phase}): discard it, or choose another destination"
    )]
    Occupied {
        /// The destination.
        address: Address,
        /// Its phase.
        phase: Phase,
    },
    /// An earlier move is in doubt.
    #[error(
        "board {address} does not know yet whether move {id} took place: connect it with that \
         move's destination (`godwit resolve {address} DESTINATION`) first"
    )]
    InDoubt {
        /// The source.
        address: Address,
        /// That move.
        id: MoveId,
    },
    /// The destination is not the one that a guest was handed over to.
    #[error(
        "board {address} knows of no such move: it was started again since, or is another board than \
         that move's destination"
    )]
    NotKnown {
        /// Who was asked.
        address: Address,
    },
    /// The guest would notice.
    #[error("the guest would notice that it is on board {destination}: {refusal}")]
    Incompatible {
        /// The destination.
        destination: Address,
        /// What differs.
        refusal: admission::Refusal,
    },
    /// The boards called it off.
    #[error("the move was called off: {0}")]
    CalledOff(MoveFailure),
    /// The guest was handed over and does not run.
    #[error("the guest arrived on board {address} and is {phase} there: see `godwit status`")]
    DoesNotRun {
        /// The destination.
        address: Address,
        /// Its phase.
        phase: Phase,
    },
    /// The outcome could not be learned in time.
    #[error("the boards did not come to an end of the move in time")]
    TimedOut,
}

/// A move that did not take place, or cannot be said to have, and where the guest is.
#[derive(Debug, Error)]
#[error("{cause}. {}", self.statement())]
pub struct MoveError {
    /// Why.
    pub cause: Box<Cause>,
    /// Where the guest is.
    pub location: GuestLocation,
    /// The source.
    pub source_board: Address,
    /// The destination.
    pub destination_board: Address,
}

impl MoveError {
    /// Where the guest is, in a sentence.
    pub fn statement(&self) -> String {
        let (source, destination) = (&self.source_board, &self.destination_board);
        match self.location {
            GuestLocation::Ended(phase) => {
                format!(
                    "It ended on board {source} ({phase}) before it was handed over: there is nothing to move"
                )
            }
            GuestLocation::Source(Phase::Empty) => format!("Board {source} has no guest"),
            GuestLocation::Source(phase) => {
                format!("The guest is still on board {source}: {phase}")
            }
            GuestLocation::Destination(phase) => {
                format!("The guest is on board {destination}: {phase}")
            }
            GuestLocation::InDoubt => format!(
                "The guest is paused on board {source}, which does not know whether {destination} \
                 has taken over; it runs there or nowhere. `godwit resolve {source} {destination}` lets \
                 the two resolve that, or says how you can"
            ),
            GuestLocation::HandedOver => format!(
                "Board {source} has handed the guest over to {destination}, which took it: see \
                 `godwit status {destination}`"
            ),
            GuestLocation::Unknown => format!(
                "Board {source} could not be asked where the guest is: it is there or on \
                 {destination}, never on both. `godwit resolve {source} {destination}` finds out once \
                 both answer"
            ),
        }
    }
}
