// SPDX-License-Identifier: BSD-2-Clause
//! What travels on a board's link: frames, and the messages in them.
//!
//! Responsible for: the one definition of every message between the operator's program and a
//! board, and between two boards, with its encoding. Must never: decide what to answer.
//!
//! # Layers
//!
//! ```text
//! messages   management (host and board), transfer (board and board, relayed by the host)
//! frames     kind, tag, length, checks; finds its feet again after garbage
//! (sealing)  of payloads, so that link-pd and the host see ciphertext only: not built yet
//! ARQ        for lines that lose bytes: the crate `line`, in link-pd and in the host
//! bytes      virtio console and socket, or a serial line
//! ```
//!
//! Every payload is [canonical](wire): one value has one encoding, and nothing follows it.
//! Numbers on the wire ([`kind`], the codes of [`management`] and [`failure`]) are written out
//! and never taken from the order of an enumeration.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a test that goes wrong should stop at once"
    )
)]

pub mod bundle;
pub mod failure;
pub mod fingerprint;
pub mod frame;
pub mod heap;
pub mod kind;
pub mod management;
mod messages;
pub mod pace;
pub mod pages;
pub mod table;
pub mod timeouts;
pub mod transfer;
pub mod wire;

pub use failure::{Domain, MoveFailure, RequestError};
pub use frame::{Decoder, Frame, HEADER_LENGTH, MAX_FRAME, MAX_PAYLOAD};
pub use management::{Answer, Event, Request};
pub use pace::Pace;
pub use transfer::Transfer;
pub use wire::WireError;

/// The version of the protocol that this crate speaks; it stands in every frame's header.
///
/// Version 2: a commit says how far the guest's time has advanced, and what starts a move whether
/// it is to. Version 3: what starts a move, and an offer, say whether a core that the guest does not know of is accepted.
///
/// Version 4: an offer says what the guest is started from, and what accepts it whether that is to be sent.
pub const VERSION: u8 = 4;

/// Names one move, on both boards and for ever.
///
/// Chosen by the host, greater than any that either board has seen (see
/// [`management::StatusReport::newest_move`]). That is what lets a board remember with one number
/// which moves it must never take part in again.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct MoveId(pub u64);

impl core::fmt::Display for MoveId {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

/// What a destination calls itself in one move: a number that no other board, and not the same
/// board after a restart, would give.
///
/// A commit that names another incarnation is answered [`Transfer::Unknown`], never
/// [`Transfer::Aborted`]: only the board that prepared a move may say that it did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);
