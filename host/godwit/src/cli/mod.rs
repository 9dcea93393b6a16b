// SPDX-License-Identifier: BSD-2-Clause
//! The command line: what can be typed, and which function of this library does it.
//!
//! Responsible for: arguments, messages for people, and exit statuses. Never: does anything that a program using this
//! library could not do.

// Whoever reads may have gone, which those take for a reason to panic: see `style::show` and `style::notice`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod board;
mod boards;
mod demo;
mod guest;
mod image;
mod inspect;
mod isolation;
mod manage;
mod migrate;
mod progress;
mod reg;
mod run;
mod screen;
mod snapshot;
mod style;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// It worked; for `run`, the guest switched itself off or the user left.
const SUCCESS: u8 = 0;
/// It did not work; a message says why.
const FAILURE: u8 = 1;
/// The guest was stopped for a fault (`run`), or not all of its checks hold (`demo`).
const GUEST_FAILED: u8 = 3;
/// Ended by a signal.
const SIGNAL: u8 = 130;

const STATUSES: &str = "\
Exit status:
  0    it worked; `run`: the guest switched itself off, or you left it
  1    it did not work, and a message says what, where, and what to do
  2    the command line is wrong
  3    `run`: the guest was stopped for a fault; `demo`: not all of the guest's checks hold
  130  ended by a signal";

/// Virtual machines that move between Arm boards.
///
/// BOARD is the name of a running board (`godwit boards` lists them) or its link: a socket's path, unix:PATH,
/// tcp:HOST:PORT or serial:DEVICE,BAUD.
#[derive(Debug, Parser)]
#[command(name = "godwit", version, after_help = STATUSES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Run(run::Arguments),
    Console(run::ConsoleArguments),
    End(run::EndArguments),
    #[command(hide = true)]
    Keep(run::KeepArguments),
    Image(image::Arguments),
    Isolation(isolation::Arguments),
    Boards(boards::Arguments),
    /// Says what a board's guest is doing, and what became of its last move.
    Status(manage::Arguments),
    /// Pauses a guest.
    Pause(manage::Arguments),
    /// Resumes a guest.
    Resume(manage::Arguments),
    /// Discards a paused guest, so that the board can take another one.
    Discard(manage::Arguments),
    /// Counts why a guest left its CPUs, since the board started.
    Statistics(manage::Arguments),
    Migrate(migrate::Arguments),
    Resolve(migrate::Resolve),
    /// Keeps a running or paused guest in a file; it continues as it was.
    Snapshot(snapshot::SnapshotArguments),
    /// Puts a guest from a file onto an empty board.
    Restore(snapshot::RestoreArguments),
    /// Shows what is in a snapshot: registers, interrupts, timers, a picture of its memory.
    Inspect(inspect::InspectArguments),
    /// Shows what changed from one snapshot to another.
    Diff(inspect::DiffArguments),
    /// Shows and changes registers, by name or identifier.
    #[command(subcommand)]
    Reg(reg::Command),
}

/// The operator's program: reads the command line, does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Console(arguments) => run::watch_console(&arguments),
        Command::End(arguments) => run::end(&arguments),
        Command::Keep(arguments) => run::keep(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Isolation(arguments) => isolation::run(&arguments),
        Command::Boards(arguments) => boards::run(&arguments),
        Command::Status(arguments) => manage::status(&arguments),
        Command::Pause(arguments) => manage::pause(&arguments),
        Command::Resume(arguments) => manage::resume(&arguments),
        Command::Discard(arguments) => manage::discard(&arguments),
        Command::Statistics(arguments) => manage::statistics(&arguments),
        Command::Migrate(arguments) => migrate::migrate(&arguments),
        Command::Resolve(arguments) => migrate::resolve(&arguments),
        Command::Snapshot(arguments) => snapshot::snapshot(&arguments),
        Command::Restore(arguments) => snapshot::restore(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Diff(arguments) => inspect::diff(&arguments),
        Command::Reg(command) => reg::run(&command),
    };
    ExitCode::from(result.unwrap_or_else(|error| {
        style::error(&error);
        FAILURE
    }))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
