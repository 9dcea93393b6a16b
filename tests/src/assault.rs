// SPDX-License-Identifier: BSD-2-Clause
//! A guest that attacks its board, and what has to hold after each seed.
//!
//! Responsible for: giving `guest/attacker` its orders, asking the board how it is all the while, and seeing after each
//! seed that the board, its domains, its console and the guest's other vCPU are unharmed; a guest that did not survive
//! is replaced by one that was kept before. Never: forgives the board anything for what its guest does.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use godwit::inspect::access;
use godwit::relay::Options;
use godwit::session::Scratch;
use godwit::snapshot::{self, RestoreOptions, SnapshotFile};
use image::Kernel;
use protocol::management::Phase;
use state::Register;

use crate::board::Board;
use crate::guests::{self, TestGuest};
use crate::hostile;
use crate::{ANSWER, BOOT};

/// How long a seed's rounds may take, under emulation on a machine that has much else to do.
const SEED: Duration = Duration::from_secs(600);
/// How long a guest may say nothing that need not survive: it may have written over its own program.
const SILENCE: Duration = Duration::from_secs(90);
/// How often the board is asked for its status meanwhile, beyond the time that an answer takes.
const LOOK: Duration = Duration::from_millis(100);
/// One seed in so many is kept while it attacks, and restored.
const KEPT: u64 = 4;
/// One seed in so many may do what vCPU 0 does not survive.
const DEADLY: u64 = 3;
/// What says most about a guest that has come to nothing.
const WANTED: [Register; 6] = [
    Register::PC,
    Register::PSTATE,
    Register::ESR_EL1,
    Register::VBAR_EL1,
    Register::CNTV_CTL_EL0,
    Register::CNTV_CVAL_EL0,
];

/// A seed's rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    /// Where everything random comes from.
    pub seed: u64,
    /// How many rounds.
    pub rounds: u64,
    /// At EL1, and not at EL0.
    pub privileged: bool,
    /// With a translation.
    pub translated: bool,
    /// vCPU 0 need not survive it.
    pub deadly: bool,
}

impl Seed {
    /// Seeds that follow each other differ in everything.
    #[must_use]
    pub const fn numbered(seed: u64, rounds: u64) -> Self {
        Self {
            seed,
            rounds,
            privileged: !seed.is_multiple_of(2),
            translated: !(seed / 2).is_multiple_of(2),
            deadly: seed.is_multiple_of(DEADLY),
        }
    }

    fn order(&self) -> String {
        let Self { seed, rounds, .. } = self;
        let number = u8::from;
        format!(
            "attack seed={seed} rounds={rounds} level={} translated={} deadly={}",
            number(self.privileged),
            number(self.translated),
            number(self.deadly),
        )
    }
}

/// What all seeds together came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Totals {
    /// Seeds.
    pub seeds: u64,
    /// Rounds that the attacker has behind it.
    pub rounds: u64,
    /// Exceptions that it took in them.
    pub exceptions: u64,
    /// How often the other vCPU has looked whether everything is still there.
    pub beats: u64,
    /// How often the board said how it is while it was attacked.
    pub answers: u64,
    /// Guests that did not survive.
    pub lost: u64,
}

/// A board whose guest attacks it.
#[derive(Debug)]
pub struct Assault {
    kernel: Kernel,
    board: Board,
    scratch: Scratch,
    /// The guest before its first seed.
    innocent: PathBuf,
    /// What it came to so far.
    pub totals: Totals,
}

