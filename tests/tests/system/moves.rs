// SPDX-License-Identifier: BSD-2-Clause
//! A Linux guest that is moved live loses nothing, whenever and however often that happens.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use godwit::guest_output::{MARK, command};
use godwit::relay::Options;
use godwit::session::Scratch;
use image::Kernel;
use protocol::management::{Phase, Stage};
use rustix::process::{Pid, Signal, kill_process};
use tests::board::{Board, move_guest, move_guest_with};
use tests::guests::{self, TestGuest};
use tests::random::Random;
use tests::spinner;
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;

/// Moves at random moments.
const MOMENTS: u32 = 20;
/// The longest time between two of them: long enough for every check of the workload to be anywhere in its round.
const LONGEST_WAIT: Duration = Duration::from_millis(1500);
/// For how long a board does nothing.
const SLOW: Duration = Duration::from_secs(6);
/// The same as [`LONGEST_WAIT`] for several CPUs, whose checks the test waits for after every move anyway.
const SHORT_WAIT: Duration = Duration::from_millis(300);

on_both_kernels! {
    fn a_guest_loses_nothing_when_it_is_moved_at_any_of_20_moments(kernel) {
        let mut random = Random::seeded(0x676f_6477);
        ping_pong(kernel, 1, MOMENTS, || random.moment(LONGEST_WAIT))
    }

    /// `cargo demo --kernel sel4 --vcpus 2 --ping-pong 25 --seed N` makes fifty of these.
    fn a_guest_with_2_cpus_loses_nothing_when_it_is_moved_10_times(kernel) {
        let mut random = Random::seeded(0x676f_6402);
        ping_pong(kernel, 2, 10, || random.moment(SHORT_WAIT))
    }

    fn a_guest_with_4_cpus_loses_nothing_when_it_is_moved_4_times(kernel) {
        ping_pong(kernel, 4, 4, || Duration::ZERO)
    }

    /// Whatever keeps it: here, its emulator does nothing for a while, twice as long as boards used to wait.
    fn a_board_that_is_slow_is_not_taken_for_dead(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::spinner();
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut source = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
        let mut destination = Board::start("b", &empty, &scratch)?;
        source.session.expect_line(spinner::READY, BOOT)?;
        destination.wait_for_phase(Phase::Empty)?;
        let emulator = i32::try_from(destination.session.machine().process_id())?;
        let emulator = Pid::from_raw(emulator).context("no process")?;
        let mut stopped = false;
        move_guest_with(&mut source, &mut destination, &Options::default(), &mut |_| {
            if !std::mem::replace(&mut stopped, true) && kill_process(emulator, Signal::STOP).is_ok() {
                thread::spawn(move || {
                    thread::sleep(SLOW);
                    kill_process(emulator, Signal::CONT)
                });
            }
        })?;
        ensure!(stopped, "nothing was heard of the move");
        destination.wait_for_phase(Phase::Running)
    }

    /// The kernel keeps `migration-pd` to its budget in `system.xml`, whatever the move is told.
    fn a_guest_works_on_while_its_memory_is_copied_as_fast_as_can_be(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::linux("workload", 1);
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut source = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
        let mut destination = Board::start("b", &empty, &scratch)?;
        source.expect_workload()?;
        source.session.ask(command::MARK, MARK, ANSWER)?;
        let options = Options {
            share: 100,
            downtime_target: Duration::ZERO,
            ..Options::default()
        };
        let mut copying = Vec::new();
        move_guest_with(&mut source, &mut destination, &options, &mut |progress| {
            // Before, the source does nothing but wait.
            if progress.report.stage == Stage::Copying {
                copying.push(progress.elapsed);
            }
        })?;
        let ends = copying.first().zip(copying.last());
        let (first, last) = ends.context("nothing was copied")?;
        let copied = last.saturating_sub(*first);
        // By the guest's clock, which is frozen while the guest is paused.
        let gap = destination.expect_all_checks()?.largest_gap_us;
        let gap = Duration::from_micros(gap);
        println!("copied for {copied:?}; no CPU of the guest ran for {gap:?} at most");
        ensure!(gap < copied, "the guest did not run meanwhile");
        Ok(())
    }
}

/// Moves the workload back and forth; `wait` says for how long it is left alone before each move.
fn ping_pong(
    kernel: Kernel,
    vcpus: u32,
    moves: u32,
    mut wait: impl FnMut() -> Duration,
) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let guest = TestGuest::linux("workload", vcpus);
    let full = guests::image(kernel, &guest)?;
    let empty = guests::empty_image(kernel, guest.ram_mib())?;
    let mut here = Board::start("a", &full, &scratch)?;
    let mut there = Board::start("b", &empty, &scratch)?;
    here.expect_workload()?;
    let mut before = here.expect_all_checks()?;

    for number in 1..=moves {
        let wait = wait();
        println!("move {number} of {moves}, after {wait:?}");
        thread::sleep(wait);
        let summary = move_guest(&mut here, &mut there)?;
        ensure!(summary.figures.pages_sent > 0 && summary.figures.rounds > 0);
        std::mem::swap(&mut here, &mut there);
        ensure!(there.phase()? == Phase::Empty, "the source is not empty");
        let report = here.expect_all_checks()?;
        ensure!(
            report.sequence > before.sequence && report.uptime_ms > before.uptime_ms,
            "the guest's time went from {before:?} to {report:?}"
        );
        before = report;
    }

    ensure!(
        before.cpus == vcpus,
        "the workload runs on {} of {vcpus} CPUs",
        before.cpus
    );
    // It ends where it is, by its own verdict: with another status than 0, `init` would say so.
    here.session.send_line(command::POWER_OFF)?;
    here.wait_for_phase(Phase::Off)?;
    ensure!(
        !here.said().contains("workload failed"),
        "the workload ended with an error"
    );
    Ok(())
}
