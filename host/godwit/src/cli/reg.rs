// SPDX-License-Identifier: BSD-2-Clause
//! `godwit reg list`, `godwit reg get` and `godwit reg set`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use state::Register;

use super::board::BoardName;
use super::{SUCCESS, style};
use crate::client::Client;
use crate::inspect::{access, list, live, text};
use crate::snapshot::{self, SnapshotFile, State};

/// Registers, by name or identifier.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Shows the table: names, identifiers, where each is captured and what a restore does with it.
    List(ListArguments),
    /// Shows registers in a snapshot, or of a paused guest.
    Get(GetArguments),
    /// Changes registers in a snapshot, or of a paused guest: all that are named, or none.
    Set(SetArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct GetArguments {
    /// A snapshot; a file that does not exist is taken for the name of a board, or its link.
    place: PathBuf,
    /// Names, or identifiers as Linux's KVM numbers them; all registers if there are none.
    registers: Vec<String>,
    /// Which vCPU.
    #[arg(long, default_value_t = 0)]
    vcpu: usize,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SetArguments {
    /// A snapshot; a file that does not exist is taken for the name of a board, or its link.
    place: PathBuf,
    /// What to set, as NAME=VALUE or ID=VALUE; numbers in decimal, or hexadecimal with 0x in front.
    #[arg(required = true, value_name = "NAME=VALUE")]
    values: Vec<String>,
    /// Which vCPU.
    #[arg(long, default_value_t = 0)]
    vcpu: usize,
}

/// `godwit reg`.
pub(super) fn run(command: &Command) -> anyhow::Result<u8> {
    match command {
        Command::List(ListArguments { json: true }) => {
            style::show(&format!("{:#}\n", list::json()))?;
        }
        Command::List(_) => style::show(&list::text())?,
        Command::Get(arguments) => get(arguments)?,
        Command::Set(arguments) => set(arguments)?,
    }
    Ok(SUCCESS)
}

fn get(arguments: &GetArguments) -> anyhow::Result<()> {
    let state = state_at(&arguments.place)?;
    let named = arguments.registers.iter().map(|name| access::find(name));
    let mut wanted = named.collect::<Result<Vec<Register>, _>>()?;
    let everything = wanted.is_empty();
    if everything {
        wanted = Register::ALL.to_vec();
    }
    let mut found = Vec::new();
    for register in wanted {
        match access::get(&state, arguments.vcpu, register) {
            Ok(value) => found.push((register, value)),
            Err(access::AccessError::Absent { .. }) if everything => {}
            Err(error) => return Err(error.into()),
        }
    }
    if arguments.json {
        let object: serde_json::Map<_, _> = found
            .iter()
            .map(|(register, value)| (register.name().to_owned(), json!(format!("{value:#x}"))))
            .collect();
        style::show(&format!("{:#}\n", json!(object)))?;
    } else {
        let lines = found
            .into_iter()
            .map(|(register, value)| text::line(register, value) + "\n");
        style::show(&lines.collect::<String>())?;
    }
    Ok(())
}

/// The state in a file, or of a board's guest.
fn state_at(place: &Path) -> anyhow::Result<State> {
    if place.is_file() {
        return Ok(SnapshotFile::open(place)?.state().clone());
    }
    let (board, mut client) = board_at(place)?;
    live::read(&mut client).with_context(|| format!("looking at the guest of board {board}"))
}

/// The board that was named where a file could have been.
fn board_at(place: &Path) -> anyhow::Result<(BoardName, Client)> {
    let name = place.to_str().context("the name of a board is text")?;
    let board: BoardName = name.parse()?;
    board.is_free()?;
    let client = board
        .connect()
        .with_context(|| format!("{} is no file", place.display()))?;
    Ok((board, client))
}

fn set(arguments: &SetArguments) -> anyhow::Result<()> {
    let mut values = Vec::new();
    for assignment in &arguments.values {
        let (name, value) = assignment
            .split_once('=')
            .with_context(|| format!("{assignment:?}: not NAME=VALUE"))?;
        let value = access::number(value).with_context(|| format!("{value:?} is no number"))?;
        values.push((access::find(name)?, value));
    }
    let changes = if arguments.place.is_file() {
        set_in_file(&arguments.place, arguments.vcpu, &values)?
    } else {
        let (board, mut client) = board_at(&arguments.place)?;
        live::set(&mut client, arguments.vcpu, &values)
            .with_context(|| format!("setting registers of the guest of board {board}"))?
    };
    for change in changes {
        let access::Change {
            register,
            before,
            after,
        } = change;
        style::notice(&format!("{}: {before:#x} → {after:#x}", register.name()));
    }
    Ok(())
}

fn set_in_file(
    path: &Path,
    vcpu: usize,
    values: &[(Register, u128)],
) -> anyhow::Result<Vec<access::Change>> {
    let file = SnapshotFile::open(path)?;
    let mut state = file.state().clone();
    let changes = access::set_all(&mut state, vcpu, values)?;
    snapshot::write(path, &state, &file)?;
    Ok(changes)
}
