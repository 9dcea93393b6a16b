// SPDX-License-Identifier: BSD-2-Clause
//! An operator at boards that `godwit run` keeps: their consoles, and who may leave and what then lives on.

use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use godwit::guest_output::READY;
use image::prepare::{self, LinuxGuest};
use image::workspace;
use rustix::process::Signal;
use tests::{ANSWER, BOOT};

use crate::shell::{LOOK, Shell};

fn guest() -> anyhow::Result<LinuxGuest> {
    Ok(prepare::linux_guest(&workspace()?, &|_| {})?)
}

/// The arguments that run our Linux guest as if it were somebody's own.
fn own_guest<'a>(
    name: &'a str,
    kernel: &'a Path,
    initramfs: &'a Path,
) -> anyhow::Result<Vec<&'a str>> {
    Ok(vec![
        "run",
        "--name",
        name,
        "--linux",
        kernel.to_str().context("a path")?,
        "--initrd",
        initramfs.to_str().context("a path")?,
    ])
}

#[test]
fn a_guest_hears_the_first_words_that_are_typed_and_its_last_ones_are_heard() -> anyhow::Result<()>
{
    let (shell, files) = (Shell::new()?, guest()?);
    let arguments = own_guest("words", &files.kernel, &files.initramfs)?;
    let mut run = shell.start(&arguments)?;
    // More than a UART's FIFOs hold, long before anybody listens.
    let first =
        "# The first words, of which none may be missing: 0123456789 abcdefghijklmnopqrstuvwxyz";
    run.send(&format!("{first}\necho LAST-$((6*7)); poweroff -f\n"))?;
    let status = run.child.wait()?;
    run.expect("Power down\r\n", ANSWER)?;
    let text = run.text();
    ensure!(status.success(), "{status}: {text}");
    ensure!(text.contains(first) && text.contains("LAST-42"), "{text}");
    ensure!(
        text.ends_with("Power down\r\n"),
        "something follows: {text}"
    );
    shell.is_clean()
}

#[test]
fn a_board_lives_on_without_a_terminal_and_several_can_watch_it() -> anyhow::Result<()> {
    let (shell, files) = (Shell::new()?, guest()?);
    let mut arguments = own_guest("left", &files.kernel, &files.initramfs)?;
    arguments.push("--detach");
    shell.succeeds(&arguments)?;
    let console = || shell.start(&["console", "left"]);
    let (mut first, second) = (console()?, console()?);
    first.expect(READY, BOOT)?;
    second.expect(READY, ANSWER)?;
    first.send("echo SEEN-$((40+2))\n")?;
    for watcher in [&first, &second] {
        watcher.expect("SEEN-42", ANSWER)?;
    }
    // However they leave, and whatever they have not read.
    for (watcher, signal) in [(&mut first, Signal::HUP), (&mut { second }, Signal::KILL)] {
        watcher.signal(signal)?;
        watcher.child.wait()?;
    }
    let status = shell.succeeds(&["status", "left"])?;
    ensure!(status.contains("running"), "{status}");
    let late = console()?;
    late.expect(READY, ANSWER)?;
    late.expect("SEEN-42", ANSWER)?;
    late.signal(Signal::TERM)?;
    shell.succeeds(&["end", "left"])?;
    shell.is_clean()
}

#[test]
fn who_reads_nothing_holds_up_neither_the_guest_nor_its_board() -> anyhow::Result<()> {
    let (shell, files) = (Shell::new()?, guest()?);
    let arguments = own_guest("full", &files.kernel, &files.initramfs)?;
    // Its output is a pipe that nobody reads: `yes` fills it several times over.
    let mut run = shell.command(&arguments).spawn()?;
    let mut keys = run.stdin.take().context("its input")?;
    keys.write_all(b"yes 0123456789abcdef | head -n 5000; echo DONE-$((6*7))\n")?;
    let until = Instant::now() + BOOT;
    while !shell.run(&["status", "full"])?.status.success() {
        ensure!(Instant::now() < until, "there is no board");
        thread::sleep(LOOK);
    }
    let watcher = shell.start(&["console", "full"])?;
    watcher.expect("DONE-42", BOOT)?;
    let status = shell.succeeds(&["status", "full"])?;
    ensure!(status.contains("running"), "{status}");
    watcher.signal(Signal::TERM)?;
    shell.succeeds(&["end", "full"])?;
    // Whatever is left of it ends once somebody reads, and what it had to say is whole or says what is left out.
    drop(keys);
    let output = run.wait_with_output()?;
    let (text, notices) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let whole = text.matches("0123456789abcdef").count() >= 5_000 && text.contains("DONE-42");
    ensure!(
        whole || notices.contains("are left out"),
        "{} bytes; {notices}",
        text.len()
    );
    shell.is_clean()
}

