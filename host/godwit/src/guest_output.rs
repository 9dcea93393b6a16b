// SPDX-License-Identifier: BSD-2-Clause
//! What the Linux guest says on its console, as far as a program has to understand it.
//!
//! Responsible for: the lines that the guest's `init` and its workload print, and the commands that the workload
//! answers (`guest/initramfs/init`, `guest/workload/src/commands.rs`). Never: judges; a report says itself whether the
//! guest's checks hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What `init` prints once Linux is up.
pub const READY: &str = "godwit-guest: ready";
/// What `init` prints as the last thing before it asks for the power to be switched off.
pub const POWERING_OFF: &str = "godwit-guest: powering off";
/// How the workload's first line begins: from then on, all checks run.
pub const WORKLOAD: &str = "godwit-workload: ";
/// How the answer to [`command::REPORT`] begins.
pub const REPORT: &str = "godwit-check: ";
/// How the answer to [`command::HELLO`] begins.
pub const HELLO: &str = "hello: ";
/// How the answer to [`command::PROCESSOR`] begins.
pub const PROCESSOR: &str = "processor: ";
/// How the answer to [`command::MARK`] begins.
pub const MARK: &str = "mark: ";

/// What can be typed to the workload.
pub mod command {
    /// Asks for a [`Report`](super::Report).
    pub const REPORT: &str = "report";
    /// Asks where the guest is.
    pub const HELLO: &str = "hello";
    /// Asks which processor it is on.
    pub const PROCESSOR: &str = "processor";
    /// Forgets the longest gaps seen so far.
    pub const MARK: &str = "mark";
    /// Tells a story, a word each tick.
    pub const WORDS: &str = "words";
    /// Tells nothing unless asked.
    pub const QUIET: &str = "quiet";
    /// Ends the guest.
    pub const POWER_OFF: &str = "poweroff";
}

/// Which processor a guest says that it has, as `MIDR_EL1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SeenProcessor {
    /// What it took down when it started, and shows in `/proc/cpuinfo`.
    pub recorded: u64,
    /// What the register says, of the board that it is on.
    pub now: u64,
}

impl SeenProcessor {
    /// What a line of the console says, if it is such an answer.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once(PROCESSOR)?;
        let mut numbers = rest.split_whitespace().filter_map(|word| {
            let digits = word.strip_prefix("0x")?;
            u64::from_str_radix(digits, 16).ok()
        });
        Some(Self {
            recorded: numbers.next()?,
            now: numbers.next()?,
        })
    }
}

/// The state of all checks, as the workload reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether every check holds.
    pub ok: bool,
    /// The number of the last tick; ten make a second.
    pub sequence: u64,
    /// The guest's time since Linux started, in ms.
    pub uptime_ms: u64,
    /// CPUs that the workload runs on.
    pub cpus: u32,
    /// The longest time, in µs of the guest's clock, for which no CPU ran since the last `mark`.
    pub largest_gap_us: u64,
    /// The longest time between two ticks, which should be 100 ms, in µs.
    pub largest_tick_gap_us: u64,
    /// By how much a sleep was longer than asked for, at most, in µs.
    pub largest_oversleep_us: u64,
    /// Each check by name.
    pub checks: BTreeMap<String, Check>,
}

/// A check of the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Whether it holds: no failure so far, and it continues.
    pub ok: bool,
    /// How often it was completed.
    pub rounds: u64,
    /// How often it failed.
    pub failures: u64,
    /// The first failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
    /// Whether it made no progress when it was asked.
    #[serde(default)]
    pub stalled: bool,
}

impl Report {
    /// The report that a line of the console is, if it is one.
    ///
    /// # Errors
    ///
    /// The line begins as a report does and is none.
    pub fn parse(line: &str) -> Option<serde_json::Result<Self>> {
        let (_, json) = line.split_once(REPORT)?;
        Some(serde_json::from_str(json.trim()))
    }

    /// Names of checks, and whether they hold.
    #[must_use]
    pub fn verdicts(&self) -> BTreeMap<String, bool> {
        self.checks
            .iter()
            .map(|(name, check)| (name.clone(), check.ok))
            .collect()
    }
}

/// Text of a guest for people: without what would move the cursor, colour the screen or ring a bell.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => skip_escape_sequence(&mut characters),
            '\n' | '\t' => clean.push(character),
            _ if character.is_control() => {}
            _ => clean.push(character),
        }
    }
    clean
}

/// Skips what follows an escape character (ECMA-48, 5.4: parameters, then a final byte from `@` to `~`).
fn skip_escape_sequence(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if characters.next_if_eq(&'[').is_none() {
        characters.next_if(|next| !next.is_control());
        return;
    }
    while characters
        .next_if(|next| (' '..='?').contains(next))
        .is_some()
    {}
    characters.next_if(|next| ('@'..='~').contains(next));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"godwit-check: {"ok":false,"sequence":71,"uptime_ms":9012,"cpus":2,"largest_gap_us":2210,"largest_tick_gap_us":100310,"largest_oversleep_us":190,"checks":{"fp":{"ok":false,"rounds":5,"failures":1,"first_failure":"v7 differs"},"sleep":{"ok":true,"rounds":3,"failures":0}}}"#;

    #[test]
    fn a_report_is_read_as_the_workload_prints_it() {
        let report = Report::parse(LINE).unwrap().unwrap();
        assert!(!report.ok);
        assert_eq!((report.sequence, report.largest_gap_us), (71, 2210));
        let fp = &report.checks["fp"];
        assert_eq!(fp.first_failure.as_deref(), Some("v7 differs"));
        assert_eq!(
            report.verdicts(),
            BTreeMap::from([("fp".to_owned(), false), ("sleep".to_owned(), true)])
        );
    }

    #[test]
    fn a_report_may_follow_an_unfinished_line() {
        let line = format!("[    31] over the {LINE}");
        assert_eq!(Report::parse(&line).unwrap().unwrap().cpus, 2);
    }

    #[test]
    fn other_lines_are_no_reports_and_damaged_reports_are_errors() {
        assert!(Report::parse("godwit-guest: ready").is_none());
        assert!(Report::parse("godwit-check: {\"ok\":tr").unwrap().is_err());
    }

    #[test]
    fn a_guest_cannot_write_elsewhere_on_the_screen() {
        assert_eq!(
            printable("a\x1b[31mred\x1b[0m\r\n\x1b[6n\tb\x07\x1bc"),
            "ared\n\tb"
        );
        assert_eq!(printable("cut \x1b[3"), "cut ");
        assert_eq!(printable("größer"), "größer");
    }
}
