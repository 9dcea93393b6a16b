// SPDX-License-Identifier: BSD-2-Clause
//! `godwit run`, `console` and `end`: a board, and the terminals that watch it.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;

use super::guest::{BoardArguments, CoreArguments, GuestArguments};
use super::{GUEST_FAILED, SIGNAL, SUCCESS, style};
use crate::attach::{Attach, Left, Signals, attach};
use crate::console::{self, ESCAPE_NAME, RawTerminal};
use crate::keeper::messages::End;
use crate::keeper::{self, Order};
use crate::run::{RunOptions, Started, start};
use crate::running::{Registry, Running};
use crate::timeouts::START;
use image::guest::Seeds;
use image::prepare::{self, Need};
use image::{Board, ImageRequest, ram_size, workspace};

/// Runs a guest on a board under QEMU, its console in this terminal.
///
/// Ctrl-] asks what to do: leave (the board lives on), end the board, or type it. A terminal that is closed leaves. Without
/// a terminal, the standard input is typed to the guest, and the board ends with its guest. While it runs, others can
/// manage it under its name or link.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    guest: GuestArguments,
    #[command(flatten)]
    board: BoardArguments,
    /// The board's name for other commands; the first free letter unless given.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The board's own RAM as QEMU's -m takes it; as much as the guest needs unless given.
    #[arg(long, value_name = "SIZE", value_parser = ram_size)]
    board_ram: Option<u64>,
    #[command(flatten)]
    core: CoreArguments,
    /// Comes back as soon as the board runs; `godwit console` shows its guest's console.
    #[arg(long)]
    detach: bool,
}

/// Shows the console of a board that runs here, and what its guest has said since it began.
///
/// Several can watch one board. Ctrl-] d leaves, Ctrl-] q ends the board, Ctrl-] ? helps.
#[derive(Debug, Args)]
pub(super) struct ConsoleArguments {
    /// The name of a board that runs here.
    name: String,
    /// Shows only what is said from now on.
    #[arg(long)]
    from_now: bool,
}

/// Ends a board that runs here, and its guest with it.
#[derive(Debug, Args)]
pub(super) struct EndArguments {
    /// The name of a board that runs here.
    name: String,
}

/// A board's keeper: what `run` starts.
#[derive(Debug, Args)]
pub(super) struct KeepArguments {
    order: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    prepare::prerequisites(&workspace()?, &[Need::Run], &style::notice)?;
    let mut chosen = arguments.guest.choose()?;
    if chosen.listens.is_some()
        && let Some(guest) = &mut chosen.guest
        && let Some((rows, columns)) = console::size(std::io::stdout())
    {
        // Ours knows these; of somebody else's nothing is known.
        guest.arguments += &format!(" godwit.rows={rows} godwit.columns={columns}");
    }
    if let Some(guest) = &mut chosen.guest {
        // The image is for this start alone.
        guest.seeds = Some(Seeds::fresh().context("the host's random numbers")?);
    }
    let board = Board::load(&workspace()?, &arguments.board.board)?;
    let promise = arguments.guest.promise(
        &board,
        Some(&arguments.core),
        &arguments.board,
        chosen.guest.as_mut(),
    )?;
    let options = RunOptions {
        name: arguments.name.clone(),
        request: ImageRequest {
            board_ram: arguments.board_ram,
            promise,
            ..arguments
                .guest
                .request(&arguments.board, "run", chosen.guest)?
        },
        guest: chosen.name,
        extra: arguments.core.extra(&arguments.board.board)?,
    };
    // Before anything is there that a signal would have to end.
    let signals = Signals::new()?;
    let Started { name, keeper } = start(&options)?;
    if arguments.detach {
        return detach(&name, &options.guest, keeper);
    }
    let at_terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
    let leave = if at_terminal {
        format!("; {ESCAPE_NAME} asks what to do")
    } else {
        String::new()
    };
    style::notice(&format!("board {name}: {}{leave}", options.guest));
    let attach = Attach {
        name,
        owner: true,
        history: u64::MAX,
        held_until: chosen.listens.map(str::to_owned),
    };
    watch(keeper, &attach, signals)
}

/// `godwit console`.
pub(super) fn watch_console(arguments: &ConsoleArguments) -> anyhow::Result<u8> {
    let keeper = keeper_of(&arguments.name)?;
    style::notice(&format!(
        "board {}; {ESCAPE_NAME} asks what to do",
        arguments.name
    ));
    let attach = Attach {
        name: arguments.name.clone(),
        owner: false,
        history: if arguments.from_now { 0 } else { u64::MAX },
        held_until: None,
    };
    watch(keeper, &attach, Signals::new()?)
}

/// `godwit end`.
pub(super) fn end(arguments: &EndArguments) -> anyhow::Result<u8> {
    let name = &arguments.name;
    keeper::end(keeper_of(name)?).with_context(|| format!("board {name}: ending it"))?;
    style::notice(&format!("board {name} has ended"));
    Ok(SUCCESS)
}

/// `godwit keep`.
pub(super) fn keep(arguments: &KeepArguments) -> anyhow::Result<u8> {
    let order: Order = serde_json::from_str(&arguments.order)
        .context("a keeper is started by `godwit run`, and by nobody else")?;
    keeper::keep(&order)?;
    Ok(SUCCESS)
}

/// Leaves a board to itself once it runs.
fn detach(name: &str, guest: &str, keeper: UnixStream) -> anyhow::Result<u8> {
    match keeper::detach(keeper).with_context(|| format!("board {name}: starting it"))? {
        None => {
            style::notice(&format!(
                "board {name}: {guest}; `godwit console {name}` shows its console, `godwit end {name}` ends it"
            ));
            Ok(SUCCESS)
        }
        Some(end) => ended(name, &end),
    }
}

/// The keeper of a board that runs here, as soon as it has one.
fn keeper_of(name: &str) -> anyhow::Result<UnixStream> {
    let deadline = Instant::now() + START;
    let registry = Registry::of_user()?;
    loop {
        let Running { terminal, .. } = registry.find(name)?;
        match UnixStream::connect(&terminal) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("board {name}: reaching its keeper"));
            }
            // It is being built.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn watch(keeper: UnixStream, options: &Attach, signals: Signals) -> anyhow::Result<u8> {
    let name = &options.name;
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let raw = RawTerminal::enter(&input)
        .with_context(|| format!("board {name}: taking over the terminal"))?;
    let left = attach(
        keeper,
        options,
        signals,
        (input.lock(), output.lock()),
        &mut style::notice,
    );
    drop(raw);
    match left.with_context(|| format!("board {name}: its console"))? {
        Left::Ended(end) => ended(name, &end),
        Left::Signal => Ok(SIGNAL),
        Left::Detached => {
            style::notice(&format!(
                "board {name} lives on; `godwit console {name}` comes back to it, `godwit end {name}` ends it"
            ));
            Ok(SUCCESS)
        }
    }
}

/// What the end of a board means.
fn ended(name: &str, end: &End) -> anyhow::Result<u8> {
    match end {
        End::PoweredOff => style::notice("the guest has switched itself off"),
        End::Ended => style::notice(&format!("board {name} has ended")),
        End::Signal => return Ok(SIGNAL),
        End::Failed(fault) => {
            style::error(&anyhow::anyhow!(
                "the guest was stopped for a fault: {fault}"
            ));
            return Ok(GUEST_FAILED);
        }
        End::Broken(error) => anyhow::bail!("board {name}: {error}"),
    }
    Ok(SUCCESS)
}
