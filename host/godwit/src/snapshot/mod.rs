// SPDX-License-Identifier: BSD-2-Clause
//! Snapshots: a guest in a file.
//!
//! Responsible for: taking a guest's state and memory off a board while it runs or is paused, keeping them in a file,
//! and putting them onto an empty board. A board does not know of snapshots. The host plays the other board of a move:
//! a destination that receives everything and calls the move off, so that the guest continues at its source; and a source
//! that offers what is in the file. Never: runs a guest twice by itself. Who restores a snapshot whose guest continued has
//! two guests, and knows it.

mod bundle;
mod captured;
mod error;
mod file;
mod format;
mod restore;
mod take;
#[cfg(test)]
pub(crate) mod tests;

pub use captured::CapturedMemory;
pub use error::{FileError, Part, SnapshotError};
pub use file::{Memory, PageKind, SnapshotFile, State, can_write, write};
pub use format::{MAGIC, OLDEST_VERSION, VERSION};
pub use restore::{Advance, RestoreOptions, Restored, restore};
pub use take::{Taken, take};

use std::time::{Duration, Instant};

use protocol::{Event, Transfer, kind};

use crate::client::Client;
use crate::link::{Frame, LinkError};

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages received or sent so far.
    pub pages: u32,
    /// How many there will be; of a guest that runs, at least.
    pub total: u32,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} of {} pages", self.pages, self.total)
    }
}

/// Sends a message of a move.
fn say(board: &mut Client, message: &Transfer<'_>) -> Result<(), LinkError> {
    let encode = |payload: &mut [u8]| message.encode(payload);
    board.link.writer.send(message.kind(), 0, encode)
}

/// The next frame, if one comes in time.
fn listen(board: &mut Client, timeout: Duration) -> Result<Option<Frame>, LinkError> {
    let deadline = Instant::now() + timeout + board.allowance();
    board.link.reader.read(deadline)
}

/// The message of a move that a frame is, if it is one that can be understood.
fn transfer(frame: &Frame) -> Option<Transfer<'_>> {
    kind::is_transfer(frame.kind)
        .then(|| Transfer::decode(frame.kind, frame.payload()).ok())
        .flatten()
}

/// The event that a frame is, if it is one.
fn event(frame: &Frame) -> Option<Event> {
    Event::decode(frame.kind, frame.payload()).ok()
}
