// SPDX-License-Identifier: BSD-2-Clause
//! The developer's program: `cargo xtask test` is the project's one test command.
//!
//! Responsible for saying what "everything" is: which packages are built for which target with which features, in what
//! order it is checked, and what counts as passed. Never: tests anything itself that a crate could test.

mod attack;
mod bench;
mod cargo;
mod kernels;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod licence;
mod size;
mod tally;
mod test;
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
    /// Measures exits, captures and restores, idling and moves in QEMU, and prints tables.
    Bench(bench::Options),
    /// Has a guest attack its board, with random registers, exceptions, accesses and jumps from a seed.
    Attack(attack::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Attack(options) => attack::run(&options),
    }
}
