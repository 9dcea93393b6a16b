// SPDX-License-Identifier: BSD-2-Clause
//! A paused guest on its board: its registers, read and set.
//!
//! Responsible for: what `godwit reg` does to a board. The domains' records are read as they are; a value is checked here,
//! where the reason can be told, and once more by the domain that it belongs to. Never: touches a guest that runs, or
//! leaves some of several values set when another was refused.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::Domain;
use protocol::management::Phase;
use state::Register;
use state::record::{Record, RecordError, decode};
use thiserror::Error;

use super::access::{self, AccessError, Change};
use crate::client::{Client, ClientError};
use crate::link::Address;
use crate::snapshot::State;

/// Why a board's guest cannot be looked at or changed.
#[derive(Debug, Error)]
pub enum LiveError {
    /// The board, or its link.
    #[error(transparent)]
    Board(#[from] ClientError),
    /// The register, or its value.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// It runs.
    #[error("the guest is running: pause it first (`godwit pause`; {address})")]
    Running {
        /// The board.
        address: Address,
    },
    /// There is nothing to look at.
    #[error("the guest is {phase}: only one that is paused has registers to look at ({address})")]
    NoGuest {
        /// The board.
        address: Address,
        /// Its guest's phase.
        phase: Phase,
    },
    /// A domain's record is none.
    #[error(
        "board {address} sent a malformed record of {domain}: {error}. Use the same version of \
         godwit on board and host"
    )]
    Record {
        /// The board.
        address: Address,
        /// Whose.
        domain: Domain,
        /// Why.
        error: RecordError,
    },
}

/// Everything but the memory of a paused guest.
///
/// # Errors
///
/// [`LiveError`].
pub fn read(board: &mut Client) -> Result<State, LiveError> {
    let phase = board.status()?.phase;
    let address = board.address().clone();
    match phase {
        Phase::Stopped | Phase::Imported => {}
        Phase::Running | Phase::Stopping | Phase::Resuming => {
            return Err(LiveError::Running { address });
        }
        phase => return Err(LiveError::NoGuest { address, phase }),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(State {
        taken_us: u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX),
        running: false,
        machine: board.describe()?,
        vcpus: examine(board, Domain::Vmm)?,
        vgic: examine(board, Domain::Vgic)?,
        timer: examine(board, Domain::Timer)?,
    })
}

fn examine<T: Record>(board: &mut Client, domain: Domain) -> Result<T, LiveError> {
    let bytes = board.examine(domain)?;
    decode(&bytes).map_err(|error| LiveError::Record {
        address: board.address().clone(),
        domain,
        error,
    })
}

/// Sets registers of a vCPU of a paused guest: all of them, or none.
///
/// # Errors
///
/// [`LiveError`]; nothing has changed then, unless the board fell silent.
pub fn set(
    board: &mut Client,
    vcpu: usize,
    values: &[(Register, u128)],
) -> Result<Vec<Change>, LiveError> {
    let mut state = read(board)?;
    let changes = access::set_all(&mut state, vcpu, values)?;
    for (done, change) in changes.iter().enumerate() {
        if let Err(error) = board.set_register(vcpu, change.register, change.after) {
            for change in changes.iter().take(done).rev() {
                // The board said no to another one, and this is what it had.
                let _ = board.set_register(vcpu, change.register, change.before);
            }
            return Err(error.into());
        }
    }
    Ok(changes)
}
