// SPDX-License-Identifier: BSD-2-Clause
//! `godwit status`, `pause`, `resume`, `discard` and `statistics`.

use std::time::Duration;

use clap::Args;
use protocol::management::{Failure, MoveReport, Phase, Stage, StatusReport, Welcome};

use super::board::BoardName;
use super::{SUCCESS, style};
use crate::run::Fault;
use crate::timeouts::REACTION;

/// A board to be managed.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The name of a running board, or its link.
    board: BoardName,
}

/// `godwit status`.
pub(super) fn status(arguments: &Arguments) -> anyhow::Result<u8> {
    let name = &arguments.board;
    let job = name.job()?;
    let mut text = format!("board {name}\n");
    // A board whose link takes one command at a time cannot be asked while another has it.
    if job.is_none() || name.is_shared() {
        let mut board = name.connect()?;
        let welcome = board.welcome()?;
        let status = board.status()?;
        text += &format!("  guest      {}\n", guest(&status));
        for (vcpu, hang) in board.look()?.iter().enumerate() {
            if let Some(hang) = hang {
                text += &format!("  vCPU {vcpu}     {hang}\n");
            }
        }
        text += &format!("  board      {}\n", machine(&welcome));
        if let Some(report) = &status.last_move {
            text += &format!("  last move  {}\n", last_move(report));
        }
    }
    if let Some(job) = job {
        text += &format!("  command    {job}\n");
    }
    style::show(&text)?;
    Ok(SUCCESS)
}

/// `godwit pause`.
pub(super) fn pause(arguments: &Arguments) -> anyhow::Result<u8> {
    arguments.board.is_free()?;
    let status = arguments.board.connect()?.pause(REACTION)?;
    style::notice(&format!(
        "board {}: the guest is {}",
        arguments.board, status.phase
    ));
    Ok(SUCCESS)
}

/// `godwit resume`.
pub(super) fn resume(arguments: &Arguments) -> anyhow::Result<u8> {
    arguments.board.is_free()?;
    let status = arguments.board.connect()?.resume(REACTION)?;
    style::notice(&format!(
        "board {}: the guest is {}",
        arguments.board, status.phase
    ));
    Ok(SUCCESS)
}

/// `godwit discard`.
pub(super) fn discard(arguments: &Arguments) -> anyhow::Result<u8> {
    arguments.board.is_free()?;
    arguments.board.connect()?.discard()?;
    style::notice(&format!(
        "board {}: the guest is discarded",
        arguments.board
    ));
    Ok(SUCCESS)
}

/// `godwit statistics`.
pub(super) fn statistics(arguments: &Arguments) -> anyhow::Result<u8> {
    let counts = arguments.board.connect()?.statistics()?;
    let mut text = format!("board {}: exits since it started\n", arguments.board);
    for (count, what) in [
        (counts.smc, "SMC: PSCI and SMCCC calls"),
        (counts.console, "accesses to the console"),
        (counts.distributor, "accesses to the interrupt distributor"),
        (counts.other_aborts, "other accesses outside of RAM"),
        (counts.wait, "waits for interrupts (WFI, WFE)"),
        (counts.timer, "virtual timer events"),
        (counts.maintenance, "ends of interrupts"),
        (counts.other, "system registers and everything else"),
        (counts.all(), "in all"),
    ] {
        text += &format!("  {count:>12}  {what}\n");
    }
    style::show(&text)?;
    Ok(SUCCESS)
}

fn guest(status: &StatusReport) -> String {
    let mut text = match status.phase {
        Phase::Empty => "none; the board waits for one".to_owned(),
        phase => phase.to_string(),
    };
    match status.vcpus {
        0 => {}
        1 => text += ", 1 vCPU",
        count => text += &format!(", {count} vCPUs"),
    }
    if status.phase == Phase::Failed || status.failure != Failure::None {
        text += &format!(": {}", Fault::from(status));
    }
    text
}

fn machine(welcome: &Welcome) -> String {
    format!(
        "{} MiB for a guest, up {:.1} s, counter at {:.1} MHz",
        welcome.ram_bytes >> 20,
        Duration::from_micros(welcome.uptime_us).as_secs_f64(),
        to_f64(welcome.counter_frequency) / 1e6
    )
}

fn last_move(report: &MoveReport) -> String {
    let stage = match report.stage {
        Stage::Gone => "the guest went to the other board",
        Stage::Taken => "the guest came from the other board",
        Stage::Failed => "did not take place",
        Stage::InDoubt => {
            "in doubt: handed over, and not heard that it was taken; `godwit resolve` ends the doubt"
        }
        Stage::Unknown => "not known",
        Stage::Offering => "under way: asking the other board",
        Stage::Copying => "under way: copying memory while the guest runs",
        Stage::Stopping | Stage::Finishing | Stage::Preparing => {
            "under way: sending the rest while the guest is paused"
        }
        Stage::Receiving => "under way: receiving",
        Stage::Prepared => "under way: everything is here, waiting for the word",
    };
    let reason = report
        .failure
        .map_or_else(String::new, |failure| format!(": {failure}"));
    let figures = &report.figures;
    format!(
        "{}: {stage}{reason} ({} rounds, {} pages, {:.1} MB)",
        report.id,
        figures.rounds,
        figures.pages_sent,
        to_f64(figures.bytes) / 1e6
    )
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub(super) const fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use protocol::{MoveFailure, MoveId};

    use super::*;

    #[test]
    fn a_failed_guest_says_why() {
        let status = StatusReport {
            phase: Phase::Failed,
            vcpus: 2,
            failure: Failure::Kernel,
            detail: 3,
            program_counter: 0x4000_0000,
            ram_bytes: 0,
            newest_move: MoveId(0),
            last_move: None,
        };
        let text = guest(&status);
        assert!(
            text.starts_with("stopped for a fault, 2 vCPUs: the kernel refused"),
            "{text}"
        );
        assert!(text.ends_with("program counter 0x40000000)"), "{text}");
    }

    #[test]
    fn a_move_that_failed_says_why() {
        let report = MoveReport {
            id: MoveId(7),
            stage: Stage::Failed,
            failure: Some(MoveFailure::Silence),
            figures: protocol::management::Figures::default(),
        };
        let text = last_move(&report);
        assert!(
            text.starts_with("0x7: did not take place: nothing was heard"),
            "{text}"
        );
    }
}
