// SPDX-License-Identifier: BSD-2-Clause
//! A domain that keeps to its rights and abuses them: what its peer domains do is what docs/isolation.md says.
//!
//! Nobody here reaches for what is not its own (`isolation.rs` is about that). These say everything that is no message,
//! answer with what is no answer, leave nonsense in their rings, notify without end, or never answer.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use godwit::session::{Scratch, SessionOptions};
use image::{Config, Image, Kernel};
use protocol::management::Phase;
use tests::ANSWER;
use tests::board::Board;
use tests::guests::TestGuest;
use tests::hostile::messages::{Callee, Tally, due_to_migration, due_to_vmm};
use tests::hostile::{self, Attack, Because, CONFESSION, Orders};
use tests::processor::Processor;

use crate::isolation::{is_reported_since, serial_pd_answers};
use crate::on_both_kernels;

/// How often a board is asked that has peer domains which answer nonsense: each time they have another.
const QUESTIONS: usize = 40;
/// A guest that exits so often more continues.
const EXITS: u64 = 10;
/// What stands in `x0` of a domain that computes for ever, and nowhere else.
const COMPUTES: u64 = 0x0c09_97e5_f09e_7e12;
/// Zeros for the link, in bytes. The device's buffers hold 60 KiB (`board/drivers/src/virtio/memory.rs`) and a socket of
/// Linux about 200 KiB; link-pd's ring holds 1 MiB (`system.xml`).
const PASSED_ON: usize = 896 << 10;
/// Notifies without end from its start, in the time that is its own.
const FLOOD: Orders = Orders {
    attack: Attack::Flood,
    at_start: true,
    ..Orders::WITNESS
};

