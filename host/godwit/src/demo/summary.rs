// SPDX-License-Identifier: BSD-2-Clause
//! What comes out of the demonstration.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::guest_output::{Report, SeenProcessor};
use crate::relay;

/// A demonstration that came to its end, whether or not the guest's checks hold.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the domains ran on.
    pub kernel: String,
    /// Each move, in order.
    pub moves: Vec<relay::Summary>,
    /// What the guest found, after the last move.
    pub report: Report,
    /// What the guest answered to the line that was typed on the second board.
    pub answer: String,
    /// Which processor the guest said that it has, before the first move and after the first two, where the boards have
    /// different ones.
    pub processors: Vec<SeenProcessor>,
    /// The boards.
    pub boards: [BoardFacts; 2],
}

/// A board of the demonstration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BoardFacts {
    /// Which board, as under `board/`.
    pub board: String,
    /// Its RAM, as QEMU takes it.
    pub ram: String,
    /// Where the guest's RAM lies in it: a named placement.
    pub placement: String,
    /// Its processor by QEMU's name, if not the board's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// For how long it was up when the guest first moved, in ms.
    pub up_ms: u64,
}

/// The outcome in figures, as `--json` prints it: over all moves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Whether every check of the guest holds.
    pub ok: bool,
    /// What the domains ran on.
    pub kernel: String,
    /// The guest's checks, and whether they hold.
    pub guest_checks: BTreeMap<String, bool>,
    /// Pre-copy rounds over the guest's RAM.
    pub rounds: u64,
    /// Pages sent, each time they were.
    pub pages_sent: u64,
    /// Pages that were known to be zero and cost nothing.
    pub pages_zero: u64,
    /// Bytes of pages and records, with their framing.
    pub bytes_sent: u64,
    /// From the request for a move to the guest running at its destination, in ms, all moves together.
    pub total_ms: u64,
    /// For how long the guest was paused as the host saw it, in µs: the longest of all moves.
    pub downtime_us: u64,
    /// The board that the guest was started on.
    pub board_a: BoardFacts,
    /// The other one.
    pub board_b: BoardFacts,
}

impl Outcome {
    /// Whether every check of the guest holds.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.report.ok && self.report.checks.values().all(|check| check.ok)
    }

    /// The outcome in figures.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let sum = |count: fn(&relay::Summary) -> u64| self.moves.iter().map(count).sum();
        let longest = self.moves.iter().map(downtime).max();
        let [board_a, board_b] = self.boards.clone();
        Summary {
            ok: self.ok(),
            kernel: self.kernel.clone(),
            guest_checks: self.report.verdicts(),
            rounds: sum(|summary| summary.figures.rounds.into()),
            pages_sent: sum(|summary| summary.figures.pages_sent.into()),
            pages_zero: sum(|summary| summary.figures.pages_zero.into()),
            bytes_sent: sum(|summary| summary.figures.bytes),
            total_ms: whole(self.total().as_millis()),
            downtime_us: whole(longest.unwrap_or_default().as_micros()),
            board_a,
            board_b,
        }
    }

    /// All moves together.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.moves.iter().map(|summary| summary.total).sum()
    }
}

/// For how long the guest was paused in a move, as the host saw it; else as the source did.
fn downtime(summary: &relay::Summary) -> Duration {
    let figures = Duration::from_micros(summary.figures.downtime_us);
    summary.downtime.unwrap_or(figures)
}

/// A duration's units as they are printed; 600,000 years are enough.
pub(super) fn whole(units: u128) -> u64 {
    u64::try_from(units).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use protocol::MoveId;
    use protocol::management::Figures;

    use super::*;

    fn moved(rounds: u16, downtime: Option<u64>) -> relay::Summary {
        relay::Summary {
            id: MoveId(1),
            figures: Figures {
                rounds,
                pages_sent: 10,
                pages_zero: 3,
                bytes: 4096,
                downtime_us: 70,
                ..Figures::default()
            },
            total: Duration::from_micros(1500),
            downtime: downtime.map(Duration::from_micros),
        }
    }

    fn outcome(report: &str) -> Outcome {
        let board = |placement: &str| BoardFacts {
            board: "qemu_virt_aarch64".to_owned(),
            ram: "2G".to_owned(),
            placement: placement.to_owned(),
            cpu: None,
            up_ms: 7,
        };
        let line = format!("godwit-check: {report}");
        Outcome {
            processors: Vec::new(),
            kernel: "embedded".to_owned(),
            moves: vec![moved(3, Some(40)), moved(4, None)],
            report: Report::parse(&line).unwrap().unwrap(),
            answer: String::new(),
            boards: [board("low"), board("high")],
        }
    }

    const GOOD: &str = r#"{"ok":true,"sequence":1,"uptime_ms":1,"cpus":1,"largest_gap_us":1,"largest_tick_gap_us":1,"largest_oversleep_us":1,"checks":{"fp":{"ok":true,"rounds":1,"failures":0}}}"#;

    #[test]
    fn the_json_object_has_exactly_the_documented_keys() {
        let json = serde_json::to_value(outcome(GOOD).summary()).unwrap();
        let object = json.as_object().unwrap();
        let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "board_a",
                "board_b",
                "bytes_sent",
                "downtime_us",
                "guest_checks",
                "kernel",
                "ok",
                "pages_sent",
                "pages_zero",
                "rounds",
                "total_ms"
            ]
        );
        assert_eq!(object["guest_checks"]["fp"], true);
        assert_eq!(object["ok"], true);
    }

    #[test]
    fn figures_add_up_over_moves_and_the_worst_downtime_counts() {
        let summary = outcome(GOOD).summary();
        assert_eq!((summary.rounds, summary.pages_sent), (7, 20));
        assert_eq!((summary.total_ms, summary.downtime_us), (3, 70));
    }

    #[test]
    fn one_failed_check_is_enough_whatever_the_guest_concludes() {
        assert!(outcome(GOOD).ok());
        assert!(!outcome(&GOOD.replace(r#""fp":{"ok":true"#, r#""fp":{"ok":false"#)).ok());
        assert!(!outcome(&GOOD.replacen(r#""ok":true"#, r#""ok":false"#, 1)).ok());
    }
}
