// SPDX-License-Identifier: BSD-2-Clause
//! A reliable stream of bytes, both ways, over a serial line that loses and damages them.
//!
//! Responsible for: cutting the streams into numbered segments, telling damaged ones by a CRC, and
//! sending again what did not arrive. Must never: pass on a byte that was not sent, or one twice,
//! or in another order; wait; or look at the bytes.
//!
//! # Only the host has a clock
//!
//! The two ends are not alike. A [`Host`] keeps time and asks; a [`Board`] answers, and never does
//! anything unasked but send its data. So a board's link domain needs no timer, and nothing that
//! it decides depends on time.
//!
//! The host *polls*: at the latest after a pause, after half a window in either direction, and
//! when something is missing. A line does not reorder. Hence a board's answer to a poll tells the
//! host two things for certain, however long it took:
//!
//! * of what the host sent before the poll, what the board has not got by now is lost;
//! * of what the board sent before the answer, what the host has not got by now is lost.
//!
//! The host sends the former again, and with its next poll asks for the latter again
//! ([go-back-N](window)). Polls and answers that are lost themselves are made up for by the next
//! poll, and that is the only thing ever done for having waited long enough.
//!
//! # A session
//!
//! begins when a host attaches, with a number that the host draws. What was on its way is gone
//! then, as it is when a socket closes; segments of an earlier session are ignored. The board's
//! receiver may hold half a message of the earlier session; zeros end it.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod board;
mod host;
mod segment;
pub mod window;
mod wire;

pub use board::Board;
pub use host::{Host, Millis, stall};
pub use segment::PAYLOAD;
pub use window::WINDOW;

/// Bytes of the longest message that boards and hosts send each other over a line, header included.
///
/// The frames of `protocol` are as long as this allows.
pub const LONGEST_MESSAGE: usize = 24 + 64 * 1024;

/// Where received bytes go.
pub trait Sink {
    /// How many more bytes it takes.
    fn room(&mut self) -> usize;
    /// Takes bytes, at most as many as there is room for.
    fn put(&mut self, bytes: &[u8]);
}

/// How many segments fit into so many bytes.
fn segments(room: usize) -> u8 {
    let most = WINDOW.min(room / PAYLOAD);
    u8::try_from(most).unwrap_or(u8::MAX)
}
