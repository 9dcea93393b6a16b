// SPDX-License-Identifier: BSD-2-Clause
//! Firmware runs where QEMU's `virt` has it, boots a kernel from there, and moves with it.

use anyhow::ensure;
use godwit::session::Scratch;
use image::guest::{Guest, Program};
use image::{ImageRequest, Kernel};
use protocol::management::Phase;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};
use tests::{ANSWER, BOOT, firmware};

use crate::on_both_kernels;

/// U-Boot's prompt.
const PROMPT: &str = "=> ";
/// RAM of its board, in MiB.
const RAM: u64 = 192;

on_both_kernels! {
    fn u_boot_reaches_its_prompt_moves_and_boots_linux(kernel) {
        moves_and_boots(kernel)
    }
}

fn moves_and_boots(kernel: Kernel) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let linux = TestGuest::linux("shell", 1).build()?;
    let Program::Linux {
        kernel: image,
        initramfs,
    } = linux.program
    else {
        anyhow::bail!("no Linux");
    };
    let guest = Guest {
        program: Program::Firmware {
            file: firmware::u_boot()?,
            kernel: Some(image),
            initramfs,
        },
        ..linux
    };
    let full = guests::build(&ImageRequest {
        name: format!("test-firmware-{kernel}"),
        guest: Some(guest),
        ram_mib: RAM,
        kernel,
        ..ImageRequest::default()
    })?;
    let mut here = Board::start("a", &full, &scratch)?;
    prompt(&mut here)?;
    let words = ask(&mut here, "md.q 0 2")?;
    nothing_is_written(&mut here, &words)?;

    // To a board that never had a guest: what the firmware is goes with it.
    let mut other = Board::start("c", &guests::empty_image(kernel, RAM)?, &scratch)?;
    move_guest(&mut here, &mut other)?;
    ensure!(
        ask(&mut other, "md.q 0 2")? == words,
        "firmware did not come"
    );
    drop(here);

    // The same image, whose own guest makes room.
    let mut there = Board::start("b", &full, &scratch)?;
    prompt(&mut there)?;
    there.client()?.pause(ANSWER)?;
    there.client()?.discard()?;
    there.wait_for_phase(Phase::Empty)?;
    move_guest(&mut other, &mut there)?;
    ensure!(
        ask(&mut there, "md.q 0 2")? == words,
        "firmware did not come"
    );
    drop(other);

    there.session.send(b"booti 0x40400000 - 0x40000000\r")?;
    there.expect_linux()?;
    there.session.expect("/ # ", BOOT)?;
    let said = there.shell("cat /proc/cmdline")?;
    ensure!(said.contains("godwit.mode=shell"), "{said}");
    there.session.send_line("poweroff -f")?;
    there.wait_for_phase(Phase::Off)
}

/// Waits for the prompt, which has to be asked for.
fn prompt(board: &mut Board) -> anyhow::Result<()> {
    board.session.expect("Hit any key to stop autoboot", BOOT)?;
    board.session.send(b"\r")?;
    board.session.expect(PROMPT, ANSWER)?;
    Ok(())
}

/// What U-Boot answers to a command.
fn ask(board: &mut Board, command: &str) -> anyhow::Result<String> {
    // What came before it is an empty line's prompt.
    board.session.send(format!("{command}\r").as_bytes())?;
    board.session.expect(command, ANSWER)?;
    Ok(board.session.expect(PROMPT, ANSWER)?)
}

/// A write to firmware ends in an external abort, of which U-Boot says so and starts again; nothing has changed there.
fn nothing_is_written(board: &mut Board, words: &str) -> anyhow::Result<()> {
    board.session.send(b"mw.q 0 0x5555555555555555\r")?;
    board.session.expect("Synchronous Abort", ANSWER)?;
    prompt(board)?;
    let now = ask(board, "md.q 0 2")?;
    ensure!(now == words, "{now}");
    Ok(())
}
