// SPDX-License-Identifier: BSD-2-Clause
//! The migration agent: collecting records, walking RAM, admission, hand-over.
//!
//! Responsible for: everything that is decided in a move, on both boards, and what the operator's
//! program may ask of a board. Must never: touch a vCPU, a device, or memory other than through
//! the traits that the shell implements.
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

pub mod agent;
pub mod bundle;
pub mod copier;
pub mod handover;
pub mod outbox;
pub mod port;
pub mod ram;
