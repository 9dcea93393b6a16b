// SPDX-License-Identifier: BSD-2-Clause
//! Programs that somebody ends, by any signal at any moment: nothing is left behind, and no guest is lost.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use image::{target_directory, workspace};
use rustix::process::Signal;
use tests::ANSWER;
use tests::random::Random;

use crate::shell::{LOOK, Shell};

/// How often a program is ended at a moment that the seed draws.
const MOMENTS: u64 = 20;
/// The same of the demonstration, which takes longer to begin.
const DEMONSTRATIONS: u64 = 5;
/// Within this time a board has begun and is still there.
const LIFE: Duration = Duration::from_secs(3);
/// Within this time a small guest is moved or kept, and a moment of it is as likely as one before or after.
const WORK: Duration = Duration::from_millis(1500);
/// Within this time a demonstration has boards, if the machine is quick, and has not ended.
const DEMONSTRATION: Duration = Duration::from_secs(20);

/// All signals that end a program which nobody has taught otherwise, and the one that it cannot notice.
const SIGNALS: [Signal; 5] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::KILL,
];

/// The arguments that run a program as a guest.
fn endless<'a>(program: &'a str, name: &'a str) -> [&'a str; 7] {
    ["run", "--flat", program, "--ram", "72", "--name", name]
}

/// `b .`: a guest that runs for ever, and says nothing.
fn write_endless(shell: &Shell) -> anyhow::Result<String> {
    let program = shell.scratch.path().join("program");
    std::fs::write(&program, 0x1400_0000_u32.to_le_bytes())?;
    Ok(program.to_str().context("a path")?.to_owned())
}

/// Starts the program and ends it, as often as `moments` says; `check` is done after each time.
fn ended(
    shell: &Shell,
    moments: u64,
    within: Duration,
    arguments: impl Fn(u64) -> Vec<String>,
    mut check: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut killed = Vec::new();
    let mut random = Random::seeded(1);
    for moment in 0..moments {
        let signal = SIGNALS[usize::try_from(moment)? % SIGNALS.len()];
        let arguments = arguments(moment);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut run = shell.start(&arguments)?;
        let after = random.moment(within);
        thread::sleep(after);
        run.signal(signal)?;
        let status = run.child.wait()?;
        if signal == Signal::KILL {
            killed.push(run.child.id());
        }
        let what = format!("{signal:?} after {after:?}: {status}");
        println!("{what}");
        (check().and_then(|()| no_temporary_files(shell, &killed))).context(what)?;
    }
    Ok(())
}

/// Nothing temporary is left but of processes that could not remove it, which the next ones do.
fn no_temporary_files(shell: &Shell, killed: &[u32]) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(shell.scratch.path())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let process = name
            .strip_prefix("godwit-")
            .and_then(|rest| rest.split_once('-')?.0.parse().ok());
        let left = process.is_some_and(|process| !killed.contains(&process));
        ensure!(!left, "{name} was left");
    }
    Ok(())
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn nothing_is_left_behind_however_and_whenever_a_board_is_ended() -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let program = write_endless(&shell)?;
    let run = |moment| owned(&endless(&program, &format!("ended-{moment}")));
    ended(&shell, MOMENTS, LIFE, run, || shell.is_clean())?;
    // The images of those that were killed go with the next board.
    shell.succeeds(&[&endless(&program, "last")[..], &["--detach"]].concat())?;
    shell.succeeds(&["end", "last"])?;
    shell.is_clean()?;
    let images = target_directory(&workspace()?)?.join("images");
    let left: Vec<_> = std::fs::read_dir(images)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("run-"))
        .filter(|name| name.contains("-ended-") || name.ends_with("-last"))
        .collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn a_guest_runs_on_exactly_one_board_whenever_its_move_is_ended() -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let program = write_endless(&shell)?;
    let (mut here, mut there) = ("here".to_owned(), "there".to_owned());
    shell.succeeds(&[&endless(&program, &here)[..], &["--detach"]].concat())?;
    shell.succeeds(&[
        "run", "--empty", "--ram", "72", "--name", &there, "--detach",
    ])?;
    let boards = std::cell::RefCell::new((&mut here, &mut there));
    let migrate = |_| {
        let boards = boards.borrow();
        owned(&["migrate", boards.0, boards.1])
    };
    ended(&shell, MOMENTS, WORK, migrate, || {
        let (here, there) = &mut *boards.borrow_mut();
        if is_over_there(&shell, here, there)? {
            std::mem::swap(*here, *there);
        }
        Ok(())
    })?;
    for board in ["here", "there"] {
        shell.succeeds(&["end", board])?;
    }
    shell.is_clean()
}

