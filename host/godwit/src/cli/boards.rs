// SPDX-License-Identifier: BSD-2-Clause
//! `godwit boards`.

use std::time::Duration;

use clap::Args;

use super::{SUCCESS, style};
use crate::running::{Registry, Running};
use image::processor::matrix::Matrix;
use image::{Board, workspace};

/// Lists the boards that are known, and those that are running.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Which board can send its guests to which, and why not, as far as the boards' files can tell: `core` if the guest knows
    /// of the other core or --accept-core is given, `baseline` if it was started with --baseline.
    #[arg(long)]
    matrix: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.matrix {
        style::show(&Matrix::of_boards(&workspace()?)?.to_string())?;
        return Ok(SUCCESS);
    }
    let mut text = "Boards that images can be built for:\n".to_owned();
    let root = workspace()?;
    for name in Board::names(&root) {
        let board = Board::load(&root, &name)?;
        let kernels: Vec<_> = board.kernels.iter().map(ToString::to_string).collect();
        text += &format!(
            "  {name:<20} {} ({})\n",
            board.description,
            kernels.join(", ")
        );
    }
    let running = Registry::of_user()?.boards();
    if running.is_empty() {
        text += "\nNone is running here; `godwit run` starts one.\n";
    } else {
        text += "\nBoards that are running here:\n";
        text.extend(running.iter().map(line));
    }
    style::show(&text)?;
    Ok(SUCCESS)
}

fn line(running: &Running) -> String {
    let facts = &running.facts;
    format!(
        "  {:<8} {}, {} kernel, {}, {} MiB, up {}, process {}\n  {:<8} link {}\n",
        running.name,
        facts.board,
        facts.kernel,
        facts.guest,
        facts.ram_mib,
        duration(running.uptime()),
        facts.process,
        "",
        running.link.display()
    )
}

fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_for_people() {
        let shown = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!(shown(59), "59 s");
        assert_eq!(shown(61), "1 min 1 s");
        assert_eq!(shown(7260), "2 h 1 min");
    }
}