on_both_kernels! {
    fn whatever_migration_pd_says_the_guest_continues(kernel) {
        let scratch = Scratch::new()?;
        let hostile = [("migration_pd", Orders::WITNESS)];
        let mut board = start(kernel, "pester-migration", &hostile, &scratch)?;
        let before = board.expect_probe_round(0)?;
        let mut link = Witness::new(&board)?;
        link.answers(b'w', "witness")?;
        link.ask(b'p')?;
        for callee in [Callee::Vmm, Callee::Vgic, Callee::Timer] {
            let due = Tally::due(|raw| due_to_migration(callee, raw));
            is_due(&link.line()?, callee, due)?;
        }
        link.answers(b'w', "witness")?;
        // All of it was said between two rounds of the guest at most.
        let round = board.expect_probe_round(before)?;
        link.ask(b'n')?;
        board.expect_probe_round(round + 1)?;
        board.session.send(b"q")?;
        board.expect_probe_done()?;
        nobody_was_stopped(kernel, &board)
    }

    fn whatever_vmm_pd_says_the_others_continue(kernel) {
        let scratch = Scratch::new()?;
        let hostile = [
            ("vmm_pd", Orders::WITNESS),
            ("migration_pd", Orders::WITNESS),
        ];
        let mut board = start(kernel, "pester-vmm", &hostile, &scratch)?;
        let mut link = Witness::new(&board)?;
        link.answers(b'w', "witness")?;
        board.session.send(b"p")?;
        for callee in [Callee::Vgic, Callee::Timer] {
            let due = Tally::due(|raw| due_to_vmm(callee, raw));
            is_due(&board.session.expect_line("pestered ", ANSWER)?, callee, due)?;
        }
        others_answer(&mut link)?;
        // Its rings with serial-pd, and notifications to that and migration-pd.
        board.session.send(b"n")?;
        others_answer(&mut link)?;
        nobody_was_stopped(kernel, &board)
    }

    fn a_guest_whose_interrupts_and_timers_answer_nonsense_is_stopped_and_the_board_lives(kernel) {
        let scratch = Scratch::new()?;
        let hostile = [
            ("vgic_pd", Orders::of(Attack::Answers)),
            ("timer_pd", Orders::of(Attack::Answers)),
        ];
        let mut board = start(kernel, "answers", &hostile, &scratch)?;
        // How many answers it takes until one of them stops the guest depends on when it is asked for what.
        let (mut phases, deadline) = (Vec::new(), Instant::now() + ANSWER);
        while !phases.contains(&Phase::Failed) {
            ensure!(Instant::now() < deadline, "{phases:?}");
            phases.push(board.phase()?);
        }
        for _ in 0..QUESTIONS {
            phases.push(board.phase()?);
            // Refused or not, it makes vmm-pd ask both.
            let _ = board.client()?.discard();
        }
        ensure!(!phases.contains(&Phase::Running), "{phases:?}");
        nobody_was_stopped(kernel, &board)
    }

    fn a_board_whose_vmm_pd_answers_nonsense_can_be_talked_to(kernel) {
        let scratch = Scratch::new()?;
        let hostile = [("vmm_pd", Orders::of(Attack::Answers))];
        let mut board = start(kernel, "answers-vmm", &hostile, &scratch)?;
        for _ in 0..QUESTIONS {
            let client = board.client()?;
            // Whatever vmm-pd is made to say: an answer to each, none of which takes down whoever asked.
            let _ = (client.statistics(), client.describe(), client.discard());
            client.status()?;
        }
        nobody_was_stopped(kernel, &board)
    }

    fn a_flood_of_serial_pds_notifications_leaves_the_guest_its_time(kernel) {
        let scratch = Scratch::new()?;
        let mut board = start(kernel, "flood-serial", &[("serial_pd", FLOOD)], &scratch)?;
        board.wait_for_phase(Phase::Running)?;
        // Its console is unusable, but whatever it does makes it exit.
        let before: u64 = board.client()?.statistics()?.all();
        let deadline = Instant::now() + ANSWER;
        while board.client()?.statistics()?.all() < before + EXITS {
            ensure!(Instant::now() < deadline, "the guest hangs");
        }
        nobody_was_stopped(kernel, &board)
    }

    fn a_flood_of_link_pds_notifications_leaves_the_guest_its_time(kernel) {
        let scratch = Scratch::new()?;
        let mut board = start(kernel, "flood-link", &[("link_pd", FLOOD)], &scratch)?;
        let round = board.expect_probe_round(0)?;
        board.expect_probe_round(round + 1)?;
        board.session.send(b"q")?;
        board.expect_probe_done()?;
        nobody_was_stopped(kernel, &board)
    }

    /// It leaves counts in its ring that cannot be, notifies often, and dies.
    fn whatever_link_pd_leaves_the_guest_continues(kernel) {
        let scratch = Scratch::new()?;
        let orders = Orders { argument: CONFESSION, at_start: true, ..Orders::of(Attack::Nonsense) };
        let mut board = start(kernel, "link", &[("link_pd", orders)], &scratch)?;
        is_reported_since(0, kernel, &board, "link_pd", &orders, Because::NotMapped)?;
        let round = board.expect_probe_round(0)?;
        board.expect_probe_round(round + 10)?;
        board.session.send(b"q")?;
        board.expect_probe_done()?;
        let stopped = blamed(kernel, &board.said());
        ensure!(stopped == BTreeSet::from(["link_pd".to_owned()]), "{stopped:?}");
        Ok(())
    }

    /// On seL4 every domain can send to the monitor, which runs above all others; our kernel has none.
    fn whatever_migration_pd_tells_the_monitor_it_stops_itself_only(kernel) {
        let scratch = Scratch::new()?;
        let hostile = [("migration_pd", Orders::WITNESS)];
        let mut board = start(kernel, "monitor", &hostile, &scratch)?;
        let before = board.expect_probe_round(0)?;
        let mut link = Witness::new(&board)?;
        link.answers(b'm', "told the monitor 2055 times")?;
        let round = board.expect_probe_round(before)?;
        board.expect_probe_round(round + 1)?;
        let said = board.said();
        // It believes what it is told, of nobody but who tells it, and takes nobody off its own time.
        let believed = (kernel == Kernel::Sel4).then(|| "migration_pd".to_owned());
        let stopped = blamed(kernel, &said);
        ensure!(stopped == BTreeSet::from_iter(believed), "{stopped:?}");
        ensure!(!said.contains("is now passive"), "time was taken away");
        // It still hears of a fault: of the one that there is.
        link.ask(b'd')?;
        let orders = Orders { argument: CONFESSION, ..Orders::of(Attack::Read) };
        is_reported_since(said.len(), kernel, &board, "migration_pd", &orders, Because::NotMapped)?;
        link_pd_takes_bytes(link.0.get_mut())?;
        let round = board.expect_probe_round(round + 1)?;
        board.expect_probe_round(round + 1)?;
        board.session.send(b"q")?;
        board.expect_probe_done()?;
        ensure!(blamed(kernel, &board.said()) == BTreeSet::from(["migration_pd".to_owned()]));
        Ok(())
    }

    fn nobody_but_its_callers_waits_for_a_domain_that_never_answers(kernel) {
        for domain in ["vgic_pd", "timer_pd", "vmm_pd"] {
            drivers_work(kernel, domain, false)?;
        }
        Ok(())
    }

    /// Without a caller: in the time that is its own.
    fn the_drivers_work_beside_a_timer_pd_that_computes_for_ever(kernel) {
        drivers_work(kernel, "timer_pd", true)
    }
}

