// SPDX-License-Identifier: BSD-2-Clause
//! A link that is cut at any point of a move leaves the guest on exactly one board, and the next attempt succeeds.
//!
//! The relay is what is cut off, from both boards at once, as if it had been killed: before or after it passes on a
//! certain frame. The boards then resolve by themselves what they can, and the rest as soon as anybody relays again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use godwit::relay::{self, GuestLocation, Options};
use godwit::session::Scratch;
use image::Kernel;
use protocol::management::{Phase, Stage};
use protocol::{Event, kind};
use tests::ANSWER;
use tests::board::{Board, move_guest, probe_round};
use tests::cable::{Action, LinkCutter, Passing, Rule, Way, cabled};
use tests::guests::TestGuest;

use crate::on_both_kernels;

/// How long the boards wait for each other, which the test has to wait for too: long enough for one that is alive on a
/// machine that has much else to do.
const TIMEOUT: Duration = Duration::from_secs(3);

on_both_kernels! {
    fn a_cut_before_the_commit_leaves_the_guest_at_its_source(kernel) {
        let mut pair = Pair::of_probe(kernel)?;
        for cut in [
            Cut::before("the offer", kind::OFFER, 1),
            Cut::after("the offer", kind::OFFER, 1),
            Cut::before("the acceptance", kind::ACCEPT, 1),
            Cut::before("the first pages", kind::PAGES, 1),
            Cut::after("the first pages", kind::PAGES, 1),
            Cut::before("the first record", kind::RECORD, 1),
            Cut::before("the second record", kind::RECORD, 2),
            Cut::before("the third record", kind::RECORD, 3),
            Cut::before("the question whether all has come", kind::PREPARE, 1),
            Cut::after("the question whether all has come", kind::PREPARE, 1),
            Cut::before("the word that all has come", kind::PREPARED, 1),
        ] {
            pair.cut_and_resume_at_the_source(cut)?;
            pair.try_again()?;
        }
        pair.end()
    }

    fn a_cut_after_the_commit_leaves_the_guest_where_the_boards_agree(kernel) {
        let mut pair = Pair::of_probe(kernel)?;
        for cut in [
            Cut::after("the word that all has come", kind::PREPARED, 1),
            Cut::before("the commit", kind::COMMIT, 1),
            Cut::after("the commit", kind::COMMIT, 1),
            Cut::before("the word that the guest is taken", kind::COMMITTED, 1),
        ] {
            pair.cut_and_resolve(cut)?;
            pair.try_again()?;
        }
        pair.end()
    }

    fn a_cut_in_any_round_leaves_a_busy_guest_at_its_source(kernel) {
        let mut pair = Pair::of_workload(kernel)?;
        for cut in [
            Cut::when("the second round", |source| source.stage == Stage::Copying && source.figures.rounds == 1),
            Cut::when("a later round", |source| source.stage == Stage::Copying && source.figures.rounds == 2),
            Cut::when("the guest being stopped", |source| source.stage == Stage::Stopping),
            Cut::when("the last round", |source| source.stage == Stage::Finishing),
            Cut::when("the last check", |source| source.stage == Stage::Preparing),
        ] {
            pair.cut_and_resume_at_the_source(cut)?;
            pair.try_again()?;
        }
        pair.end()
    }

    fn a_cut_that_is_mended_at_once_leaves_the_guest_on_one_board(kernel) {
        let mut pair = Pair::of_probe(kernel)?;
        for (name, kind) in [
            ("the offer", kind::OFFER),
            ("the first pages", kind::PAGES),
            ("the first record", kind::RECORD),
            ("the word that all has come", kind::PREPARED),
            ("the commit", kind::COMMIT),
            ("the word that the guest is taken", kind::COMMITTED),
        ] {
            pair.break_for_a_moment(Cut::lost(name, kind))?;
        }
        pair.end()
    }
}

/// Where to cut.
struct Cut {
    name: String,
    rule: Rule,
}

impl Cut {
    /// Before the `number`th frame of a kind reaches a board.
    fn before(name: &str, kind: u8, number: u32) -> Self {
        Self {
            name: format!("before {name}"),
            rule: nth(kind, number, Action::CutBefore),
        }
    }

