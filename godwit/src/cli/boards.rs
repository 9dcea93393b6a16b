//! `godwit boards`.

use std::time::Duration;

use clap::Args;

use super::SUCCESS;
use crate::image::{Board, workspace};
use crate::running::{Registry, Running};

/// Lists the boards that are known, and those that are running.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> anyhow::Result<u8> {
    println!("Boards that images can be built for:");
    let root = workspace()?;
    for name in Board::names(&root) {
        let board = Board::load(&root, &name)?;
        let kernels: Vec<_> = board.kernels.iter().map(ToString::to_string).collect();
        println!(
            "  {name:<20} {} ({})",
            board.description,
            kernels.join(", ")
        );
    }
    let running = Registry::of_user()?.boards();
    if running.is_empty() {
        println!("\nNone is running here; `godwit run` starts one.");
    } else {
        println!("\nBoards that are running here:");
        running.iter().for_each(print);
    }
    Ok(SUCCESS)
}

fn print(running: &Running) {
    let facts = &running.facts;
    println!(
        "  {:<8} {}, {} kernel, {}, {} MiB, up {}, process {}",
        running.name,
        facts.board,
        facts.kernel,
        facts.guest,
        facts.ram_mib,
        duration(running.uptime()),
        facts.process
    );
    println!("  {:<8} link {}", "", running.link.display());
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
