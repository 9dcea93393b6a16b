// SPDX-License-Identifier: BSD-2-Clause
//! `godwit snapshot` and `godwit restore`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use protocol::management::Phase;

use super::board::BoardName;
use super::manage::to_f64;
use super::migrate::{other_core, tell_errata};
use super::{SUCCESS, style};
use crate::relay::Options;
use crate::running::Role;
use crate::snapshot::{self, Advance, Memory as _, RestoreOptions, SnapshotFile};

/// Keeps a guest in a file, and resumes it.
#[derive(Debug, Args)]
pub(super) struct SnapshotArguments {
    /// Where the guest is, running or paused.
    board: BoardName,
    /// The file to write; it appears when it is complete.
    file: PathBuf,
    /// Give up when nothing was heard from the board for so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().timeout.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

/// Puts a guest from a file onto an empty board.
#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// A snapshot.
    file: PathBuf,
    /// Where the guest goes: a board without a guest.
    board: BoardName,
    /// Leaves it paused; `godwit resume` resumes it.
    #[arg(long)]
    paused: bool,
    /// Advances its clock by so many seconds, or by the time since the snapshot if none are given. Without this its
    /// time was frozen.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    advance: Option<Option<f64>>,
    /// Takes a board with another core than the guest was started on and knows of, and says which of that core's errata
    /// the guest then runs without a workaround for.
    #[arg(long)]
    accept_core: bool,
}

/// `godwit snapshot`.
pub(super) fn snapshot(arguments: &SnapshotArguments) -> anyhow::Result<u8> {
    let SnapshotArguments { board, file, .. } = arguments;
    let mut job = board.begin(Role::Snapshot)?;
    snapshot::can_write(file)?;
    let mut client = board.connect()?;
    let options = Options {
        timeout: Duration::from_secs(arguments.timeout),
        ..Options::default()
    };
    let taken = snapshot::take(&mut client, &options, &mut |progress| {
        job.progress(&progress.to_string());
    })
    .with_context(|| format!("keeping the guest of board {board}"))?;
    snapshot::write(file, &taken.state, &taken.memory)?;
    let paused = taken.downtime.map_or_else(
        || "it is still paused".to_owned(),
        |time| format!("it was paused for {:.1} ms", time.as_secs_f64() * 1e3),
    );
    let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    style::notice(&format!(
        "the guest of board {board} is in {}: {} of {} pages used, {:.1} MB; {paused}",
        file.display(),
        taken.memory.used(),
        taken.memory.pages(),
        to_f64(size) / 1e6,
    ));
    Ok(SUCCESS)
}

/// `godwit restore`.
pub(super) fn restore(arguments: &RestoreArguments) -> anyhow::Result<u8> {
    let RestoreArguments { file, board, .. } = arguments;
    let snapshot = SnapshotFile::open(file)?;
    let advance = match arguments.advance {
        None => Advance::None,
        Some(None) => Advance::SinceTaken,
        Some(Some(seconds)) => Advance::By(
            Duration::try_from_secs_f64(seconds)
                .with_context(|| format!("--advance={seconds}: not a time"))?,
        ),
    };
    let options = RestoreOptions {
        paused: arguments.paused,
        advance,
        other_core: other_core(arguments.accept_core),
    };
    let mut job = board.begin(Role::Restore)?;
    let mut client = board.connect()?;
    if arguments.accept_core {
        let here = client.describe()?;
        tell_errata(&snapshot.state().machine, &here);
    }
    let restored = snapshot::restore(&snapshot, &mut client, &options, &mut |progress| {
        job.progress(&progress.to_string());
    })
    .with_context(|| format!("restoring {} to board {board}", file.display()))?;
    let doing = match restored.phase {
        Phase::Imported => "is paused: `godwit resume` resumes it".to_owned(),
        phase => format!("is {phase}"),
    };
    style::notice(&format!(
        "the guest of {} {doing} on board {board}, {} pages in {:.2} s",
        file.display(),
        restored.pages,
        restored.total.as_secs_f64(),
    ));
    Ok(SUCCESS)
}
