// SPDX-License-Identifier: BSD-2-Clause
//! A board in a test: its console, its management, its guest.
//!
//! Responsible for: what every test does with a board, with the board's last lines in what a failed test prints. Never:
//! hides that a guest says something is wrong.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use godwit::client::Client;
use godwit::guest_output::{self, Report, command};
use godwit::link::Address;
use godwit::relay::{self, Options, Progress, Summary};
use godwit::session::{Scratch, Session, SessionOptions};
use image::Image;
use protocol::Event;
use protocol::management::Phase;

use crate::cable::Cable;
use crate::{ANSWER, BOOT, MOVE};

/// How often a wait looks again at what does not announce itself.
const LOOK: Duration = Duration::from_millis(100);

/// A board that runs. What its console said last is printed when it ends, for a test that fails.
#[derive(Debug)]
pub struct Board {
    /// Its console, and QEMU.
    pub session: Session,
    /// Where its link is, or the cable to it.
    address: Address,
    client: Option<Client>,
    /// Ends with the board.
    cable: Option<Cable>,
}

impl Board {
    /// Starts a board; `name` distinguishes it from others in the same directory.
    ///
    /// # Errors
    ///
    /// QEMU does not start.
    pub fn start(name: &str, image: &Image, scratch: &Scratch) -> anyhow::Result<Self> {
        Self::start_with(SessionOptions::new(name, image.clone()), scratch)
    }

    /// The same with other options.
    ///
    /// # Errors
    ///
    /// QEMU does not start.
    pub fn start_with(options: SessionOptions, scratch: &Scratch) -> anyhow::Result<Self> {
        let session = Session::start(options, scratch)?;
        Ok(Self {
            address: session.address(),
            session,
            client: None,
            cable: None,
        })
    }

    /// Lets everything that goes over its link go over a cable, which can be cut.
    ///
    /// # Errors
    ///
    /// The cable cannot be laid.
    pub fn lay_cable(
        &mut self,
        scratch: &Scratch,
        make: impl FnOnce(&Path, &Path) -> std::io::Result<Cable>,
    ) -> anyhow::Result<()> {
        let name = self.session.name();
        let outer = scratch.path().join(format!("{name}.cable"));
        self.cable = Some(make(&self.link_path()?, &outer)?);
        self.address = Address::Unix(outer);
        self.client = None;
        Ok(())
    }

    /// Where QEMU offers its link.
    ///
    /// # Errors
    ///
    /// It is no socket.
    pub fn link_path(&self) -> anyhow::Result<PathBuf> {
        match self.session.address() {
            Address::Unix(path) => Ok(path),
            address => anyhow::bail!("{address} is no socket"),
        }
    }

