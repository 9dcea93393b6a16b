// SPDX-License-Identifier: BSD-2-Clause
//! An idle guest costs nothing but its own timer: no exit without an interrupt that the guest asked for.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use godwit::session::Scratch;
use image::Kernel;
use tests::board::Board;
use tests::guests::{self, TestGuest};
use tests::{BOOT, interrupts};
use vm::Statistics;

use crate::on_both_kernels;

/// How long a guest is left alone after it was spoken to.
const CALM: Duration = Duration::from_secs(3);
/// How long it is watched.
const WATCH: Duration = Duration::from_secs(10);

on_both_kernels! {
    fn an_idle_guest_exits_only_for_its_own_timer(kernel) {
        watch(kernel)
    }
}

fn watch(kernel: Kernel) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let image = guests::image(kernel, &TestGuest::linux("shell", 1))?;
    let mut board = Board::start("idle", &image, &scratch)?;
    board.expect_linux()?;
    board.session.expect("/ # ", BOOT)?;
    // Linux's own work after a boot, such as seeding its random numbers.
    std::thread::sleep(CALM);

    let interrupts_before = timer_interrupts(&mut board)?;
    std::thread::sleep(CALM);
    let before = statistics(&mut board)?;
    let cost_before = board.session.machine().processor_time()?;
    std::thread::sleep(WATCH);
    let cost = board.session.machine().processor_time()? - cost_before;
    let after = statistics(&mut board)?;
    let interrupts = timer_interrupts(&mut board)? - interrupts_before;

    let exits = Exits::between(&before, &after)?;
    println!("{exits:?}, {interrupts} timer interrupts meanwhile and while asking for them");
    println!(
        "QEMU took {cost:?} in {WATCH:?}: {:.2} % of a processor",
        100.0 * cost.as_secs_f64() / WATCH.as_secs_f64()
    );
    // The guest was watched within the time between the two counts of its interrupts.
    exits.are_explained_by(interrupts)
}

/// How often the guest has taken its timer's interrupt.
fn timer_interrupts(board: &mut Board) -> anyhow::Result<u64> {
    interrupts::count(&board.shell("cat /proc/interrupts")?, "arch_timer")
}

fn statistics(board: &mut Board) -> anyhow::Result<Statistics> {
    Ok(board.client()?.statistics()?)
}

/// Exits within a time.
#[derive(Debug)]
struct Exits {
    wait: u64,
    timer: u64,
    maintenance: u64,
    /// All that has to do with neither waiting nor the timer.
    other: u64,
}

impl Exits {
    fn between(before: &Statistics, after: &Statistics) -> anyhow::Result<Self> {
        let since = |count: fn(&Statistics) -> u64| {
            count(after)
                .checked_sub(count(before))
                .context("a counter went back")
        };
        Ok(Self {
            wait: since(|statistics| statistics.wait)?,
            timer: since(|statistics| statistics.timer)?,
            maintenance: since(|statistics| statistics.maintenance)?,
            other: since(|statistics| {
                statistics.smc
                    + statistics.console
                    + statistics.distributor
                    + statistics.other_aborts
                    + statistics.other
            })?,
        })
    }

    /// For each interrupt of its timer, a guest exits at most: once because the timer is due while it runs, once to end
    /// the interrupt, and once to wait for the next. One interrupt and one wait may have begun outside the time watched.
    fn are_explained_by(&self, interrupts: u64) -> anyhow::Result<()> {
        ensure!(self.other == 0, "exits that no timer causes: {self:?}");
        for (what, exits) in [
            ("waiting", self.wait),
            ("a timer that is due", self.timer),
            ("ending an interrupt", self.maintenance),
        ] {
            ensure!(
                exits <= interrupts + 1,
                "{exits} exits for {what}, with {interrupts} timer interrupts"
            );
        }
        // A guest that is not seen to do anything would prove nothing.
        ensure!(
            interrupts > 0 && self.wait > 0 && self.maintenance > 0,
            "the exits are not counted: {self:?}, with {interrupts} timer interrupts"
        );
        Ok(())
    }
}
