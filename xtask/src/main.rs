// SPDX-License-Identifier: BSD-2-Clause
//! The developer's program: `cargo xtask` lists what a developer can do; `cargo xtask test` is the one test command.
//!
//! Responsible for saying what "everything" is: which packages are built for which target with which features, in what
//! order it is checked, and what counts as passed. Never: tests anything itself that a crate could test.

mod attack;
mod bench;
mod cargo;
mod docs;
mod fuzz;
mod kernels;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod licence;
mod lint;
mod size;
mod tally;
mod test;
#[cfg(test)]
mod words;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks and measures the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything: formatting, lints, host tests, cross builds, sizes, system tests in QEMU.
    Test(test::Options),
    /// Checks formatting, lints on every target, documentation, and which crates are used.
    Lint,
    /// Writes what is generated of the documents: registers, moves between boards, isolation.
    Docs,
    /// Tries every decoder with any bytes.
    Fuzz(fuzz::Options),
    /// Measures exits, captures and restores, idling and moves in QEMU, and prints tables.
    Bench(bench::Options),
    /// Has a guest attack its board with whatever a seed draws.
    Attack(attack::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Lint => lint::run(),
        Command::Docs => docs::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Attack(options) => attack::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn everything_that_a_developer_can_do_is_listed_with_one_line() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for command in command.get_subcommands() {
            let about = command.get_about().expect("a line").to_string();
            assert_eq!(about.lines().count(), 1, "{about}");
        }
    }

    #[test]
    fn system_tests_are_chosen_by_any_number_of_names() {
        let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("xtask test --system"));
        assert!(parses("xtask test --system moves::embedded idle"));
        assert!(!parses("xtask test --system moves --host"));
        assert!(!parses("xtask test moves --system"));
    }
}
