// SPDX-License-Identifier: BSD-2-Clause
//! How fast a move is, for people to read.
//!
//! Responsible for: averages over a time that means something. Two reports may come at once, with megabytes between them,
//! and a round may send nothing: over either, the same line would be now still and now faster than any.

use std::time::{Duration, Instant};

/// An average is over at least so long, unless the whole move has not taken as long.
const WINDOW: Duration = Duration::from_secs(1);

/// The rate of a move.
#[derive(Debug)]
pub(super) struct Rate {
    began: Instant,
    round: u16,
    /// What had been sent when the round began, and when that was.
    since: (u64, Instant),
}

impl Rate {
    /// That of a move that begins.
    pub(super) const fn new(began: Instant) -> Self {
        Self {
            began,
            round: 0,
            since: (0, began),
        }
    }

    /// Bytes a second over the round that `bytes` is told of, or over the whole move if that has only just begun. `rounds`
    /// is how many have ended.
    pub(super) fn update(&mut self, rounds: u16, bytes: u64, at: Instant) -> f64 {
        let (before, since) = self.since;
        let passed = at.saturating_duration_since(since);
        let rate = if passed >= WINDOW {
            average(bytes.saturating_sub(before), passed)
        } else {
            average(bytes, at.saturating_duration_since(self.began))
        };
        if rounds != self.round {
            self.round = rounds;
            self.since = (bytes, at);
        }
        rate
    }
}

fn average(bytes: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let bytes = bytes as f64;
    match time.as_secs_f64() {
        seconds if seconds > 0.0 => bytes / seconds,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_one_speed_shows_one_rate_however_the_reports_come() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let mut rate = Rate::new(began);
        // 50 kB/s; two reports at once, a round of a millisecond, one that sends nothing of its own.
        let reports = [
            (0, 2000),
            (0, 4000),
            (1, 4000),
            (2, 4001),
            (2, 6000),
            (3, 9000),
            (4, 9000),
        ];
        for (rounds, ms) in reports {
            let shown = rate.update(rounds, ms * 50, at(ms));
            assert!((49_000.0..51_000.0).contains(&shown), "{shown} at {ms}");
        }
    }

    #[test]
    fn a_round_that_is_slower_shows_it() {
        let began = Instant::now();
        let mut rate = Rate::new(began);
        rate.update(1, 1_000_000, began + Duration::from_secs(1));
        let shown = rate.update(2, 1_100_000, began + Duration::from_secs(3));
        assert!((49_000.0..51_000.0).contains(&shown), "{shown}");
    }
}
