// SPDX-License-Identifier: BSD-2-Clause
//! How long a move over a line will take, before it begins.
//!
//! Responsible for: bounds from the line's rate and the guest's RAM, and a guess between them. Nobody knows how much of its
//! RAM a guest uses until a board has looked at all of it, which is half of a move; so the guess is what the guest took
//! the last time, or what Debian's Linux takes that has just booted. Never: a guess for a link that is no line.

use std::fmt;
use std::time::Duration;

use protocol::MoveFailure;
use protocol::fingerprint::PAGE_SIZE;
use protocol::management::{MoveReport, Stage, StatusReport, Welcome};

use super::{Cause, MoveError, Options, Relay};
use crate::client::Client;

/// Bytes that a Debian with BusyBox takes that has just booted, whatever its RAM: see docs/boards.md.
const JUST_BOOTED: u64 = 23_000_000;
/// Bytes of records for each vCPU, rounded up: 4,168 were measured for one.
const RECORDS: u64 = 6000;
/// What a page costs besides itself.
const ENTRY: u64 = protocol::pages::ENTRY_LENGTH as u64;

/// How long a move will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Bits a second of the line.
    baud: u32,
    /// Likely.
    likely: Duration,
    /// Whether that is what it took the last time.
    known: bool,
    /// If all of the RAM is in use and cannot be compressed, and the guest changes nothing meanwhile.
    most: Duration,
    /// For how long the guest will be paused at least.
    downtime: Duration,
}

impl Estimate {
    /// Of the move that [`migrate`](super::migrate) would do; nothing unless one of the boards' links is a line. Asks both
    /// first whether the move can be begun, so that nobody is asked about one that cannot.
    ///
    /// # Errors
    ///
    /// [`MoveError`], as that of the move.
    pub fn before(
        source: &mut Client,
        destination: &mut Client,
        options: &Options,
    ) -> Result<Option<Self>, MoveError> {
        let mut relay = Relay {
            source,
            destination,
            options,
        };
        relay.estimate().map_err(|cause| relay.explain(cause, None))
    }

    /// Of a move from a board that says this of itself and its guest to one that says that of itself; nothing unless one of
    /// their links is a line.
    #[must_use]
    pub fn of(source: &Welcome, guest: &StatusReport, destination: &Welcome) -> Option<Self> {
        let pace = source.pace.slower(destination.pace);
        if !pace.is_line() {
            return None;
        }
        let time = |bytes| Duration::from_millis(pace.milliseconds_for(bytes));
        let pages = guest.ram_bytes / PAGE_SIZE as u64;
        let all = guest.ram_bytes.saturating_add(pages * ENTRY);
        let last = guest.last_move.filter(carried_all);
        let last = last.map(|report| report.figures);
        let last = last.filter(|last| u64::from(last.pages_total) == pages && last.bytes > 0);
        let few = u64::from(pace.few_pages()) * PAGE_SIZE as u64;
        let under_way = u64::from(pace.window()) * pace.message_bytes() as u64;
        Some(Self {
            baud: pace.baud,
            likely: time(last.map_or(JUST_BOOTED, |last| last.bytes).min(all)),
            known: last.is_some(),
            most: time(all),
            downtime: time(few + under_way + u64::from(guest.vcpus) * RECORDS),
        })
    }

    /// Whether it takes so long that somebody would want to be asked first.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.likely >= Duration::from_secs(60)
    }
}

impl Relay<'_> {
    fn estimate(&mut self) -> Result<Option<Estimate>, Cause> {
        if !self.pace().is_line() {
            return Ok(None);
        }
        self.prepare()?;
        let (from, to) = (self.source.welcome()?, self.destination.welcome()?);
        Ok(Estimate::of(&from, &self.source.status()?, &to))
    }
}

/// Whether all of the guest went over in this move: it came here or left, or went into a snapshot. One that failed, or is
/// not over, went as far as it did.
const fn carried_all(report: &MoveReport) -> bool {
    match report.failure {
        None => matches!(report.stage, Stage::Taken | Stage::Gone),
        // How the board sees a snapshot: a move that the other end calls off once it has everything.
        Some(MoveFailure::Copied) => matches!(report.stage, Stage::Failed),
        Some(_) => false,
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let basis = if self.known {
            "as the last time"
        } else {
            "what a Linux takes that has just booted"
        };
        write!(
            formatter,
            "a line of {} bits a second: about {}, {basis}, and {} if all of its memory is in use; paused for about {:.1} s, and \
             longer if it keeps changing memory",
            self.baud,
            span(self.likely),
            span(self.most),
            self.downtime.as_secs_f64()
        )
    }
}