/// Waits until the guest runs on one of both boards and the other one waits for a guest; whether it runs on the second.
fn is_over_there(shell: &Shell, here: &str, there: &str) -> anyhow::Result<bool> {
    let until = Instant::now() + ANSWER;
    loop {
        let guests = [guest(shell, here)?, guest(shell, there)?];
        let [runs, waits] = ["running", "none; the board waits for one"]
            .map(|what| guests.each_ref().map(|guest| guest.starts_with(what)));
        match (runs, waits) {
            ([true, false], [false, true]) => return Ok(false),
            ([false, true], [true, false]) => return Ok(true),
            ([true, true], _) => anyhow::bail!("it runs twice"),
            _ => {}
        }
        ensure!(Instant::now() < until, "not resolved: {guests:?}");
        // Refused while the boards agree by themselves.
        let _ = shell.run(&["resolve", here, there])?;
        thread::sleep(LOOK);
    }
}

/// What `status` says of a board's guest.
fn guest(shell: &Shell, board: &str) -> anyhow::Result<String> {
    let status = shell.run(&["status", board])?;
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    let guest = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("guest "));
    Ok(guest.unwrap_or(&text).trim().to_owned())
}

#[test]
fn a_snapshot_is_whole_or_not_there_whenever_it_is_ended() -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let program = write_endless(&shell)?;
    shell.succeeds(&[&endless(&program, "kept")[..], &["--detach"]].concat())?;
    let directory = shell.scratch.path().join("files");
    std::fs::create_dir(&directory)?;
    let file = directory.join("guest.godwit");
    let path = file.to_str().context("a path")?;
    ended(
        &shell,
        MOMENTS,
        WORK,
        |_| owned(&["snapshot", "kept", path]),
        || {
            continues(&shell, "kept")?;
            if file.exists() {
                shell.succeeds(&["inspect", path])?;
                std::fs::remove_file(&file)?;
            }
            is_empty_but_for_what_was_killed(&directory)
        },
    )?;
    // The next one does without what was left.
    shell.succeeds(&["snapshot", "kept", path])?;
    let left: Vec<_> = std::fs::read_dir(&directory)?.collect();
    ensure!(left.len() == 1, "{left:?}");
    shell.succeeds(&["end", "kept"])?;
    shell.is_clean()
}

/// Waits until the guest runs, as it did before somebody kept it.
fn continues(shell: &Shell, board: &str) -> anyhow::Result<()> {
    let until = Instant::now() + ANSWER;
    loop {
        let guest = guest(shell, board)?;
        if guest.starts_with("running") {
            return Ok(());
        }
        ensure!(Instant::now() < until, "it is {guest}");
        thread::sleep(LOOK);
    }
}

/// Nothing but what a program that was killed could not remove.
fn is_empty_but_for_what_was_killed(directory: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        ensure!(name == "guest.godwit.partial", "{name:?} was left");
    }
    Ok(())
}

#[test]
fn nothing_is_left_behind_however_and_whenever_a_demonstration_is_ended() -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let demo = |_| owned(&["demo", "--ping-pong", "50"]);
    ended(&shell, DEMONSTRATIONS, DEMONSTRATION, demo, || {
        shell.is_clean()
    })
}
