//! `godwit run`.

use clap::Args;

use super::guest::{BoardArguments, GuestArguments};
use super::{GUEST_FAILED, SIGNAL, SUCCESS, style};
use crate::image::workspace;
use crate::prepare::{self, Need};
use crate::run::{RunEnd, RunOptions, run as run_board};

/// Runs a guest on a board under QEMU, its console in this terminal.
///
/// Ctrl-] leaves and ends the board. Without a terminal, the standard input is typed to the guest, and the board ends
/// with its guest. While it runs, others can manage it under its name or link.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    guest: GuestArguments,
    #[command(flatten)]
    board: BoardArguments,
    /// The board's name for other commands; the first free letter unless given.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The board's own RAM as QEMU's -m takes it.
    #[arg(long, value_name = "SIZE")]
    board_ram: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    prepare::prerequisites(&workspace()?, &[Need::Run], &style::notice)?;
    let chosen = arguments.guest.choose()?;
    let options = RunOptions {
        name: arguments.name.clone(),
        request: arguments
            .guest
            .request(&arguments.board, "run", chosen.guest)?,
        guest: chosen.name,
        held_until: chosen.listens.map(str::to_owned),
        board_ram: arguments.board_ram.clone(),
        extra: Vec::new(),
    };
    let (input, output) = (std::io::stdin(), std::io::stdout());
    let end = run_board(&options, input.lock(), output.lock(), &mut style::notice)?;
    Ok(match end {
        RunEnd::PoweredOff => {
            style::notice("the guest has switched itself off");
            SUCCESS
        }
        RunEnd::Left => SUCCESS,
        RunEnd::Signal => SIGNAL,
        RunEnd::Failed(fault) => {
            style::error(&anyhow::anyhow!(
                "the guest was stopped for a fault: {fault}"
            ));
            GUEST_FAILED
        }
    })
}
