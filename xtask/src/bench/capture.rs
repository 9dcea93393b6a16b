// SPDX-License-Identifier: BSD-2-Clause
//! What it costs to capture and to restore one vCPU: the way that every snapshot and every move takes.
//!
//! A guest is paused and resumed again and again on a board whose `vmm-pd` is built to look at the counter
//! (`vmm-pd/src/shell/measure.rs`) and is otherwise the one that every board has. The guest has two vCPUs and is paused
//! (`guest/bench/src/stand.rs`); the second is looked at, because when its turn comes, `migration-pd` has done what followed
//! from its request and is idle.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use godwit::client::Client;
use godwit::session::{Scratch, Session, SessionOptions};
use image::guest::{Guest, Program};
use image::{ImageRequest, Kernel, build_guest, build_image, build_variant, workspace};
use protocol::Event;
use protocol::management::Phase;

use super::run::LOAD_ADDRESS;
use channel::vgic::LIST_REGISTERS;

/// How often, after once that does not count: what the guest had raised is then where a restore puts it.
const ROUNDS: usize = 100;
/// How long a board may take to boot, and then to answer.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How many interrupts the guest has under way: none, or as many as there are list registers.
const INTERRUPTS: [usize; 2] = [0, LIST_REGISTERS];

/// The goals, in instructions: half of what the experiment took that seL4 was chosen after (issue 4 of the project).
const GOALS: [&str; 2] = ["13500", "12500"];

/// What one pause and what followed took, in instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    /// Of `vmm-pd`, the stub and the kernel: capture, restore.
    own: [u64; 2],
    /// Of `vgic-pd` and `timer-pd`, and the calls of them: at a capture, at a restore.
    peers: [u64; 2],
    list_registers: u64,
}

/// One kernel's figures for one guest.
#[derive(Debug)]
pub(crate) struct Captures {
    kernel: Kernel,
    rounds: Vec<Round>,
}

/// Measures both guests on `kernel`.
pub(crate) fn measure(kernel: Kernel) -> anyhow::Result<Vec<Captures>> {
    let root = workspace()?;
    let measuring = build_variant(&root, "vmm-pd", &["domain", "measure"])?;
    let file = build_guest(&root, "bench")?;
    let measure = |interrupts| {
        let image = build_image(&ImageRequest {
            name: format!("capture-{interrupts}-{kernel}"),
            transient: true,
            kernel,
            guest: Some(Guest {
                program: Program::Flat {
                    file: file.clone(),
                    load: LOAD_ADDRESS,
                    tree: None,
                },
                vcpus: 2,
                arguments: format!("stand={interrupts}"),
                seeds: None,
            }),
            domain_overrides: BTreeMap::from([("vmm_pd".to_owned(), measuring.clone())]),
            ..ImageRequest::default()
        })?;
        let scratch = Scratch::new()?;
        let mut board = Session::start(
            SessionOptions {
                icount: true,
                ..SessionOptions::new("capture", image)
            },
            &scratch,
        )?;
        board.expect("bench: standing", TIMEOUT)?;
        let rounds = rounds(&mut board)?;
        Ok(Captures { kernel, rounds })
    };
    INTERRUPTS.into_iter().map(measure).collect()
}

fn rounds(board: &mut Session) -> anyhow::Result<Vec<Round>> {
    let mut client = Client::connect(&board.address(), TIMEOUT)?;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..=ROUNDS {
        client.begin_pause()?;
        until(&mut client, Phase::Stopped)?;
        client.begin_resume()?;
        until(&mut client, Phase::Running)?;
        let line = board.expect_line("measured: ", TIMEOUT)?;
        rounds.push(round(&line).with_context(|| format!("the board says: {line}"))?);
    }
    rounds.remove(0);
    let taken = |round: &Round| round.list_registers;
    ensure!(
        rounds.iter().map(taken).min() == rounds.iter().map(taken).max(),
        "the guest was not paused: {rounds:?}"
    );
    Ok(rounds)
}