/// A time as one would say it.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..90 => format!("{} s", seconds.max(1)),
        _ => format!("{} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use protocol::MoveId;
    use protocol::management::{Failure, Figures, MoveReport, Phase, Stage};
    use protocol::pace::Pace;

    use super::*;

    const RAM: u64 = 128 << 20;

    fn welcome(baud: u32) -> Welcome {
        Welcome {
            ram_bytes: RAM,
            counter_frequency: 24_000_000,
            uptime_us: 0,
            pace: Pace { baud },
        }
    }

    fn guest(last_move: Option<MoveReport>) -> StatusReport {
        StatusReport {
            phase: Phase::Running,
            vcpus: 1,
            failure: Failure::None,
            detail: 0,
            program_counter: 0,
            ram_bytes: RAM,
            newest_move: MoveId(0),
            last_move,
        }
    }

    fn moved(bytes: u64, pages_total: u32) -> StatusReport {
        ended(Stage::Taken, None, bytes, pages_total)
    }

    fn ended(
        stage: Stage,
        failure: Option<MoveFailure>,
        bytes: u64,
        pages_total: u32,
    ) -> StatusReport {
        guest(Some(MoveReport {
            id: MoveId(1),
            stage,
            failure,
            figures: Figures {
                bytes,
                pages_total,
                ..Figures::default()
            },
        }))
    }

    #[test]
    fn an_odroids_guest_takes_minutes_and_that_is_said() {
        let estimate = Estimate::of(&welcome(500_000), &guest(None), &welcome(0)).unwrap();
        assert!(estimate.is_long());
        assert_eq!(
            estimate.to_string(),
            "a line of 500000 bits a second: about 8 min, what a Linux takes that has just booted, and 45 min if all of its \
             memory is in use; paused for about 0.9 s, and longer if it keeps changing memory"
        );
    }

    #[test]
    fn the_slower_line_counts_and_no_line_is_no_estimate() {
        let of = |from, to| Estimate::of(&welcome(from), &guest(None), &welcome(to));
        assert_eq!(of(0, 0), None);
        assert_eq!(of(500_000, 3_000_000), of(0, 500_000));
        assert_eq!(of(3_000_000, 500_000), of(500_000, 0));
        assert!(!of(12_000_000, 0).unwrap().is_long());
    }

    #[test]
    fn what_it_took_the_last_time_is_likely_again_unless_that_was_another_guest() {
        let pages = u32::try_from(RAM / 4096).unwrap();
        let known = Estimate::of(&welcome(500_000), &moved(500_000, pages), &welcome(0)).unwrap();
        assert!(
            known.to_string().contains("about 10 s, as the last time"),
            "{known}"
        );
        assert!(!known.is_long());
        let other = Estimate::of(&welcome(500_000), &moved(500_000, pages / 2), &welcome(0));
        assert_eq!(
            other,
            Estimate::of(&welcome(500_000), &guest(None), &welcome(0))
        );
    }

    // Pitfall: a move that was called off early made the next one look short, and nobody was asked.
    #[test]
    fn only_a_move_that_carried_all_of_the_guest_says_what_the_next_one_takes() {
        let pages = u32::try_from(RAM / 4096).unwrap();
        let known = |stage, failure| {
            let guest = ended(stage, failure, 500_000, pages);
            Estimate::of(&welcome(500_000), &guest, &welcome(0))
                .unwrap()
                .known
        };
        assert!(known(Stage::Taken, None));
        assert!(known(Stage::Gone, None));
        assert!(known(Stage::Failed, Some(MoveFailure::Copied)));
        assert!(!known(Stage::Failed, Some(MoveFailure::Silence)));
        assert!(!known(Stage::Failed, None));
        assert!(!known(Stage::Unknown, None));
        assert!(!known(Stage::Copying, None));
        let failed = ended(Stage::Failed, Some(MoveFailure::Silence), 500_000, pages);
        assert_eq!(
            Estimate::of(&welcome(500_000), &failed, &welcome(0)),
            Estimate::of(&welcome(500_000), &guest(None), &welcome(0))
        );
    }

    #[test]
    fn a_board_may_say_that_it_has_any_ram() {
        let mut any = guest(None);
        any.ram_bytes = u64::MAX;
        any.vcpus = u8::MAX;
        let estimate = Estimate::of(&welcome(1), &any, &welcome(u32::MAX)).unwrap();
        assert!(estimate.is_long() && !estimate.to_string().is_empty());
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        let shown = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(
            [shown(0), shown(89), shown(90), shown(540)],
            ["1 s", "89 s", "2 min", "9 min"]
        );
    }
}
