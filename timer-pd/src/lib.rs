// SPDX-License-Identifier: BSD-2-Clause
//! The machine's time: its count, its virtual timers, its sleepers.
//!
//! Responsible for: the one count that all vCPUs of the machine share and its offset from the
//! board's (DDI 0487, D11.1.2 and D11.2), each stopped vCPU's virtual timer, the [gate] that
//! keeps vCPUs from running before all of them have their timer, waking vCPUs that sleep until
//! theirs is due, and the record of all that. Must never: touch a vCPU or guest RAM, poll, or give
//! out an offset that is not final.
//!
//! Every decision takes the board's count as an argument, so that it can be tested; the shell
//! reads the counter. [`board::BoardTimer`] is all that a board has to supply.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod board;
pub mod gate;
mod record;
mod service;
mod sleepers;
mod timers;

pub use service::{Caller, MAX_RECORD, Regions, Service};
pub use sleepers::Sleepers;
pub use timers::Timers;