/// Waits until the board says that its guest is in this phase. A question would be answered meanwhile, and measured.
fn until(client: &mut Client, phase: Phase) -> anyhow::Result<()> {
    loop {
        match client.next_event(TIMEOUT)? {
            Some(Event::PhaseChanged(status)) if status.phase == phase => return Ok(()),
            Some(_) => {}
            None => bail!("the board does not say that its guest is {phase}"),
        }
    }
}

/// Reads `measured: capture=…+… restore=…+… release=…+… vcpus=… list_registers=… frequency=…`. With QEMU's `-icount shift=0` an
/// instruction is a nanosecond.
fn round(line: &str) -> Option<Round> {
    let field = |name: &str| {
        line.split(' ')
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim_end())
    };
    let frequency: u64 = field("frequency")?.parse().ok()?;
    let instructions = |ticks: &str| {
        let ticks: u64 = ticks.parse().ok()?;
        ticks.checked_mul(1_000_000_000)?.checked_div(frequency)
    };
    let lap = |name: &str| {
        let (own, peers) = field(name)?.split_once('+')?;
        Some((instructions(own)?, instructions(peers)?))
    };
    let vcpus: u64 = field("vcpus")?.parse().ok()?;
    let (capture, told) = lap("capture")?;
    let ((restore, asked), (release, opened)) = (lap("restore")?, lap("release")?);
    Some(Round {
        // What lets the vCPUs run is the same for each of them.
        own: [capture, restore + release.checked_div(vcpus)?],
        peers: [told, asked + opened],
        list_registers: field("list_registers")?.parse().ok()?,
    })
}

/// What the lines of [`Captures`] are about.
pub(crate) const HEADING: &str = "\
| vCPU | list registers taken | kernel | goal, instructions | least | median | most | besides, calls of vgic-pd and timer-pd |
|---|---|---|---|---|---|---|---|";

impl fmt::Display for Captures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list_registers = self.rounds.first().map_or(0, |round| round.list_registers);
        for (way, name) in ["capture", "restore"].into_iter().enumerate() {
            let own = self.rounds.iter().map(|round| round.own[way]).collect();
            let besides = self.rounds.iter().map(|round| round.peers[way]);
            let ([least, median, most], [_, besides, _]) = (spread(own), spread(besides.collect()));
            // The goals are for empty ones.
            let goal = if list_registers == 0 { GOALS[way] } else { "" };
            writeln!(
                formatter,
                "| {name} | {list_registers} | {} | {goal} | {least} | {median} | {most} | {besides} |",
                self.kernel
            )?;
        }
        Ok(())
    }
}

/// The smallest, the one in the middle, and the largest.
fn spread(mut values: Vec<u64>) -> [u64; 3] {
    values.sort_unstable();
    let at = |position: usize| values.get(position).copied().unwrap_or(0);
    [
        at(0),
        at(values.len() / 2),
        at(values.len().saturating_sub(1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "measured: capture=700+300 restore=500+400 release=200+100 vcpus=2 list_registers=0 frequency=62500000";

    #[test]
    fn ticks_are_told_as_instructions() {
        let round = round(LINE).unwrap();
        assert_eq!(round.own, [11_200, 9_600]);
        assert_eq!(round.peers, [4_800, 8_000]);
        assert_eq!(round.list_registers, 0);
    }

    #[test]
    fn half_a_line_is_no_measurement() {
        for (end, _) in LINE.match_indices(' ') {
            assert_eq!(round(&LINE[..end]), None, "{}", &LINE[..end]);
        }
    }

    #[test]
    fn goals_stand_beside_what_they_are_for() {
        let at = |capture| Round {
            own: [capture, 9_600],
            peers: [1, 2],
            list_registers: 0,
        };
        let mut captures = Captures {
            kernel: Kernel::Sel4,
            rounds: vec![at(12_000), at(14_000), at(12_160)],
        };
        let text = captures.to_string();
        assert!(
            text.starts_with("| capture | 0 | sel4 | 13500 | 12000 | 12160 | 14000 | 1 |\n"),
            "{text}"
        );
        captures.rounds[0].list_registers = 4;
        assert!(
            captures
                .to_string()
                .contains("| restore | 4 | sel4 |  | 9600 | 9600 |")
        );
    }
}
