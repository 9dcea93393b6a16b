// SPDX-License-Identifier: BSD-2-Clause
//! `godwit migrate` and `godwit resolve`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::MultiProgress;
use protocol::management::{Stage, Verdict};
use serde::Serialize;
use state::MachineRecordV2;
use state::admission::OtherCore;

use super::board::{BoardName, begin_between};
use super::manage::to_f64;
use super::progress::MoveProgress;
use super::{SIGNAL, SUCCESS, style};
use crate::keeper;
use crate::relay::estimate::Estimate;
use crate::relay::{self, GuestTime, Options, Summary, doubt};
use crate::running::Role;
use image::errata;

/// Moves a running guest from one board to another.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    boards: Boards,
    /// Prints one JSON object last: ok, from, to, rounds, pages_sent, pages_zero, bytes_sent, total_ms, downtime_us.
    #[arg(long)]
    json: bool,
    /// Does not ask before a move that takes long, over a serial line; without a terminal nobody is asked.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    tuning: Tuning,
}

/// The two boards of a move.
#[derive(Debug, Args)]
pub(super) struct Boards {
    /// Where the guest is.
    from: BoardName,
    /// Where it goes: a board without a guest.
    to: BoardName,
}

/// How a move is done.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "How it is done")]
pub(super) struct Tuning {
    /// Pause the guest as soon as the rest can be sent in this time.
    #[arg(long, value_name = "MS", default_value_t = Options::default().downtime_target.as_millis())]
    downtime: u128,
    /// Rather call the move off than pause it for longer than this before the other board may take it over.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    downtime_limit: Option<u64>,
    /// While the guest runs, call the move off when a board has heard nothing from the other one for so many seconds.
    /// While it is paused, --downtime-limit says how long, else 10 s at most.
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().timeout.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Pause it after so many pre-copy rounds over its RAM in any case.
    #[arg(long, value_name = "N", default_value_t = Options::default().max_rounds)]
    max_rounds: u16,
    /// How much of the board's time the move may take while the guest runs, in per cent.
    #[arg(long, value_name = "PERCENT", default_value_t = Options::default().share,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    share: u8,
    /// The most bytes a second to send while the guest runs; 0 for what the link carries.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    bandwidth: u64,
    /// What the guest's clock does while it is paused: is `frozen` as well, so that the guest does not notice, or
    /// continues (`advance`), so that it is right afterwards.
    #[arg(long, value_name = "WHAT", default_value = "still", value_parser = time())]
    time: GuestTime,
    /// Takes a destination with another core than the guest was started on and knows of, and says which of that core's
    /// errata the guest then runs without a workaround for.
    #[arg(long)]
    accept_core: bool,
}

/// The two answers to what a guest's clock does.
fn time() -> impl TypedValueParser<Value = GuestTime> {
    PossibleValuesParser::new(["still", "advance"]).map(|name| match name.as_str() {
        "advance" => GuestTime::Advance,
        _ => GuestTime::Still,
    })
}

/// What becomes of another core.
pub(super) const fn other_core(accept: bool) -> OtherCore {
    match accept {
        true => OtherCore::Accepted,
        false => OtherCore::Refused,
    }
}

