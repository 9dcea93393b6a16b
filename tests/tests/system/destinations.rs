// SPDX-License-Identifier: BSD-2-Clause
//! A destination that refuses or dies costs the guest nothing: it continues at its source, and moves to a better one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use godwit::relay::{self, GuestLocation, Options};
use godwit::session::Scratch;
use image::Kernel;
use protocol::kind;
use protocol::management::Phase;
use tests::ANSWER;
use tests::board::{Board, move_guest};
use tests::cable::{Action, Cable, LinkCutter, Way};
use tests::guests::{self, TestGuest};

use crate::on_both_kernels;

/// How often it is looked whether a process is gone.
const LOOK: Duration = Duration::from_millis(10);

on_both_kernels! {
    fn a_destination_with_other_ram_refuses_and_one_with_the_same_takes_the_guest(kernel) {
        let scratch = Scratch::new()?;
        let guest = probe();
        let mut source = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
        let round = source.expect_probe_round(0)?;
        for ram_mib in [guest.ram_mib() - 2, guest.ram_mib() + 2] {
            let image = guests::empty_image(kernel, ram_mib)?;
            let mut other = Board::start(&format!("with-{ram_mib}"), &image, &scratch)?;
            let refused = relay::migrate(
                source.client()?,
                other.client()?,
                &Options::default(),
                &mut |_| {},
            );
            let error = refused.err().context("the guest was moved to a board with other RAM")?;
            println!("{error}");
            ensure!(error.location == GuestLocation::Source(Phase::Running));
            ensure!(other.phase()? == Phase::Empty);
        }
        source.expect_probe_round(round)?;
        moves_to_a_good_one(kernel, source, &scratch)
    }

    fn a_destination_that_dies_while_it_takes_the_guest_leaves_it_at_its_source(kernel) {
        dies(kernel, kind::PAGES, Way::ToBoard)
    }

    fn a_destination_that_dies_before_it_is_ready_leaves_the_guest_at_its_source(kernel) {
        dies(kernel, kind::PREPARED, Way::FromBoard)
    }
}

fn probe() -> TestGuest {
    TestGuest::probe("mode=registers mmu=1", 2)
}

/// Kills the destination's QEMU when it comes to the first frame of a kind.
fn dies(kernel: Kernel, kind: u8, way: Way) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let guest = probe();
    let mut source = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
    let image = guests::empty_image(kernel, guest.ram_mib())?;
    let mut destination = Board::start("b", &image, &scratch)?;
    let cutter = LinkCutter::default();
    destination.lay_cable(&scratch, |inner, outer| {
        Cable::new("b", inner, outer, &cutter)
    })?;
    let round = source.expect_probe_round(0)?;
    destination.phase()?;

    let process = rustix_pid(destination.session.machine().process_id())?;
    cutter.arm(Box::new(move |passing| {
        if passing.kind != kind || passing.way != way {
            return Action::Pass;
        }
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        Action::CutBefore
    }));
    let moved = relay::migrate(
        source.client()?,
        destination.client()?,
        &Options {
            reconnect: Duration::from_secs(1),
            ..Options::default()
        },
        &mut |_| {},
    );
    ensure!(cutter.has_cut(), "the move ended without: {moved:?}");
    let error = moved
        .err()
        .context("the guest was moved to a board that is dead")?;
    println!("{error}");
    ends(&mut destination)?;
    source.expect_probe_round(round)?;
    moves_to_a_good_one(kernel, source, &scratch)
}

/// A process that was killed closes its sockets a while before it is gone.
fn ends(board: &mut Board) -> anyhow::Result<()> {
    let deadline = Instant::now() + ANSWER;
    while board.session.check().is_ok() {
        ensure!(Instant::now() < deadline, "the destination is alive");
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn rustix_pid(process: u32) -> anyhow::Result<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(process)?).context("QEMU has no process")
}

/// After all that, the guest moves to a board that is as it should be, and all is well there.
fn moves_to_a_good_one(kernel: Kernel, mut source: Board, scratch: &Scratch) -> anyhow::Result<()> {
    let image = guests::empty_image(kernel, probe().ram_mib())?;
    let mut good = Board::start("good", &image, scratch)?;
    source.wait_for_phase(Phase::Running)?;
    move_guest(&mut source, &mut good)?;
    good.expect_probe_round(0)?;
    good.session.send(b"q")?;
    good.expect_probe_done()
}
