//! An operator at boards that `godwit run` keeps: their consoles, and who may leave and what then lives on.

use std::path::Path;

use anyhow::{Context as _, ensure};
use godwit::guest_output::READY;
use godwit::image::workspace;
use godwit::prepare::{self, LinuxGuest};
use rustix::process::Signal;
use tests::{ANSWER, BOOT};

use crate::shell::Shell;

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