/// A domain computes for ever, and both drivers do their work meanwhile.
fn drivers_work(kernel: Kernel, domain: &str, at_start: bool) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let silence = Orders {
        argument: COMPUTES,
        at_start,
        ..Orders::of(Attack::Silence)
    };
    let hostile = [(domain, silence), ("serial_pd", Orders::WITNESS)];
    let when = if at_start { "alone" } else { "called" };
    let name = format!("silence-{domain}-{when}");
    let monitor = scratch.path().join("monitor");
    let mut options = SessionOptions::new(&name, image(kernel, &name, &hostile)?);
    options.extra = Processor::arguments(&monitor).into();
    let mut board = Board::start_with(options, &scratch)?;
    // What is typed is passed on to vmm-pd, which begins by it if it has not by a call.
    serial_pd_answers(&mut board)?;
    let mut processor = Processor::of(&monitor)?;
    processor.expect(COMPUTES)?;
    serial_pd_answers(&mut board)?;
    let mut link = UnixStream::connect(board.link_path()?)?;
    link_pd_takes_bytes(&mut link).with_context(|| format!("beside {domain}"))?;
    // It has never stopped.
    processor.expect(COMPUTES)?;
    nobody_was_stopped(kernel, &board)
}

/// More than lies between us and link-pd, less than its ring takes: zeros, which are no frames.
fn link_pd_takes_bytes(link: &mut UnixStream) -> anyhow::Result<()> {
    link.set_write_timeout(Some(ANSWER))?;
    let all = link.write_all(&vec![0; PASSED_ON]);
    all.context("link-pd does not continue")
}

fn start(
    kernel: Kernel,
    name: &str,
    hostile: &[(&str, Orders)],
    scratch: &Scratch,
) -> anyhow::Result<Board> {
    Board::start(name, &image(kernel, name, hostile)?, scratch)
}

fn image(kernel: Kernel, name: &str, hostile: &[(&str, Orders)]) -> anyhow::Result<Image> {
    let guest = TestGuest::probe("mode=registers mmu=1", 2);
    hostile::image(name, kernel, Config::Debug, &guest, hostile)
}

/// The kernel has found nothing to stop a domain for.
fn nobody_was_stopped(kernel: Kernel, board: &Board) -> anyhow::Result<()> {
    let said = board.said();
    match hostile::stopped(kernel, &said) {
        None => Ok(()),
        Some(line) => anyhow::bail!("{line}"),
    }
}

/// Whom the kernel says that it has stopped.
fn blamed(kernel: Kernel, said: &str) -> BTreeSet<String> {
    let (before, after) = match kernel {
        Kernel::Embedded => ("domain '", "' stopped: "),
        Kernel::Sel4 => ("faulting PD: ", ""),
    };
    said.lines()
        .filter_map(|line| Some(line.split_once(before)?.1))
        .filter_map(|rest| match after {
            "" => Some(rest.trim_end()),
            after => Some(rest.split_once(after)?.0),
        })
        .map(str::to_owned)
        .collect()
}

/// A hostile domain says of all that was said to it that nothing was not due.
fn is_due(said: &str, callee: Callee, due: Tally) -> anyhow::Result<()> {
    let not_understood = format!(
        "pestered {callee:?}: {} not understood, ",
        due.not_understood
    );
    ensure!(
        said.contains(&not_understood) && said.contains(" 0 wrong"),
        "{said:?} where {due:?} is due"
    );
    Ok(())
}

fn others_answer(link: &mut Witness) -> anyhow::Result<()> {
    link.answers(b't', "timer")?;
    link.answers(b'g', "vgic")?;
    link.answers(b'w', "witness")
}

/// The domain in the place of `migration-pd`, as heard over the link, line by line.
struct Witness(BufReader<UnixStream>);

impl Witness {
    fn new(board: &Board) -> anyhow::Result<Self> {
        let link = UnixStream::connect(board.link_path()?)?;
        link.set_read_timeout(Some(ANSWER))?;
        Ok(Self(BufReader::new(link)))
    }

    fn ask(&mut self, question: u8) -> anyhow::Result<()> {
        Ok(self.0.get_mut().write_all(&[question])?)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        read.context("the domain in migration-pd's place says nothing")?;
        Ok(line.trim_end().to_owned())
    }

    fn answers(&mut self, question: u8, wanted: &str) -> anyhow::Result<()> {
        self.ask(question)?;
        let answer = self.line()?;
        ensure!(answer == wanted, "it says {answer:?}, not {wanted:?}");
        Ok(())
    }
}
