// SPDX-License-Identifier: BSD-2-Clause
//! How long boards and the host wait for each other.
//!
//! Responsible for: every such time that does not follow from a link's speed ([`Pace`] has those, and what it says of
//! silence comes on top). A board that is slow is not dead, whatever keeps it: its host may have other things to do. So
//! each wait counts from the last word that was heard, never from the beginning, and is long wherever the guest loses
//! nothing by it. Must never: end a wait for a commit once it was sent; only a word ends that.
//!
//! | who waits | for what | how long |
//! |---|---|---|
//! | source | the destination, while the guest runs | what the operator says (`--timeout`), [`MOVE_MS`] by default |
//! | source | the destination, while the guest is paused | the operator's limit on that (`--downtime-limit`); without one [`DOWNTIME_MS`], or `--timeout` if that is less |
//! | source | the answer to a commit | for ever; asks every [`COMMIT_AGAIN_MS`] |
//! | destination | data | [`FOR_DATA`] times the first |
//! | destination | the commit | [`FOR_COMMIT`] times the first |
//! | both | the rest of a frame | [`PARTIAL_FRAME_MS`] |

use super::Pace;
use super::management::StartMove;

/// While the guest runs, a source waits so many ms for a word from the destination, unless the operator says otherwise.
pub const MOVE_MS: u32 = 30_000;
/// And so many ms while the guest is paused.
pub const DOWNTIME_MS: u32 = 10_000;
/// A destination waits so many times as long as its source while data comes, so that of two boards cut off from each
/// other the one with the guest notices first.
pub const FOR_DATA: u64 = 2;
/// And so many times as long for the commit.
pub const FOR_COMMIT: u64 = 4;
/// A source in doubt sends its commit again after so many ms.
pub const COMMIT_AGAIN_MS: u64 = 1000;
/// After so many ms without a byte, the rest of a frame will not come.
///
/// Longer than a host that is alive ever pauses within a frame, however busy its machine. Nobody waits for it: whoever
/// connects next ends such a frame with zeros, or a line's new session does.
pub const PARTIAL_FRAME_MS: u64 = 20_000;

/// For how many ms a source waits for a word from the destination.
#[must_use]
pub fn of_source_ms(start: &StartMove, paused: bool) -> u64 {
    let running = u64::from(start.timeout_ms);
    if !paused {
        return running;
    }
    let slow = Pace::silence_ms(start.pace);
    match start.downtime_limit_ms {
        0 => running.min(u64::from(DOWNTIME_MS) + slow),
        limit => u64::from(limit) + slow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MoveId;

    fn start(timeout_ms: u32, downtime_limit_ms: u32, pace: Pace) -> StartMove {
        StartMove {
            id: MoveId(1),
            seed: [0; 2],
            downtime_target_us: 0,
            downtime_limit_ms,
            max_rounds: 1,
            share: 100,
            bandwidth: 0,
            timeout_ms,
            pace,
            advance: false,
            accept_core: false,
        }
    }

    #[test]
    fn a_paused_guest_waits_as_long_as_the_operator_allows() {
        let wait = |timeout, limit| of_source_ms(&start(timeout, limit, Pace::UNLIMITED), true);
        assert_eq!(wait(MOVE_MS, 0), u64::from(DOWNTIME_MS));
        assert_eq!(wait(500, 0), 500, "no longer than one that runs");
        assert_eq!((wait(MOVE_MS, 200), wait(500, 60_000)), (200, 60_000));
        let line = Pace::line(115_200);
        let slow = of_source_ms(&start(MOVE_MS + 60_000, 0, line), true);
        assert_eq!(slow, u64::from(DOWNTIME_MS) + line.silence_ms());
    }

    #[test]
    fn a_guest_that_runs_loses_nothing_by_a_long_wait() {
        for limit in [0, 200] {
            let start = start(MOVE_MS, limit, Pace::UNLIMITED);
            assert_eq!(of_source_ms(&start, false), u64::from(MOVE_MS));
        }
    }
}