    /// After it.
    fn after(name: &str, kind: u8, number: u32) -> Self {
        Self {
            name: format!("after {name}"),
            rule: nth(kind, number, Action::CutAfter),
        }
    }

    /// The frame is lost, and its connection with it.
    fn lost(name: &str, kind: u8) -> Self {
        Self {
            name: format!("instead of {name}"),
            rule: nth(kind, 1, Action::Break),
        }
    }

    /// As soon as the source reports this.
    fn when(name: &str, reached: fn(&protocol::management::MoveReport) -> bool) -> Self {
        Self {
            name: format!("in {name}"),
            rule: Box::new(move |passing| {
                let event = Event::decode(passing.kind, passing.payload);
                match event {
                    Ok(Event::Progress(report)) if reached(&report) => Action::CutBefore,
                    _ => Action::Pass,
                }
            }),
        }
    }
}

fn nth(kind: u8, number: u32, action: Action) -> Rule {
    let mut count = 0;
    Box::new(move |passing: Passing<'_>| {
        if passing.kind != kind || passing.way != Way::ToBoard {
            return Action::Pass;
        }
        count += 1;
        if count == number {
            action
        } else {
            Action::Pass
        }
    })
}

/// How many more rounds or ticks of a guest show that it was not about to be stopped: far more than it can do between
/// the word that it is being stopped and its pause.
const SOME_ROUNDS: u64 = 4;
const SOME_TICKS: u64 = 10;

/// Two boards with a cable each, and a guest on one of them.
struct Pair {
    /// Where the guest is.
    here: Board,
    there: Board,
    cutter: LinkCutter,
    guest: Witness,
    _scratch: Scratch,
}

/// How the guest shows that it continues.
#[derive(Clone, Copy)]
enum Witness {
    /// The probe, after this round.
    Probe { round: u64 },
    /// The workload, after this tick.
    Workload { tick: u64 },
}

impl Pair {
    fn of_probe(kernel: Kernel) -> anyhow::Result<Self> {
        let guest = TestGuest::probe("mode=registers mmu=1", 2);
        let mut pair = Self::start(kernel, &guest, Witness::Probe { round: 0 })?;
        pair.continues()?;
        Ok(pair)
    }

    fn of_workload(kernel: Kernel) -> anyhow::Result<Self> {
        let guest = TestGuest::linux("workload", 1);
        let mut pair = Self::start(kernel, &guest, Witness::Workload { tick: 0 })?;
        pair.here.expect_workload()?;
        pair.continues()?;
        Ok(pair)
    }