#[test]
fn a_board_whose_guest_moves_says_so_and_the_move_is_left_alone() -> anyhow::Result<()> {
    let (shell, files) = (Shell::new()?, guest()?);
    let mut arguments = own_guest("moves", &files.kernel, &files.initramfs)?;
    arguments.push("--detach");
    shell.succeeds(&arguments)?;
    for empty in ["next", "third"] {
        shell.succeeds(&["run", "--name", empty, "--empty", "--detach"])?;
    }
    let console = shell.start(&["console", "moves"])?;
    console.expect(READY, BOOT)?;
    // As slowly as it takes to ask everything.
    let mut migrate = shell.start(&["migrate", "moves", "next", "--bandwidth", "200000"])?;
    let until = Instant::now() + ANSWER;
    let status = loop {
        let status = shell.succeeds(&["status", "moves"])?;
        if status.contains("is in progress, for") {
            break status;
        }
        ensure!(Instant::now() < until, "{status}");
        thread::sleep(LOOK);
    };
    ensure!(
        status.contains("next") && status.contains("running"),
        "{status}"
    );
    for refused in [
        &["pause", "moves"][..],
        &["migrate", "moves", "third"],
        &["migrate", "third", "next"],
        &["snapshot", "moves", "/dev/null"],
        &["discard", "next"],
        &["resolve", "moves", "next"],
    ] {
        let output = shell.run(refused)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && text.contains("is in progress, for"),
            "{refused:?}: {text}"
        );
    }
    let same = shell.run(&["migrate", "moves", "moves"])?;
    let text = String::from_utf8_lossy(&same.stderr);
    ensure!(text.contains("are the same board"), "{text}");
    ensure!(migrate.child.try_wait()?.is_none(), "the move has ended");
    migrate.signal(Signal::TERM)?;
    migrate.child.wait()?;
    shell.succeeds(&["migrate", "moves", "next"])?;
    for board in ["moves", "next", "third"] {
        shell.succeeds(&["end", board])?;
    }
    shell.is_clean()
}

/// What `resize` asks a terminal (`guest/initramfs/resize`).
const QUESTION: &str = "\x1b[999;999H\x1b[6n";

#[test]
fn a_guest_can_ask_a_terminal_that_has_changed_or_is_another_one() -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let mut first = shell.start_at_terminal(&["run", "--name", "sized"], (33, 101))?;
    first.expect(READY, BOOT)?;
    first.send("resize; stty size\n")?;
    first.expect(QUESTION, ANSWER)?;
    first.send("\x1b[40;120R")?;
    first.expect("40 120", ANSWER)?;
    // What was asked of one is not asked again of the next, which sees what was said before.
    first.send("\x1dd")?;
    ensure!(first.child.wait()?.success());
    let mut second = shell.start_at_terminal(&["console", "sized"], (25, 80))?;
    second.expect("40 120", ANSWER)?;
    ensure!(!second.text().contains(QUESTION), "{}", second.text());
    second.send("resize; stty size\n")?;
    second.expect(QUESTION, ANSWER)?;
    second.send("\x1b[25;80R")?;
    second.expect("25 80", ANSWER)?;
    // One that does not answer changes nothing.
    second.send("resize || stty size | tr ' ' x\n")?;
    second.expect("does not say how large it is", ANSWER)?;
    second.expect("25x80", ANSWER)?;
    // Lines that were typed before it asked are none of the answer.
    let asked = second.text().matches(QUESTION).count();
    second.send("sleep 2; resize; stty size | tr ' ' y\n\n\n")?;
    let until = Instant::now() + ANSWER;
    while second.text().matches(QUESTION).count() == asked {
        ensure!(Instant::now() < until, "{}", second.text());
        thread::sleep(LOOK);
    }
    second.send("\x1b[30;90R")?;
    second.expect("30y90", ANSWER)?;
    // What is no terminal is not asked.
    second.send("resize </dev/null || echo FAILED-$((40+2))\n")?;
    second.expect("FAILED-42", ANSWER)?;
    let text = second.text();
    ensure!(text.matches(QUESTION).count() == asked + 1, "{text}");
    shell.succeeds(&["end", "sized"])?;
    shell.is_clean()
}

#[test]
fn a_guest_knows_how_large_its_terminal_is_and_its_last_screen_moves_with_it() -> anyhow::Result<()>
{
    let shell = Shell::new()?;
    let mut here = shell.start_at_terminal(&["run", "--name", "here"], (33, 101))?;
    let there = shell.start_at_terminal(&["run", "--name", "there", "--empty"], (33, 101))?;
    here.expect(READY, BOOT)?;
    here.send("stty size; echo SEEN-$((40+2))\n")?;
    here.expect("33 101", ANSWER)?;
    here.expect("SEEN-42", ANSWER)?;
    ensure!(!there.text().contains("SEEN-42"), "{}", there.text());
    shell.succeeds(&["migrate", "here", "there"])?;
    there.expect("SEEN-42", ANSWER)?;
    for board in ["here", "there"] {
        shell.succeeds(&["end", board])?;
    }
    shell.is_clean()
}
