// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask bench`: what exits cost, in instructions and in time, what a capture and a restore of a vCPU cost in
//! instructions, what an idle guest costs, what a byte on the console costs, and what live moves cost.
//!
//! The bare-metal guest of `guest/bench` measures itself by the virtual counter. With QEMU's `-icount shift=0` a
//! nanosecond of that counter is one instruction: exact, repeatable, and the same on every machine. Without it, times
//! are wall time under emulation. Which figure belongs to what is in `docs/performance.md`.

mod capture;
mod console;
mod idle;
mod moves;
mod run;
mod table;

use std::process::ExitCode;

use clap::Args;
use image::Kernel;
use image::prepare::{self, Need};

use crate::kernels::Kernels;
use crate::workspace::root;
use table::{Column, Table};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// On which kernel.
    #[arg(long, value_enum, default_value_t = Kernels::Available)]
    kernel: Kernels,
    /// Repetitions of the short operations.
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    /// Leave out the exits, and the idle Linux guest.
    #[arg(long)]
    no_exits: bool,
    /// Leave out captures and restores.
    #[arg(long)]
    no_captures: bool,
    /// Leave out the idle Linux guest.
    #[arg(long)]
    no_idle: bool,
    /// Leave out the console.
    #[arg(long)]
    no_console: bool,
    /// Leave out the moves.
    #[arg(long)]
    no_moves: bool,
}

/// Measures, and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    prepare::prerequisites(root(), &[Need::Demo], &|step| println!("{step}"))?;
    let (mut table, mut captures, mut moves) = (Table::default(), Vec::new(), Vec::new());
    let mut consoles = Vec::new();
    if !options.no_console {
        println!("plain QEMU: console");
        consoles.push(console::reference()?);
    }
    for kernel in options.kernel.list() {
        if !options.no_exits {
            table.add(column(kernel, options)?);
        }
        if !options.no_captures {
            println!("{kernel}: captures and restores, in instructions");
            captures.extend(capture::measure(kernel)?);
        }
        if !options.no_console {
            println!("{kernel}: console");
            consoles.push(console::measure(kernel)?);
        }
        if !options.no_moves {
            println!("{kernel}: live moves");
            moves.push(moves::measure(kernel)?);
        }
    }
    if !options.no_exits {
        println!("\n{table}");
    }
    if !captures.is_empty() {
        println!("\n{}", capture::HEADING);
    }
    for captures in captures {
        print!("{captures}");
    }
    if let Some(reference) = consoles.first() {
        println!("\n{}", console::HEADING);
        for speed in &consoles {
            print!("{}", console::Row(speed, reference));
        }
    }
    if !moves.is_empty() {
        println!("\n| live move | bytes | total | downtime |\n|---|---|---|---|");
    }
    for moves in moves {
        print!("{moves}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What exits and idling cost on `kernel`.
fn column(kernel: Kernel, options: &Options) -> anyhow::Result<Column> {
    println!("{kernel}: exits, in instructions");
    let instructions = run::measure(kernel, run::Time::Instructions, options.count)?;
    println!("{kernel}: exits, in wall time");
    let wall = run::measure(kernel, run::Time::Wall, options.count)?;
    let idle = if options.no_idle {
        None
    } else {
        println!("{kernel}: idle Linux for {} s", idle::SECONDS);
        Some(idle::measure(kernel)?)
    };
    Ok(Column {
        kernel: kernel.to_string(),
        instructions,
        wall,
        idle,
    })
}
