// SPDX-License-Identifier: BSD-2-Clause
//! What the whole-system tests share: boards, guests, the link between, and how to cut it.
//!
//! Responsible for: bringing a guest up on a board and asking board and guest how they are, each wait with a bound and
//! each failure with the last lines of the boards' consoles; images that several tests boot are built once in a
//! process. Never: judges; that is for the tests under `tests/system`.

pub mod assault;
pub mod board;
pub mod cable;
mod debian;
pub mod firmware;
pub mod guests;
pub mod hostile;
pub mod interrupts;
pub mod intruder;
pub mod processor;
pub mod random;
pub mod spinner;
mod systemd;

use std::time::Duration;

/// How long a board may take to boot a Linux guest, under emulation on a machine that has much else to do.
pub const BOOT: Duration = Duration::from_secs(240);

/// How long a board or a guest may take to answer.
pub const ANSWER: Duration = Duration::from_secs(60);

/// How long a move may take.
pub const MOVE: Duration = Duration::from_secs(120);