    /// Its management, connected to it at the first use.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn client(&mut self) -> anyhow::Result<&mut Client> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(&self.address, BOOT)?,
        };
        Ok(self.client.insert(client))
    }

    /// Ends the connection to its management; the next use makes another.
    pub fn hang_up(&mut self) {
        self.client = None;
    }

    /// What its guest is doing.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn phase(&mut self) -> anyhow::Result<Phase> {
        Ok(self.client()?.status()?.phase)
    }

    /// Waits until its guest is doing this.
    ///
    /// # Errors
    ///
    /// It does not in time.
    pub fn wait_for_phase(&mut self, wanted: Phase) -> anyhow::Result<()> {
        let deadline = Instant::now() + ANSWER;
        loop {
            let phase = self.phase()?;
            if phase == wanted {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the guest of {} is {phase}, not {wanted}",
                self.address
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the board says unasked that its guest's phase has changed to this, as its next phase.
    ///
    /// # Errors
    ///
    /// It does not in time, or names another.
    pub fn expect_phase_next(&mut self, wanted: Phase) -> anyhow::Result<()> {
        let deadline = Instant::now() + ANSWER;
        let client = self.client()?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match client.next_event(left)? {
                Some(Event::PhaseChanged(status)) => {
                    ensure!(
                        status.phase == wanted,
                        "the guest is {}, not {wanted}",
                        status.phase
                    );
                    return Ok(());
                }
                Some(_) => {}
                None => anyhow::bail!("the board does not say that the guest is {wanted}"),
            }
        }
    }

    /// What the board says unasked within `time`: the phases that it goes through.
    ///
    /// # Errors
    ///
    /// The link breaks.
    pub fn phases_within(&mut self, time: Duration) -> anyhow::Result<Vec<Phase>> {
        let deadline = Instant::now() + time;
        let client = self.client()?;
        let mut phases = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match client.next_event(left)? {
                Some(Event::PhaseChanged(status)) => phases.push(status.phase),
                Some(_) => {}
                None => return Ok(phases),
            }
        }
    }

    /// Waits until the Linux guest is up.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub fn expect_linux(&mut self) -> anyhow::Result<()> {
        self.session.expect_line(guest_output::READY, BOOT)?;
        Ok(())
    }

    /// Waits until the Linux guest's workload runs.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub fn expect_workload(&mut self) -> anyhow::Result<()> {
        self.expect_linux()?;
        self.session.expect_line(guest_output::WORKLOAD, BOOT)?;
        Ok(())
    }

    /// What the Linux guest's workload reports.
    ///
    /// # Errors
    ///
    /// It does not answer, or with something else than a report.
    pub fn report(&mut self) -> anyhow::Result<Report> {
        let line = self
            .session
            .ask(command::REPORT, guest_output::REPORT, ANSWER)?;
        Report::parse(&line)
            .with_context(|| format!("no report: {line}"))?
            .with_context(|| format!("damaged: {line}"))
    }

    /// Whether the Linux guest answers here, and all its checks hold.
    ///
    /// # Errors
    ///
    /// It does not, or they do not.
    pub fn expect_all_checks(&mut self) -> anyhow::Result<Report> {
        let report = self.report()?;
        ensure!(report.ok, "the guest's checks: {report:#?}");
        Ok(report)
    }

    /// What was typed, and what the shell said until it wrote `mark`.
    ///
    /// # Errors
    ///
    /// The shell does not answer.
    pub fn shell(&mut self, command: &str) -> anyhow::Result<String> {
        // The echo of the command must not be taken for its end, so the mark is put together by the shell.
        self.session
            .send_line(&format!("{command}; echo end''-of-answer"))?;
        Ok(self.session.expect("end-of-answer", ANSWER)?)
    }

    /// Waits for the probe's word that it has come further than `before`; the number of its round.
    ///
    /// # Errors
    ///
    /// It says nothing, or that something is wrong.
    pub fn expect_probe_round(&mut self, before: u64) -> anyhow::Result<u64> {
        loop {
            let line = self.expect_probe_line()?;
            if let Some(round) = probe_round(&line).filter(|round| *round > before) {
                return Ok(round);
            }
        }
    }

    /// Waits for the end of the probe.
    ///
    /// # Errors
    ///
    /// It does not come, or says that something is wrong.
    pub fn expect_probe_done(&mut self) -> anyhow::Result<()> {
        while !self.expect_probe_line()?.contains("probe: done, all ok") {}
        Ok(())
    }

    fn expect_probe_line(&mut self) -> anyhow::Result<String> {
        let line = self.session.expect_line("probe: ", ANSWER)?;
        ensure!(
            !line.contains("MISMATCH") && !line.contains("FAILED"),
            "{line}"
        );
        Ok(line)
    }

    /// What was said on the console so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.session.transcript().text(0, usize::MAX)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // Shown by libtest if the test fails.
        println!(
            "board {}:{}",
            self.session.name(),
            self.session.last_lines()
        );
    }
}

/// The number in `probe: round N ok`.
#[must_use]
pub fn probe_round(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("probe: round ")?;
    let (number, rest) = rest.split_once(' ')?;
    rest.starts_with("ok").then(|| number.parse().ok())?
}

/// Moves the guest of `source` to `destination`.
///
/// # Errors
///
/// It does not arrive.
pub fn move_guest(source: &mut Board, destination: &mut Board) -> anyhow::Result<Summary> {
    move_guest_with(source, destination, &Options::default(), &mut |_| {})
}

/// The same with other options, and somebody who hears how far it is.
///
/// # Errors
///
/// It does not arrive.
pub fn move_guest_with(
    source: &mut Board,
    destination: &mut Board,
    options: &Options,
    on_progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Summary> {
    let began = Instant::now();
    let summary = relay::migrate(
        source.client()?,
        destination.client()?,
        options,
        on_progress,
    )?;
    ensure!(
        began.elapsed() < MOVE,
        "the move took {:?}",
        began.elapsed()
    );
    println!(
        "{} to {}: {:.2} s, {} rounds, {} KiB, guest was paused for {} ms",
        source.session.name(),
        destination.session.name(),
        summary.total.as_secs_f64(),
        summary.figures.rounds,
        summary.figures.bytes >> 10,
        summary.figures.downtime_us / 1000,
    );
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_the_probe_count_as_rounds() {
        assert_eq!(probe_round("probe: round 12 ok"), Some(12));
        assert_eq!(probe_round("probe: round 7 ok gap_us=12"), Some(7));
        assert_eq!(probe_round("probe: round 1"), None);
        assert_eq!(probe_round("probe: interrupts ok"), None);
        assert_eq!(probe_round("probe: round x ok"), None);
    }
}
