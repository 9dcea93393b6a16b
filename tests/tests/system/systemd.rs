// SPDX-License-Identifier: BSD-2-Clause
//! A Debian under systemd moves like any other guest: its services work on, and its journal knows of nothing.
//!
//! A service computes a chain of checksums (`guest/systemd/checksums`) and tells systemd that it lives, a timer starts
//! another one every two seconds, and all of it goes into the journal. What a move would break shows there: a round that is
//! missing, done twice or wrong; a watchdog or a timer that a jump of the clock sets off; the kernel's and systemd's warnings.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use godwit::session::Scratch;
use protocol::management::Phase;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;

on_both_kernels! {
    fn a_debian_under_systemd_moves_there_and_back(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::systemd(2);
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut here = Board::start("here", &guests::image(kernel, &guest)?, &scratch)?;
        let mut there = Board::start("there", &empty, &scratch)?;
        log_in(&mut here)?;
        expect_running(&mut here)?;
        let (warnings, ticks) = (warnings(&mut here)?, ticks(&mut here)?);
        let round = expect_round(&mut here, 0)?;

        move_guest(&mut here, &mut there)?;
        let round = expect_round(&mut there, round)?;
        move_guest(&mut there, &mut here)?;
        expect_round(&mut here, round)?;

        is_well(&mut here, &warnings)?;
        expect_more_ticks(&mut here, ticks)?;
        expect_chain(&mut here, round)?;
        here.session.send_line("systemctl poweroff")?;
        here.wait_for_phase(Phase::Off)
    }
}

/// Waits until whoever is at the console is root, and has a shell without decoration.
fn log_in(board: &mut Board) -> anyhow::Result<()> {
    board
        .session
        .expect("login: root (automatic login)", BOOT)?;
    board.session.expect("root@debian:~# ", BOOT)?;
    // Without a line editor, which would write more than was typed.
    board.session.send_line("exec bash --noediting")?;
    board.session.expect("root@debian:~# ", ANSWER)?;
    // What the kernel says is in the journal.
    board.shell("stty -echo; PS1=; dmesg -n 1")?;
    Ok(())
}

/// Types a command; the lines that it says.
fn ask(board: &mut Board, command: &str) -> anyhow::Result<Vec<String>> {
    let said = board.shell(command)?;
    let said = said.strip_suffix("end-of-answer").context("an answer")?;
    let lines = said.lines().map(|line| line.trim().to_owned());
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

/// Waits until systemd has started everything, and nothing has failed.
fn expect_running(board: &mut Board) -> anyhow::Result<()> {
    let failed = "systemctl list-units --failed --plain --no-legend";
    let state = ask(
        board,
        &format!("systemctl is-system-running --wait; {failed}"),
    )?;
    ensure!(state == ["running"], "{state:#?}");
    Ok(())
}

/// What the kernel, systemd and all others have warned of since the guest was started.
fn warnings(board: &mut Board) -> anyhow::Result<Vec<String>> {
    let mut warnings = ask(board, "journalctl -q -b -p warning -o short-monotonic")?;
    // It says so once when the host lets a virtual CPU wait.
    warnings.retain(|warning| !warning.contains("hrtimer: interrupt took"));
    Ok(warnings)
}

/// How often the timer has started its service.
fn ticks(board: &mut Board) -> anyhow::Result<usize> {
    let ticks = ask(board, "journalctl -q -b -t echo -o cat")?;
    ensure!(ticks.iter().all(|tick| tick == "tick"), "{ticks:?}");
    Ok(ticks.len())
}

/// Waits until the timer has started its service more often than that.
fn expect_more_ticks(board: &mut Board, before: usize) -> anyhow::Result<()> {
    let until = Instant::now() + ANSWER;
    while ticks(board)? <= before {
        ensure!(Instant::now() < until, "still {before} ticks");
    }
    Ok(())
}

/// Waits until the chain of checksums is longer than that; how long it is.
fn expect_round(board: &mut Board, before: usize) -> anyhow::Result<usize> {
    let until = Instant::now() + ANSWER;
    loop {
        let last = ask(board, "journalctl -q -b -t checksums -o cat -n 1")?;
        if let Some((round, _)) = last.first().and_then(|line| parse(line))
            && round > before
        {
            return Ok(round);
        }
        ensure!(Instant::now() < until, "still {before} rounds: {last:?}");
    }
}

/// Whether systemd is content with everything, nothing was started anew, and nobody has warned of anything more.
fn is_well(board: &mut Board, before: &[String]) -> anyhow::Result<()> {
    expect_running(board)?;
    let units =
        "checksums.service tick.timer systemd-journald.service systemd-logind.service dbus.service";
    let active = ask(board, &format!("systemctl is-active {units}"))?;
    ensure!(active == ["active"; 5], "{active:?}");
    let show = "systemctl show -p Result -p NRestarts checksums.service";
    let mut result = ask(board, show)?;
    result.sort();
    ensure!(result == ["NRestarts=0", "Result=success"], "{result:?}");
    // Only files that journald does not write any more: of others, it finds what is not finished.
    ask(board, "journalctl --rotate")?;
    let verify = "journalctl --verify --file '/run/log/journal/*/system@*.journal' 2>&1";
    let verified = ask(
        board,
        &format!("{verify} | grep -a -o -E '(PASS|FAIL): .*'"),
    )?;
    let passed = verified.iter().all(|line| line.starts_with("PASS: "));
    ensure!(passed && !verified.is_empty(), "{verified:?}");
    let after = warnings(board)?;
    ensure!(after == before, "{before:#?} and then {after:#?}");
    Ok(())
}

/// Whether the journal has every round of the chain once, in order, and right; at least so many.
fn expect_chain(board: &mut Board, least: usize) -> anyhow::Result<()> {
    ask(board, "systemctl stop checksums.service")?;
    let rounds = ask(board, "journalctl -q -b -t checksums -o cat")?;
    ensure!(rounds.len() > least, "{} of {least} rounds", rounds.len());
    println!(
        "{} rounds, {least} of them before the last move",
        rounds.len()
    );
    let mut digest = "begin".to_owned();
    for (line, round) in rounds.iter().zip(1..) {
        digest = sha256(&format!("{digest} {round}\n"))?;
        let expected = Some((round, digest.as_str()));
        ensure!(parse(line) == expected, "{line:?}, not {expected:?}");
    }
    Ok(())
}

/// `round NUMBER DIGEST`.
fn parse(line: &str) -> Option<(usize, &str)> {
    let (round, digest) = line.strip_prefix("round ")?.split_once(' ')?;
    Some((round.parse().ok()?, digest))
}

/// This machine's word for it.
fn sha256(text: &str) -> anyhow::Result<String> {
    let mut program = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = program.stdin.take().context("its input")?;
    input.write_all(text.as_bytes())?;
    drop(input);
    let output = String::from_utf8(program.wait_with_output()?.stdout)?;
    let digest = output.split(' ').next().context("a digest")?;
    Ok(digest.to_owned())
}
