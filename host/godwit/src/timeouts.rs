// SPDX-License-Identifier: BSD-2-Clause
//! How long this program waits.
//!
//! Responsible for: every such time, in one place. What boards wait for each other is
//! [`protocol::timeouts`]; what a slow line takes comes on top ([`Pace`](protocol::Pace)). A
//! board that is slow is not dead: its host may have other things to do. So each wait counts from the last sign of life,
//! and ends early only where a guest is paused for it. Never: decides what becomes of a guest; boards do.

use std::time::Duration;

use protocol::timeouts;

/// While a guest moves and runs, for a word from the other board, unless `--timeout` says otherwise.
pub const MOVE: Duration = Duration::from_millis(timeouts::MOVE_MS as u64);
/// For a board to answer a request; it is asked [again](ASK_AGAIN) meanwhile, which does no harm.
pub const ANSWER: Duration = Duration::from_secs(12);
/// After so long without an answer a request is sent again.
pub const ASK_AGAIN: Duration = Duration::from_millis(1200);
/// Between two looks at a vCPU that seems to hang.
pub const LOOK_AGAIN: Duration = Duration::from_millis(30);
/// For a guest to be paused or to continue, once the board has said that it will.
pub const REACTION: Duration = Duration::from_secs(30);
/// For a guest that was handed over to run, or a board that starts to be ready.
pub const ARRIVAL: Duration = Duration::from_secs(20);
/// For a board's socket to appear and be accepted.
pub const CONNECT: Duration = Duration::from_secs(2);
/// For a board that is being built or started to have a link.
pub const START: Duration = Duration::from_secs(300);
/// For QEMU to offer its sockets.
pub const SOCKETS: Duration = Duration::from_secs(60);
/// For whoever has a board started to connect to its keeper.
pub const OWNER: Duration = Duration::from_secs(20);
/// For somebody who connects to a keeper to say what he wants.
pub const GREETING: Duration = Duration::from_secs(1);
/// For the link to a board to come back when it broke in the middle of a move.
pub const RECONNECT: Duration = Duration::from_secs(10);
/// For a board to take something at all, beyond what its link's speed makes necessary.
pub const WRITE: Duration = Duration::from_secs(30);
/// For the destination to say that the guest runs, after the source has said that the move is over; then it is asked.
pub const LINGER: Duration = Duration::from_secs(2);
/// How much longer than its boards a relay waits: they come to a decision, and it hears of it.
pub const BEHIND_BOARDS: Duration = Duration::from_secs(5);
/// A client of a board's link that takes nothing for so long, while much waits for it, is disconnected.
pub const STUCK_CLIENT: Duration = Duration::from_secs(30);