impl Tuning {
    /// The same for the relay.
    pub(super) fn options(&self) -> Options {
        Options {
            downtime_target: Duration::from_millis(
                u64::try_from(self.downtime).unwrap_or(u64::MAX),
            ),
            downtime_limit: self.downtime_limit.map(Duration::from_millis),
            max_rounds: self.max_rounds,
            share: self.share,
            bandwidth: self.bandwidth,
            time: self.time,
            other_core: other_core(self.accept_core),
            timeout: Duration::from_secs(self.timeout),
            ..Options::default()
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Json {
    ok: bool,
    from: String,
    to: String,
    rounds: u16,
    pages_sent: u32,
    pages_zero: u32,
    bytes_sent: u64,
    total_ms: u128,
    downtime_us: u128,
}

/// `godwit migrate`.
pub(super) fn migrate(arguments: &Arguments) -> anyhow::Result<u8> {
    let Boards { from, to } = &arguments.boards;
    let roles = [
        Role::MoveTo(to.to_string()),
        Role::MoveFrom(from.to_string()),
    ];
    let mut job = begin_between(from, to, roles)?;
    let (mut source, mut destination) = (from.connect()?, to.connect()?);
    // Until now a signal ends this, and nothing else.
    let options = arguments.tuning.options();
    let moving = || format!("moving the guest from board {from} to {to}");
    let estimate = Estimate::before(&mut source, &mut destination, &options);
    if !is_wanted(estimate.with_context(moving)?, arguments.yes)? {
        anyhow::bail!("not started: the guest stays on board {from}");
    }
    relay::call_off_on_signals()?;
    let mut progress = if std::io::stderr().is_terminal() {
        MoveProgress::bar(&MultiProgress::new())
    } else {
        MoveProgress::lines()
    };
    if arguments.tuning.accept_core {
        tell_errata(&source.describe()?, &destination.describe()?);
    }
    let mut screen_told = false;
    let moved = relay::migrate(&mut source, &mut destination, &options, &mut |state| {
        job.progress(&state.to_string());
        let stage = state.report.stage;
        let paused = matches!(stage, Stage::Finishing | Stage::Preparing | Stage::InDoubt);
        if paused && !std::mem::replace(&mut screen_told, true) {
            // Best effort: the guest is the same without.
            let _ = tell_last_screen(from, to);
        }
        if let Some(line) = progress.update(&state) {
            style::notice(&line);
        }
    });
    progress.finish();
    let moved = moved.with_context(moving);
    let summary = match moved {
        Err(error) if relay::is_called_off() => {
            style::error(&error);
            return Ok(SIGNAL);
        }
        moved => moved?,
    };
    style::notice(&format!("from {from} to {to}: {}", sentence(&summary)));
    if arguments.json {
        let json = serde_json::to_string(&json(from, to, &summary))?;
        style::show(&format!("{json}\n"))?;
    }
    Ok(SUCCESS)
}

/// Says how long a move over a line will take, and asks whether it is to begin if that is long and there is somebody.
fn is_wanted(estimate: Option<Estimate>, yes: bool) -> anyhow::Result<bool> {
    let Some(estimate) = estimate else {
        return Ok(true);
    };
    style::notice(&estimate.to_string());
    let (input, output) = (std::io::stdin(), std::io::stderr());
    let asks = !yes && estimate.is_long() && input.is_terminal() && output.is_terminal();
    if !asks {
        return Ok(true);
    }
    write!(output.lock(), "start anyway? [Y/n] ")?;
    let mut answer = String::new();
    let ended = input.lock().read_line(&mut answer)? == 0;
    Ok(!ended && is_yes(&answer))
}

/// Whether an answer is yes, as it is if nothing is said.
fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}

/// Says what of the destination's core the guest did not prepare for.
pub(super) fn tell_errata(guest: &MachineRecordV2, destination: &MachineRecordV2) {
    for line in errata::without(&guest.baseline, &destination.baseline) {
        style::notice(&line);
    }
}

/// Lets the terminal that the guest is about to be seen at show what it has said last, if both boards run here.
fn tell_last_screen(from: &BoardName, to: &BoardName) -> std::io::Result<()> {
    if let (Some(from), Some(to)) = (from.terminal(), to.terminal()) {
        let screen = keeper::last_screen(UnixStream::connect(from)?)?;
        keeper::tell_last_screen(UnixStream::connect(to)?, screen)?;
    }
    Ok(())
}

fn json(from: &BoardName, to: &BoardName, summary: &Summary) -> Json {
    let figures = &summary.figures;
    Json {
        ok: true,
        from: from.to_string(),
        to: to.to_string(),
        rounds: figures.rounds,
        pages_sent: figures.pages_sent,
        pages_zero: figures.pages_zero,
        bytes_sent: figures.bytes,
        total_ms: summary.total.as_millis(),
        downtime_us: summary.downtime.unwrap_or_default().as_micros(),
    }
}

/// A move in one sentence.
pub(super) fn sentence(summary: &Summary) -> String {
    let figures = &summary.figures;
    let downtime = summary.downtime.map_or_else(
        || "it was paused all the time".to_owned(),
        |time| format!("it was paused for {:.1} ms", time.as_secs_f64() * 1e3),
    );
    format!(
        "moved in {:.2} s and {} rounds, {} pages in {:.1} MB; {downtime}",
        summary.total.as_secs_f64(),
        figures.rounds,
        figures.pages_sent,
        to_f64(figures.bytes) / 1e6,
    )
}

/// Ends the doubt about a move that was cut off.
///
/// If both boards can be reached, they agree by themselves. If the destination is gone for good, or was started again and
/// does not know the move any more, this says what is known; nothing changes until you say who runs the guest from now on,
/// with `--keep` or `--drop`.
#[derive(Debug, Args)]
pub(super) struct Resolve {
    /// Where the guest was.
    from: BoardName,
    /// Where it went. A board that is named must be reached before `--keep` or `--drop` counts.
    to: Option<BoardName>,
    /// The destination does not have the guest and never will (it is switched off, or was started again): FROM resumes it
    /// and runs it afterwards.
    #[arg(long, conflicts_with = "drop")]
    keep: bool,
    /// The destination has the guest and runs it, or had it and sent it on: FROM destroys its copy.
    #[arg(long)]
    drop: bool,
}

impl Resolve {
    const fn verdict(&self) -> Option<Verdict> {
        match (self.keep, self.drop) {
            (true, _) => Some(Verdict::Keep),
            (_, true) => Some(Verdict::Drop),
            _ => None,
        }
    }
}

/// `godwit resolve`.
pub(super) fn resolve(arguments: &Resolve) -> anyhow::Result<u8> {
    let from = arguments.from.to_string();
    let to = arguments.to.as_ref().map(ToString::to_string);
    let _job = match &arguments.to {
        // A destination that is not there is no reason not to begin.
        Some(board) if board.exists() => {
            let roles = [board, &arguments.from].map(|board| Role::Resolve(board.to_string()));
            begin_between(&arguments.from, board, roles)?
        }
        board => arguments.from.begin(Role::Resolve(
            board.as_ref().map_or_else(String::new, ToString::to_string),
        ))?,
    };
    let mut source = arguments.from.connect()?;
    let mut destination = arguments.to.as_ref().map(BoardName::connect);
    let named = to.as_deref().zip(destination.as_mut()).map(|(to, board)| {
        let board = board.as_mut().map_err(|error| format!("{error:#}"));
        (to, board)
    });
    let (verdict, options) = (arguments.verdict(), Options::default());
    let report = doubt::decide((&from, &mut source), named, verdict, &options)?;
    let outcome = match (report.stage, &to) {
        (Stage::Gone, Some(to)) => format!("took place: the guest went to board {to}"),
        (Stage::Gone, None) => format!("took place: the guest is no longer on board {from}"),
        _ => format!("did not take place: the guest is on board {from}"),
    };
    style::notice(&format!("move {} {outcome}", report.id));
    Ok(SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn an_answer_is_yes_if_it_says_so_or_nothing() {
        assert!(["", "\n", "y\n", "Yes\n", " Y "].into_iter().all(is_yes));
        assert!(!["n\n", "no", "later", "ja?"].into_iter().any(is_yes));
    }
}
