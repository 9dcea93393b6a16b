// SPDX-License-Identifier: BSD-2-Clause
//! `godwit inspect` and `godwit diff`.

use std::path::PathBuf;

use clap::Args;

use super::{SUCCESS, style};
use crate::inspect::{diff, json, text};
use crate::snapshot::SnapshotFile;

/// Shows what is in a snapshot.
#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// A snapshot.
    file: PathBuf,
    /// Also shows what is zero, idle or at rest.
    #[arg(long)]
    all: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Also reads every page, to see whether the file is as it was written.
    #[arg(long)]
    verify: bool,
}

/// Shows what changed from one snapshot to another.
#[derive(Debug, Args)]
pub(super) struct DiffArguments {
    /// A snapshot.
    a: PathBuf,
    /// Another one.
    b: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// `godwit inspect`.
pub(super) fn inspect(arguments: &InspectArguments) -> anyhow::Result<u8> {
    let file = SnapshotFile::open(&arguments.file)?;
    if arguments.verify {
        file.verify()?;
    }
    if arguments.json {
        style::show(&format!("{:#}\n", json::snapshot(&file)))?;
    } else {
        let detail = text::Detail { all: arguments.all };
        style::show(&text::snapshot(&file, detail))?;
    }
    Ok(SUCCESS)
}

/// `godwit diff`.
pub(super) fn diff(arguments: &DiffArguments) -> anyhow::Result<u8> {
    let (a, b) = (
        SnapshotFile::open(&arguments.a)?,
        SnapshotFile::open(&arguments.b)?,
    );
    let diff = diff::compare(&a, &b)?;
    if arguments.json {
        style::show(&format!("{:#}\n", diff.json()))?;
    } else {
        style::show(&diff.text())?;
    }
    Ok(SUCCESS)
}
