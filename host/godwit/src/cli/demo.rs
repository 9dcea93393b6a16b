// SPDX-License-Identifier: BSD-2-Clause
//! `godwit demo`, also `cargo demo`.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::guest::{kernel, sel4_crates};
use super::manage::to_f64;
use super::screen::{Screen, Target};
use super::{GUEST_FAILED, SIGNAL, SUCCESS, style};
use crate::console::ending_signals;
use crate::demo::{self, DemoError, DemoOptions, Outcome, Ui as _};
use crate::guest_output::Check;
use image::{Kernel, Sel4Crates};

/// Moves a running Debian Linux live from one emulated board to another, and shows that it does not notice.
///
/// Installs what it needs where it may, and otherwise says what to type. Nothing is left running.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What the domains run on: `embedded`, our own kernel for development and tests, or `sel4` from the Microkit SDK.
    #[arg(long, default_value = "embedded", value_parser = kernel())]
    kernel: Kernel,
    /// The crates that the domains speak to the kernel with: `ours`, or `upstream` for rust-sel4's own.
    #[arg(long, value_name = "CRATES", default_value = "ours", value_parser = sel4_crates())]
    sel4_crates: Sel4Crates,
    /// Which kind of board it goes to, as under `board/`; `zcu102` is another SoC, with seL4 only and a serial link.
    #[arg(long, value_name = "BOARD", default_value = "qemu_virt_aarch64")]
    to: String,
    /// The processor of the board that it goes to, by QEMU's name: cortex-a72, cortex-a76 and what else the installed QEMU has.
    /// The guest says which one it sees before and after, and does without workarounds that it did not apply (--accept-core).
    #[arg(long, value_name = "CPU")]
    to_cpu: Option<String>,
    /// The guest's CPUs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
    vcpus: u32,
    /// The guest's RAM in MiB, an even number.
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    ram: u64,
    /// Moves it there and back again so often, instead of once there.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    ping_pong: Option<u32>,
    /// For how long its console is shown before and after a move.
    #[arg(long, value_name = "SECONDS", default_value_t = 4)]
    watch: u64,
    /// Draws the moments of the moves and the workload's patterns from this number.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Keeps the consoles' logs even if all is well.
    #[arg(long)]
    keep: bool,
    /// Prints one JSON object to standard output, and everything else to standard error.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut screen = Screen::new(if arguments.json {
        Target::Error
    } else {
        Target::Output
    });
    let mut options = DemoOptions {
        kernel: arguments.kernel,
        sel4_crates: arguments.sel4_crates,
        vcpus: arguments.vcpus,
        ram_mib: arguments.ram,
        ping_pong: arguments.ping_pong,
        watch: Duration::from_secs(arguments.watch),
        seed: arguments.seed,
        keep: arguments.keep,
        stop: stopped_by_signals()?,
        ..DemoOptions::default()
    };
    options.move_to(&arguments.to)?;
    if let Some(model) = &arguments.to_cpu {
        options.move_to_core(model)?;
    }
    let outcome = match demo::run(&options, &mut screen) {
        Ok(outcome) => outcome,
        Err(failure) => {
            screen.close();
            return match *failure.error {
                DemoError::Stopped => Ok(SIGNAL),
                _ => Err(failure.into()),
            };
        }
    };
    show(&mut screen, &outcome);
    if arguments.json {
        let json = serde_json::to_string(&outcome.summary())?;
        style::show(&format!("{json}\n"))?;
    }
    Ok(if outcome.ok() { SUCCESS } else { GUEST_FAILED })
}

/// What becomes true when this process is asked to end: boards are not left behind.
fn stopped_by_signals() -> std::io::Result<Arc<AtomicBool>> {
    let mut signals = ending_signals()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    std::thread::spawn(move || {
        if signals.read_exact(&mut [0]).is_ok() {
            stopped.store(true, Ordering::Relaxed);
        }
    });
    Ok(stop)
}

fn show(screen: &mut Screen, outcome: &Outcome) {
    screen.step("what it took");
    figures(outcome).iter().for_each(|line| screen.say(line));
    screen.step("what the guest found");
    let paint = screen.paint();
    for (name, check) in &outcome.report.checks {
        let verdict = if check.ok {
            paint.green("ok")
        } else {
            paint.red("FAILED")
        };
        screen.say(&format!("   {name:<8} {verdict}{}", remarks(check)));
    }
    let conclusion = if outcome.ok() {
        paint.green("the guest has noticed nothing")
    } else {
        paint.red("the guest has noticed: not all of its checks hold")
    };
    screen.step(&conclusion);
}

/// What the moves cost, line by line.
fn figures(outcome: &Outcome) -> Vec<String> {
    let summary = outcome.summary();
    let sources = outcome
        .moves
        .iter()
        .map(|summary| summary.figures.downtime_us);
    let longest = if outcome.moves.len() > 1 {
        " (the longest)"
    } else {
        ""
    };
    let (moves, total, rounds) = (outcome.moves.len(), summary.total_ms, summary.rounds);
    let (sent, zero, bytes) = (summary.pages_sent, summary.pages_zero, summary.bytes_sent);
    let host = milliseconds(summary.downtime_us);
    let source = milliseconds(sources.max().unwrap_or(0));
    let gap = milliseconds(outcome.report.largest_gap_us);
    let up = [&summary.board_a, &summary.board_b].map(|board| to_f64(board.up_ms) / 1e3);
    vec![
        format!("   moves        {moves} in {total} ms, {rounds} rounds"),
        format!("   pages        {sent} sent, {zero} elided because they are zero"),
        format!("   bytes        {bytes} ({:.1} MB)", to_f64(bytes) / 1e6),
        format!("   downtime     {host} by the host, {source} by the board it left{longest}"),
        format!(
            "                {gap} was the longest gap by the guest's own clock, which is frozen with it"
        ),
        format!(
            "   boards       A was up for {:.1} s and B for {:.1} s when it first moved",
            up[0], up[1]
        ),
    ]
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.1} ms", to_f64(microseconds) / 1e3)
}

fn remarks(check: &Check) -> String {
    let mut text = format!("  {} rounds", check.rounds);
    if check.failures > 0 {
        text += &format!(", {} failures", check.failures);
    }
    if let Some(failure) = &check.first_failure {
        text += &format!(", the first: {failure}");
    }
    if check.stalled {
        text += ", and it has stopped";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_says_what_it_found() {
        let check = Check {
            ok: false,
            rounds: 5,
            failures: 1,
            first_failure: Some("v7 differs".to_owned()),
            stalled: true,
        };
        assert_eq!(
            remarks(&check),
            "  5 rounds, 1 failures, the first: v7 differs, and it has stopped"
        );
    }
}
