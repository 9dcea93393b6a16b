// SPDX-License-Identifier: BSD-2-Clause
//! A Linux guest comes up with all its CPUs, hears what is typed, and goes when it is told to.

use std::time::Duration;

use anyhow::ensure;
use godwit::session::Scratch;
use image::{Config, ImageRequest, Kernel};
use protocol::management::Phase;
use tests::board::Board;
use tests::guests::{self, TestGuest};
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;

/// What Linux says last.
const LAST_WORDS: &str = "reboot: Power down";
/// For how long to listen whether the guest ends a second time, or comes back.
const AFTERMATH: Duration = Duration::from_secs(3);

on_both_kernels! {
    fn a_guest_boots_to_its_prompt_with_1_cpu(kernel) {
        boots_to_its_prompt(kernel, 1)
    }

    fn a_guest_boots_to_its_prompt_with_2_cpus(kernel) {
        boots_to_its_prompt(kernel, 2)
    }

    fn a_guest_boots_to_its_prompt_with_4_cpus(kernel) {
        boots_to_its_prompt(kernel, 4)
    }

    /// seL4's debug configuration says by which interrupt the timer comes, and nothing of vCPUs that sleep. (The embedded
    /// kernel has one configuration, which says neither.)
    fn a_debug_kernels_console_is_for_what_goes_wrong(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::linux("shell", 2);
        let image = guests::build(&ImageRequest {
            name: format!("test-{kernel}-debug"),
            kernel,
            config: Config::Debug,
            guest: Some(guest.build()?),
            ram_mib: guest.ram_mib(),
            ..ImageRequest::default()
        })?;
        let mut board = Board::start("a", &image, &scratch)?;
        board.expect_linux()?;
        let said = board.said();
        let quoted = said.lines().find(|line| line.contains("unexecuted reply"));
        ensure!(quoted.is_none(), "{quoted:?}");
        let timer = said.contains("timer-pd: the timer interrupts by number 10");
        ensure!(timer == (kernel == Kernel::Sel4), "{said}");
        Ok(())
    }
}

fn boots_to_its_prompt(kernel: Kernel, vcpus: u32) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let image = guests::image(kernel, &TestGuest::linux("shell", vcpus))?;
    let mut board = Board::start("a", &image, &scratch)?;
    board.expect_linux()?;
    board.session.expect("/ # ", BOOT)?;

    // What is typed is echoed, character by character, before it is carried out.
    board.session.send(b"nproc")?;
    board.session.expect("nproc", ANSWER)?;
    board.session.send(b"\n")?;
    let answer = board.session.expect("/ # ", ANSWER)?;
    let answer = answer.trim_end_matches("/ # ").trim();
    ensure!(
        answer == vcpus.to_string(),
        "nproc says {answer}, the guest has {vcpus} vCPUs"
    );
    ensure!(board.client()?.status()?.vcpus == u8::try_from(vcpus)?);

    ends_once(&mut board)
}

/// `poweroff` ends the guest, once and for good.
fn ends_once(board: &mut Board) -> anyhow::Result<()> {
    board.wait_for_phase(Phase::Running)?;
    board.session.send_line("poweroff -f")?;
    board.expect_phase_next(Phase::Off)?;
    // Its last words may take longer to us than the board's.
    board.session.expect_line(LAST_WORDS, ANSWER)?;
    let said = board.said();
    let later = board.phases_within(AFTERMATH)?;
    ensure!(
        later.is_empty(),
        "after it was off, the guest's phase went to {later:?}"
    );
    ensure!(board.phase()? == Phase::Off);
    ensure!(
        board.said() == said,
        "the guest said something after it was off"
    );
    Ok(())
}
