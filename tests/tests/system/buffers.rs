// SPDX-License-Identifier: BSD-2-Clause
//! What waits at a board when its guest leaves goes with the guest, or is gone: a guest that comes next finds none of it.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use godwit::relay::Options;
use godwit::session::Scratch;
use godwit::snapshot::{self, RestoreOptions, SnapshotFile};
use protocol::management::Phase;
use state::Register;
use tests::ANSWER;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};

use crate::on_both_kernels;

/// More than the console's receiver holds, and no two adjacent ones are the same.
const TYPED: usize = 400;

on_both_kernels! {
    fn what_was_typed_goes_with_the_guest_and_a_different_guest_finds_none_of_it(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::probe("mode=input", 1);
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut here = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
        let mut there = Board::start("b", &empty, &scratch)?;
        here.expect_probe_round(0)?;
        let different = keep(&mut here, &scratch.path().join("different"))?;

        type_in(&mut here)?;
        move_guest(&mut here, &mut there)?;
        ensure!(read(&mut there)? == typed(), "what was typed before the move");
        here.wait_for_phase(Phase::Empty)?;
        is_like_new_to(&different, &mut here)?;

        type_in(&mut there)?;
        there.client()?.pause(ANSWER)?;
        there.client()?.discard()?;
        there.wait_for_phase(Phase::Empty)?;
        is_like_new_to(&different, &mut there)
    }
}

fn typed() -> Vec<u8> {
    (0..TYPED)
        .map(|byte| b'a' + u8::try_from(byte % 25).unwrap_or(0))
        .collect()
}

/// Types, and waits until the board has all of it.
fn type_in(board: &mut Board) -> anyhow::Result<()> {
    board.session.send(&typed())?;
    let deadline = Instant::now() + ANSWER;
    loop {
        let taken = snapshot::take(board.client()?, &Options::default(), &mut |_| {})?;
        let console = &taken.state.vcpus.console;
        let has = console.device.received.len() + console.waiting.len();
        if has == TYPED {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{has} of {TYPED} bytes have arrived"
        );
    }
}

/// What the guest reads when it is told to.
fn read(board: &mut Board) -> anyhow::Result<Vec<u8>> {
    tell(board)?;
    let line = board.session.expect_line("probe: read ", ANSWER)?;
    let (_, digits) = line.split_once("bytes:").context("no bytes")?;
    let digits = digits.trim();
    (0..digits.len() / 2)
        .map(|byte| Ok(u8::from_str_radix(&digits[2 * byte..2 * byte + 2], 16)?))
        .collect()
}

fn tell(board: &mut Board) -> anyhow::Result<()> {
    board.client()?.pause(ANSWER)?;
    board.client()?.set_register(0, Register::TPIDR_EL0, 1)?;
    board.client()?.resume(ANSWER)?;
    Ok(())
}

/// Moves another guest in and lets it look.
fn is_like_new_to(file: &SnapshotFile, board: &mut Board) -> anyhow::Result<()> {
    snapshot::restore(
        file,
        board.client()?,
        &RestoreOptions::default(),
        &mut |_| {},
    )?;
    let read = read(board)?;
    ensure!(
        read.is_empty(),
        "the next guest got {}",
        read.escape_ascii()
    );
    let line = board.session.expect_line("probe: found ", ANSWER)?;
    ensure!(
        line.contains("found 0x0"),
        "on the page that it shares with the hypervisor: {line}"
    );
    Ok(())
}

fn keep(board: &mut Board, path: &Path) -> anyhow::Result<SnapshotFile> {
    let taken = snapshot::take(board.client()?, &Options::default(), &mut |_| {})?;
    snapshot::write(path, &taken.state, &taken.memory)?;
    Ok(SnapshotFile::open(path)?)
}