impl Assault {
    /// Starts a board with the attacker, lets that learn which system registers there are, and keeps it.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub fn begin(kernel: Kernel) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let image = guests::image(kernel, &TestGuest::attacker())?;
        let mut board = Board::start("attacked", &image, &scratch)?;
        board.session.expect_line("attacker: ready", BOOT)?;
        let mut assault = Self {
            kernel,
            board,
            innocent: scratch.path().join("innocent.godwit"),
            scratch,
            totals: Totals::default(),
        };
        for level in [0, 1] {
            assault.sweep(level)?;
        }
        let innocent = assault.innocent.clone();
        assault.keep(&innocent)?;
        Ok(assault)
    }

    /// Has every encoding of `MRS` executed at a level: each ends in a value or an undefined instruction.
    fn sweep(&mut self, level: u64) -> anyhow::Result<()> {
        let line = self.order(&format!("sweep level={level}"), "attacker: swept")?;
        let line = line.context("the guest did not survive reading system registers")?;
        let (values, undefined) = (number(&line, "values")?, number(&line, "undefined")?);
        println!("{line}");
        ensure!(number(&line, "other")? == 0, "{line}");
        ensure!(values + undefined == 2 << 14 && values > 0, "{line}");
        self.unharmed()
    }

    /// Has every offset of every device accessed, with every width, aligned or not: each ends in a value or an abort.
    ///
    /// # Errors
    ///
    /// One does not, or the board does not survive.
    pub fn touch(&mut self, translated: bool) -> anyhow::Result<()> {
        let order = format!("touch translated={}", u8::from(translated));
        let line = self.order(&order, "attacker: touched")?;
        let line = line.context("the guest did not survive accessing devices")?;
        println!("{line}");
        ensure!(number(&line, "other")? == 0, "{line}");
        ensure!(number(&line, "accesses")? > 0, "{line}");
        self.unharmed()
    }

    /// Carries out a seed, and looks after it.
    ///
    /// # Errors
    ///
    /// Anything but vCPU 0 was harmed, or that was though the seed is not deadly.
    pub fn attack(&mut self, seed: Seed) -> anyhow::Result<()> {
        println!("{}", seed.order());
        self.attacked(seed)
            .with_context(|| format!("after {}", seed.order()))
    }

    fn attacked(&mut self, seed: Seed) -> anyhow::Result<()> {
        let kept = seed.seed.is_multiple_of(KEPT);
        let halfway = self.scratch.path().join("halfway.godwit");
        let begins = format!("attacker: begins seed={}", seed.seed);
        let begun = self.board.session.transcript().length();
        self.board.session.ask(&seed.order(), &begins, ANSWER)?;
        if kept {
            self.keep(&halfway)?;
        }
        let said = self.board.session.transcript().text(begun, usize::MAX);
        let finished = said.contains("attacker: done");
        let mut survived = self.end_of(seed)?;
        self.unharmed_if(survived.is_some())?;
        if kept && !finished {
            println!("once more from where it was kept");
            self.replace(&halfway)?;
            // It says nothing if it was kept between its last word and ours: then it has to answer all the same.
            match self.answer("attacker: done", SILENCE)? {
                Some(line) => survived = Some(self.judge(seed, &line)?),
                None if seed.deadly => survived = None,
                None => {}
            }
            self.unharmed_if(survived.is_some())?;
        }
        self.totals.seeds += 1;
        if survived != Some(true) {
            self.totals.lost += 1;
            let innocent = self.innocent.clone();
            self.replace(&innocent)?;
        }
        Ok(())
    }

    /// Waits for the end of a seed; whether vCPU 0 has come to it, if the guest still answers.
    fn end_of(&mut self, seed: Seed) -> anyhow::Result<Option<bool>> {
        let timeout = if seed.deadly { SILENCE } else { SEED };
        let Some(line) = self.answer("attacker: done", timeout)? else {
            ensure!(
                seed.deadly,
                "the guest did not survive: {}",
                self.where_it_is()
            );
            return Ok(None);
        };
        self.judge(seed, &line).map(Some)
    }

    /// What the guest says at a seed's end has to be as the seed allows; whether vCPU 0 has come to it.
    fn judge(&mut self, seed: Seed, line: &str) -> anyhow::Result<bool> {
        println!("{line}");
        let rounds = number(line, "rounds")?;
        self.totals.rounds += rounds;
        self.totals.exceptions += number(line, "exceptions")?;
        self.totals.beats += number(line, "beats")?;
        ensure!(number(line, "mismatches")? == 0, "{line}");
        let lost = number(line, "lost")? != 0;
        ensure!(seed.deadly || !lost, "vCPU 0 did not come back: {line}");
        ensure!(lost || rounds == seed.rounds, "{line}");
        Ok(!lost)
    }

    fn order(&mut self, order: &str, answer: &str) -> anyhow::Result<Option<String>> {
        println!("{order}");
        self.board.session.type_line(order)?;
        self.answer(answer, SEED)
    }

    /// Waits for the guest's answer, and asks the board meanwhile; nothing if the guest has ended or says nothing.
    fn answer(&mut self, wanted: &str, timeout: Duration) -> anyhow::Result<Option<String>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Ok(line) = self.board.session.expect_line(wanted, LOOK) {
                return Ok(Some(line));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            self.board.session.check()?;
            let status = self.board.client()?.status()?;
            self.totals.answers += 1;
            match status.phase {
                Phase::Running => {}
                Phase::Off => return Ok(None),
                phase => anyhow::bail!("the guest is {phase}: {status:x?}"),
            }
        }
    }

    /// Where the guest's vCPUs are, for whoever has to find out why it says nothing.
    fn where_it_is(&mut self) -> String {
        let path = self.scratch.path().join("silent.godwit");
        let state = self.keep(&path).and_then(|()| {
            let file = SnapshotFile::open(&path)?;
            let mut text = String::new();
            for vcpu in 0..file.state().vcpus.vcpus.len() {
                for register in WANTED {
                    let value = access::get(file.state(), vcpu, register)?;
                    write!(text, " {}={value:#x}", register.name())?;
                }
            }
            Ok(text)
        });
        state.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// A guest that does not answer can still be kept.
    fn unharmed_if(&mut self, answers: bool) -> anyhow::Result<()> {
        if answers {
            return self.unharmed();
        }
        self.domains_answer()?;
        if self.board.phase()? == Phase::Running {
            let path = self.scratch.path().join("afterwards.godwit");
            self.keep(&path)?;
        }
        Ok(())
    }

    /// The board answers, each of its domains does, the console carries what is typed and said, and the guest can be
    /// kept.
    fn unharmed(&mut self) -> anyhow::Result<()> {
        self.domains_answer()?;
        let words = format!("echo {} rounds so far", self.totals.rounds);
        let answer = format!("attacker: {words}");
        let heard = self.board.session.ask(&words, &answer, ANSWER);
        heard.context("the console is silent")?;
        let path = self.scratch.path().join("afterwards.godwit");
        self.keep(&path)
    }

    fn domains_answer(&mut self) -> anyhow::Result<()> {
        let client = self.board.client()?;
        client.status()?;
        client.statistics()?;
        client.describe()?;
        match hostile::stopped(self.kernel, &self.board.said()) {
            None => Ok(()),
            Some(line) => anyhow::bail!("{line}"),
        }
    }

    fn keep(&mut self, path: &Path) -> anyhow::Result<()> {
        let client = self.board.client()?;
        let taken = match snapshot::take(client, &Options::default(), &mut |_| {}) {
            Ok(taken) => taken,
            Err(error) => {
                let status = client.status()?;
                return Err(error).with_context(|| format!("cannot be kept: {status:x?}"));
            }
        };
        snapshot::write(path, &taken.state, &taken.memory)?;
        SnapshotFile::open(path)?.verify()?;
        Ok(())
    }

    /// Has another guest take this one's place.
    fn replace(&mut self, path: &Path) -> anyhow::Result<()> {
        let file = SnapshotFile::open(path)?;
        let client = self.board.client()?;
        if client.status()?.phase == Phase::Running {
            client.pause(ANSWER)?;
        }
        client.discard()?;
        self.board.wait_for_phase(Phase::Empty)?;
        let client = self.board.client()?;
        let options = RestoreOptions::default();
        let restored = snapshot::restore(&file, client, &options, &mut |_| {});
        restored.context("the guest that was kept cannot be restored")?;
        Ok(())
    }
}

/// The number after `name=` in a line of the attacker's.
fn number(line: &str, name: &str) -> anyhow::Result<u64> {
    let words = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    let value = words.rev().find(|(key, _)| *key == name);
    let (_, value) = value.with_context(|| format!("no {name} in: {line}"))?;
    value.parse().with_context(|| format!("{name} in: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_in_everything() {
        let kinds: std::collections::BTreeSet<_> = (0..24)
            .map(|seed| Seed::numbered(seed, 1))
            .map(|seed| (seed.privileged, seed.translated, seed.deadly))
            .collect();
        assert_eq!(kinds.len(), 8);
    }

    #[test]
    fn numbers_are_found_by_name() {
        let line = "attacker: done seed=3 rounds=100 lost=0";
        assert_eq!(number(line, "rounds").unwrap(), 100);
        assert!(number(line, "beats").is_err());
    }
}
