// SPDX-License-Identifier: BSD-2-Clause
//! The numbers of all messages: a frame's kind.
//!
//! A kind is never given a new meaning; a message that changes gets a new one, or all get a new
//! [`VERSION`](super::VERSION) if half the move would be misunderstood otherwise.

/// Host to board: who are you? See [`Request::Hello`](super::Request::Hello).
pub const HELLO: u8 = 0x01;
/// Host to board: what is the machine doing?
pub const STATUS: u8 = 0x02;
/// Host to board: pause the guest.
pub const PAUSE: u8 = 0x03;
/// Host to board: resume the guest.
pub const RESUME: u8 = 0x04;
/// Host to board: how often did the guest exit?
pub const STATISTICS: u8 = 0x05;
/// Host to board: what is this board to a guest?
pub const DESCRIBE: u8 = 0x06;
/// Host to board: discard the guest.
pub const DISCARD: u8 = 0x07;
/// Host to board: move the guest away.
pub const START: u8 = 0x08;
/// Host to board: call a move off.
pub const CANCEL: u8 = 0x09;
/// Host to board: what became of a move?
pub const QUERY: u8 = 0x0a;
/// Host to board: the operator resolves a doubt.
pub const RESOLVE: u8 = 0x0b;

/// Host to board: what does a domain hold of the paused guest?
pub const EXAMINE: u8 = 0x0c;
/// Host to board: give a register of the paused guest another value.
pub const SET_REGISTER: u8 = 0x0d;
/// Host to board: does a vCPU hang?
pub const LOOK: u8 = 0x0f;

/// Board to host: answers [`HELLO`].
pub const WELCOME: u8 = 0x21;
/// Board to host: answers [`STATUS`].
pub const STATUS_REPORT: u8 = 0x22;
/// Board to host: the request was accepted.
pub const ACCEPTED: u8 = 0x23;
/// Board to host: answers [`STATISTICS`].
pub const STATISTICS_REPORT: u8 = 0x25;
/// Board to host: answers [`DESCRIBE`].
pub const DESCRIPTION: u8 = 0x26;
/// Board to host: answers [`EXAMINE`].
pub const EXAMINED: u8 = 0x27;
/// Board to host: answers [`LOOK`].
pub const LOOKED: u8 = 0x29;
/// Board to host: answers [`QUERY`].
pub const MOVE_REPORT: u8 = 0x2a;
/// Board to host: the request was refused.
pub const REFUSED: u8 = 0x2f;

/// Board to host, unasked: the machine's phase has changed.
pub const PHASE_CHANGED: u8 = 0x31;
/// Board to host, unasked: how far a move is.
pub const PROGRESS: u8 = 0x32;
/// Board to host, unasked: a move has ended here.
pub const MOVE_ENDED: u8 = 0x33;

/// Source to destination: will you take this machine?
pub const OFFER: u8 = 0x41;
/// Destination to source: I will.
pub const ACCEPT: u8 = 0x42;
/// Destination to source: I will not.
pub const REFUSE: u8 = 0x43;
/// Source to destination: pages of guest RAM.
pub const PAGES: u8 = 0x44;
/// Source to destination: a domain's record.
pub const RECORD: u8 = 0x45;
/// Destination to source: data taken over so far.
pub const ACKNOWLEDGE: u8 = 0x46;
/// Source to destination: you have everything; check it.
pub const PREPARE: u8 = 0x47;
/// Destination to source: I have checked everything and can run the guest.
pub const PREPARED: u8 = 0x48;
/// Source to destination: the guest is yours.
pub const COMMIT: u8 = 0x49;
/// Destination to source: the guest is mine.
pub const COMMITTED: u8 = 0x4a;
/// Source to destination: the move is off.
pub const ABORT: u8 = 0x4b;
/// Destination to source: the move is off, and I shall never run that guest.
pub const ABORTED: u8 = 0x4c;
/// Destination to source: I cannot say; another board, or this one before a restart, knew.
pub const UNKNOWN: u8 = 0x4d;

/// Whether a frame of this kind is between two boards and only relayed by the host.
#[must_use]
pub const fn is_transfer(kind: u8) -> bool {
    kind & 0xf0 == 0x40
}
