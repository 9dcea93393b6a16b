// SPDX-License-Identifier: BSD-2-Clause
//! A guest's debug state is no domain's: single steps, breakpoints and watchpoints stop nobody but whose they are.

use anyhow::{Context as _, ensure};
use godwit::inspect::access;
use godwit::relay::Options;
use godwit::session::Scratch;
use godwit::snapshot::{self, RestoreOptions, SnapshotFile};
use image::{ImageRequest, Kernel};
use protocol::management::Phase;
use state::Register;
use tests::board::Board;
use tests::guests::{self, TestGuest};
use tests::intruder::{ALIVE, Intrusion};
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;

/// Lines of the one that tries an address at each call: more calls than vmm-pd has instructions.
const LINES_OF_BREAK: usize = 16;
const LINES: usize = 3;

on_both_kernels! {
    fn a_guest_that_steps_stops_no_domain(kernel) {
        continues_beside(kernel, Intrusion::Step, LINES)
    }

    fn a_guest_that_watches_all_addresses_stops_no_domain(kernel) {
        continues_beside(kernel, Intrusion::Watch, LINES)
    }

    fn a_guest_that_breaks_at_each_address_of_vmm_pd_stops_no_domain(kernel) {
        continues_beside(kernel, Intrusion::Break, LINES_OF_BREAK)
    }

    fn debug_state_from_outside_is_refused_and_stops_no_domain(kernel) {
        refused_from_outside(kernel)
    }
}

/// The guest continues as well, its board answers, and it can be stopped and resumed.
fn continues_beside(kernel: Kernel, intrusion: Intrusion, lines: usize) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let guest = TestGuest::spinner();
    let image = guests::build(&ImageRequest {
        name: format!("test-intruder-{kernel}-{intrusion:?}"),
        kernel,
        guest: Some(intrusion.guest()?),
        ram_mib: guest.ram_mib(),
        ..ImageRequest::default()
    })?;
    let mut board = Board::start("a", &image, &scratch)?;
    board.session.expect(ALIVE, BOOT)?;
    for _ in 1..lines {
        board.session.expect(ALIVE, ANSWER)?;
        ensure!(board.phase()? == Phase::Running);
    }
    board.client()?.pause(ANSWER)?;
    board.client()?.resume(ANSWER)?;
    board.session.expect(ALIVE, ANSWER)?;
    let said = board.said();
    ensure!(
        said.matches("keeps single steps").count() == 1,
        "the console does not say once what the guest does not get:\n{said}"
    );
    Ok(())
}

/// `reg set`, and a snapshot that somebody has put debug state into.
fn refused_from_outside(kernel: Kernel) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let guest = TestGuest::spinner();
    let empty = guests::empty_image(kernel, guest.ram_mib())?;
    let mut here = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
    let mut there = Board::start("b", &empty, &scratch)?;
    here.session.expect(tests::spinner::READY, BOOT)?;
    here.client()?.pause(ANSWER)?;
    for register in [
        Register::MDSCR_EL1,
        Register::DBGBCR0_EL1,
        Register::PMCR_EL0,
    ] {
        let set = here.client()?.set_register(0, register, 1);
        ensure!(set.is_err(), "{register:?} was set");
    }
    here.client()?.resume(ANSWER)?;
    here.wait_for_phase(Phase::Running)?;

    let taken = snapshot::take(here.client()?, &Options::default(), &mut |_| {})?;
    let mut state = taken.state;
    ensure!(access::get(&state, 0, Register::MDSCR_EL1).is_err());
    let registers = &mut state.vcpus.vcpus[0].registers;
    ensure!(registers.set(Register::MDSCR_EL1, 1), "no room");
    let path = scratch.path().join("stepping.snapshot");
    snapshot::write(&path, &state, &taken.memory)?;
    let file = SnapshotFile::open(&path)?;
    let restored = snapshot::restore(
        &file,
        there.client()?,
        &RestoreOptions::default(),
        &mut |_| {},
    );
    let error = restored
        .err()
        .context("a snapshot that steps was taken in")?;
    println!("{error:#}");
    there.wait_for_phase(Phase::Empty)
}

/// Each vCPU's registers are its own: `probe` and `registers`.
#[test]
fn a_trusted_guests_debug_state_stops_no_domain_and_it_stays_on_boards_like_its_own()
-> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let ram = TestGuest::spinner().ram_mib();
    for (number, intrusion) in [Intrusion::Step, Intrusion::Watch].into_iter().enumerate() {
        let image = guests::build(&ImageRequest {
            name: format!("test-intruder-guest-debug-{intrusion:?}"),
            guest: Some(intrusion.guest()?),
            guest_debug: true,
            ram_mib: ram,
            ..ImageRequest::default()
        })?;
        let mut board = Board::start(&format!("a{number}"), &image, &scratch)?;
        board.session.expect("for a guest that is trusted", BOOT)?;
        for _ in 0..LINES {
            board.session.expect(ALIVE, BOOT)?;
        }
        ensure!(board.phase()? == Phase::Running);
        ensure!(!board.said().contains("keeps single steps"));

        let other = guests::empty_image(Kernel::Embedded, ram)?;
        let mut other = Board::start(&format!("b{number}"), &other, &scratch)?;
        let refused = tests::board::move_guest(&mut board, &mut other);
        let error = format!(
            "{:#}",
            refused
                .err()
                .context("it moved to a board that keeps them")?
        );
        ensure!(error.contains("--guest-debug"), "{error}");
        board.session.expect(ALIVE, ANSWER)?;
    }
    Ok(())
}