    fn start(kernel: Kernel, guest: &TestGuest, witness: Witness) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let cutter = LinkCutter::default();
        let [here, there] = cabled(kernel, guest, &scratch, &cutter)?;
        Ok(Self {
            here,
            there,
            cutter,
            guest: witness,
            _scratch: scratch,
        })
    }

    /// The guest shows on the console of the board where it should be that it continues, and not only for a moment.
    fn continues(&mut self) -> anyhow::Result<()> {
        match &mut self.guest {
            Witness::Probe { round } => {
                let said = self.here.said();
                let latest = said.lines().filter_map(probe_round).max().unwrap_or(0);
                *round = self
                    .here
                    .expect_probe_round(latest.max(*round) + SOME_ROUNDS)?;
            }
            Witness::Workload { tick } => {
                let now = self.here.expect_all_checks()?.sequence.max(*tick);
                while *tick < now + SOME_TICKS {
                    *tick = self.here.expect_all_checks()?.sequence;
                }
            }
        }
        Ok(())
    }

    /// A move that is cut there, and where the relay believes the guest to be.
    fn cut(&mut self, cut: Cut, reconnect: Duration) -> anyhow::Result<Result<(), GuestLocation>> {
        println!("a cut {}", cut.name);
        // Before the rule is set, which must not see what was said before.
        self.here.phase()?;
        self.there.phase()?;
        self.cutter.arm(cut.rule);
        let options = Options {
            timeout: TIMEOUT,
            reconnect,
            ..Options::default()
        };
        let (source, destination) = (self.here.client()?, self.there.client()?);
        let moved = relay::migrate(source, destination, &options, &mut |_| {});
        ensure!(self.cutter.has_cut(), "the move ended without: {moved:?}");
        match moved {
            Ok(_) => Ok(Ok(())),
            Err(error) => {
                println!("  {error}");
                Ok(Err(error.location))
            }
        }
    }

    fn mend(&mut self) {
        self.cutter.mend();
        self.here.hang_up();
        self.there.hang_up();
    }

    /// The source is not to wait for anybody: the guest continues there while the cables are still cut.
    fn cut_and_resume_at_the_source(&mut self, cut: Cut) -> anyhow::Result<()> {
        let name = cut.name.clone();
        let moved = self.cut(cut, Duration::ZERO)?;
        ensure!(
            moved.is_err(),
            "the guest was moved in spite of a cut {name}"
        );
        let silent = self.there.said();
        self.continues()
            .with_context(|| format!("after a cut {name}"))?;
        ensure!(self.there.said() == silent, "the destination's guest spoke");
        self.mend();
        self.here.wait_for_phase(Phase::Running)?;
        // As soon as it has noticed, the destination is empty and ready again.
        self.there.wait_for_phase(Phase::Empty)
    }

    /// The boards are asked to agree once they can hear each other again.
    fn cut_and_resolve(&mut self, cut: Cut) -> anyhow::Result<()> {
        let name = cut.name.clone();
        let moved = self.cut(cut, Duration::ZERO)?;
        ensure!(moved.is_err(), "the relay survived a cut {name}");
        self.mend();
        // The source must not resume its guest by itself: it may have been handed over.
        let source = self.here.client()?.status()?;
        ensure!(
            source.phase == Phase::Stopped
                && source
                    .last_move
                    .is_some_and(|last| last.stage == Stage::InDoubt),
            "after a cut {name} the source is {source:?}"
        );
        let (source, destination) = (self.here.client()?, self.there.client()?);
        let report = relay::resolve(source, destination, &Options::default())?;
        println!("  resolved: {:?}", report.stage);
        match report.stage {
            Stage::Gone => std::mem::swap(&mut self.here, &mut self.there),
            Stage::Failed => {}
            stage => bail!("after a cut {name} the boards resolved on {stage:?}"),
        }
        self.is_here_only()
            .with_context(|| format!("after a cut {name}"))
    }

    /// The relay finds its way again by itself; whether the move takes place then is its business.
    fn break_for_a_moment(&mut self, cut: Cut) -> anyhow::Result<()> {
        let name = cut.name.clone();
        let moved = self.cut(cut, ANSWER)?;
        self.mend();
        match moved {
            Ok(()) | Err(GuestLocation::Destination(_) | GuestLocation::HandedOver) => {
                std::mem::swap(&mut self.here, &mut self.there);
            }
            Err(GuestLocation::Source(_)) => {}
            Err(location) => bail!("after a break {name} the guest is {location:?}"),
        }
        self.is_here_only()
            .with_context(|| format!("after a break {name}"))
    }

    /// Exactly one board has the guest, which continues there.
    fn is_here_only(&mut self) -> anyhow::Result<()> {
        self.here.wait_for_phase(Phase::Running)?;
        self.there.wait_for_phase(Phase::Empty)?;
        let silent = self.there.said();
        self.continues()?;
        ensure!(self.there.said() == silent, "the other board's guest spoke");
        Ok(())
    }

    fn try_again(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        move_guest(&mut self.here, &mut self.there)
            .with_context(|| format!("in the second attempt, after {:?}", began.elapsed()))?;
        std::mem::swap(&mut self.here, &mut self.there);
        self.is_here_only()
    }

    /// Lets the guest come to its own verdict; no line of it may have been said twice.
    fn end(&mut self) -> anyhow::Result<()> {
        if let Witness::Probe { .. } = self.guest {
            self.here.session.send(b"q")?;
            self.here.expect_probe_done()?;
            let said = self.here.said() + "\n" + &self.there.said();
            let mut rounds: Vec<_> = said.lines().filter_map(probe_round).collect();
            rounds.sort_unstable();
            let twice = rounds.windows(2).find(|pair| pair[0] == pair[1]);
            ensure!(twice.is_none(), "both boards ran round {twice:?}");
        } else {
            self.here.expect_all_checks()?;
        }
        Ok(())
    }
}
