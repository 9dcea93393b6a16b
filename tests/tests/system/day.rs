// SPDX-License-Identifier: BSD-2-Clause
//! A guest knows what day it is, on every board that it is on, and its clock wakes it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use godwit::relay::{GuestTime, Options};
use godwit::session::Scratch;
use image::ImageRequest;
use tests::ANSWER;
use tests::board::{Board, move_guest_with};
use tests::guests::{self, TestGuest};

use crate::on_both_kernels;

/// What two clocks of whole seconds may be apart, and what a question and its answer may take.
const SLACK: u64 = 10;

on_both_kernels! {
    fn the_clock_of_the_day_is_right_from_the_start_and_after_a_move(kernel) {
        let guest = TestGuest::linux("shell", 1).build()?;
        let ram_mib = TestGuest::linux("shell", 1).ram_mib();
        let scratch = Scratch::new()?;
        let empty = guests::empty_image(kernel, ram_mib)?;
        let made = Instant::now();
        // An image of its own: the clock begins when the image is made.
        let full = guests::build(&ImageRequest {
            name: format!("test-{kernel}-day"),
            kernel,
            guest: Some(guest),
            ram_mib,
            ..ImageRequest::default()
        })?;
        let mut here = Board::start("a", &full, &scratch)?;
        let mut there = Board::start("b", &empty, &scratch)?;
        // What lies between an image and its board is not made up for.
        let since_made = made.elapsed().as_secs();
        here.expect_linux()?;
        here.shell("stty -echo")?;
        let name = here.shell("cat /sys/class/rtc/rtc0/name")?;
        ensure!(name.contains("rtc-pl031"), "the clock is {name}");
        let behind = lag(&mut here)?;
        ensure!(behind <= since_made + SLACK, "{behind} s behind at its start");

        let options = Options { time: GuestTime::Advance, ..Options::default() };
        move_guest_with(&mut here, &mut there, &options, &mut |_| {})?;
        let afterwards = lag(&mut there)?;
        ensure!(
            afterwards <= behind + SLACK,
            "{behind} s behind before the move and {afterwards} s after it"
        );

        // The alarm is set before another move, and comes on the board that it leads to.
        there.shell("echo +5 > /sys/class/rtc/rtc0/wakealarm")?;
        move_guest_with(&mut there, &mut here, &options, &mut |_| {})?;
        rings(&mut here)
    }
}

/// How far the guest's clock, and what Linux has made of it, is behind the host's, in seconds.
fn lag(board: &mut Board) -> anyhow::Result<u64> {
    let answer = board.shell("echo $(cat /sys/class/rtc/rtc0/since_epoch) $(date +%s) seconds")?;
    let host = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let words: Vec<&str> = answer.split_whitespace().collect();
    let end = words.iter().position(|word| *word == "seconds");
    let clocks = end.and_then(|end| words.get(end.checked_sub(2)?..end));
    let mut lag = 0;
    for clock in clocks.with_context(|| format!("no time in {answer:?}"))? {
        let seconds: u64 = clock.parse().with_context(|| format!("{answer:?}"))?;
        ensure!(
            seconds <= host + 1,
            "ahead: {answer:?}, the host has {host}"
        );
        lag = lag.max(host.saturating_sub(seconds));
    }
    Ok(lag)
}

/// The clock's interrupt comes.
fn rings(board: &mut Board) -> anyhow::Result<()> {
    let until = Instant::now() + ANSWER;
    loop {
        let table = board.shell("cat /proc/interrupts")?;
        if tests::interrupts::count(&table, "rtc-pl031")? > 0 {
            return Ok(());
        }
        ensure!(Instant::now() < until, "no alarm: {table}");
        std::thread::sleep(Duration::from_millis(500));
    }
}
