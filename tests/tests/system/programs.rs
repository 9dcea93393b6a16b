// SPDX-License-Identifier: BSD-2-Clause
//! 32-bit programs of a Linux guest go through pauses, moves and snapshots as its others do.

use anyhow::{Context as _, ensure};
use godwit::inspect::{access, live};
use godwit::relay::Options;
use godwit::session::Scratch;
use godwit::snapshot::{self, RestoreOptions, SnapshotFile};
use protocol::management::Phase;
use state::Register;
use tests::ANSWER;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};

use crate::on_both_kernels;

/// How often a program is stopped where it is, at least once of these inside its own code.
const PAUSES: u32 = 6;
/// Steps of the generator between two lines of the program.
const STEPS: u32 = 5_000;
/// Lehmer's generator: small enough for the program's floating-point numbers to be exact.
const FACTOR: u64 = 16_807;
const MODULUS: u64 = 0x7fff_ffff;

on_both_kernels! {
    fn a_32_bit_program_computes_on_through_pauses_a_move_and_a_snapshot(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::linux_with_32_bit(1);
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut here = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
        let mut there = Board::start("b", &empty, &scratch)?;
        here.expect_linux()?;
        finds_no_device(&mut here)?;
        here.session.send_line(&format!(
            "busybox32 awk 'BEGIN {{ x = 1; for (;;) {{ for (i = 0; i < {STEPS}; i++) \
             x = (x * {FACTOR}) % {MODULUS}; print \"armhf\", ++n, x, \"!\" }} }}'"
        ))?;
        let mut program = Program::default();
        program.expect_right(&mut here)?;
        let mut inside = 0;
        for _ in 0..PAUSES {
            here.client()?.pause(ANSWER)?;
            inside += u32::from(is_32_bit(&mut here)?);
            here.client()?.resume(ANSWER)?;
            program.expect_right(&mut here)?;
        }
        ensure!(inside > 0, "the program was never stopped inside its own code");
        move_guest(&mut here, &mut there)?;
        program.expect_right_from_the_next_line(&mut there)?;

        let path = scratch.path().join("guest.snapshot");
        let taken = snapshot::take(there.client()?, &Options::default(), &mut |_| {})?;
        snapshot::write(&path, &taken.state, &taken.memory)?;
        let mut later = program;
        later.expect_right(&mut there)?;
        there.client()?.pause(ANSWER)?;
        there.client()?.discard()?;
        there.wait_for_phase(Phase::Empty)?;
        let file = SnapshotFile::open(&path)?;
        snapshot::restore(&file, there.client()?, &RestoreOptions::default(), &mut |_| {})?;
        // It says once more what it has said since.
        program.expect_right_from_the_next_line(&mut there)
    }
}

/// A 32-bit program that maps the distributor gets the abort that comes where nothing is, and a 64-bit one finds it.
fn finds_no_device(board: &mut Board) -> anyhow::Result<()> {
    let found = board.shell("devmem 0x08000004 32")?;
    ensure!(found.contains("0x0000"), "{found}");
    let abort = board.shell("busybox32 devmem 0x08000004 32")?;
    ensure!(abort.contains("Bus error"), "{abort}");
    Ok(())
}

/// Whether the guest, which is paused, is inside a 32-bit program.
fn is_32_bit(board: &mut Board) -> anyhow::Result<bool> {
    let state = live::read(board.client()?)?;
    Ok(access::get(&state, 0, Register::PSTATE)? & 1 << 4 != 0)
}

/// What the program has said.
#[derive(Debug, Clone, Copy, Default)]
struct Program {
    lines: u64,
}

impl Program {
    /// The same on a console where the guest arrived in the middle of a line, whose beginning it said elsewhere.
    fn expect_right_from_the_next_line(&mut self, board: &mut Board) -> anyhow::Result<()> {
        board.session.expect_line(" !", ANSWER)?;
        self.expect_right(board)
    }

    /// Waits for two more lines, of which the first may have been on its way, and for what they say to be right.
    fn expect_right(&mut self, board: &mut Board) -> anyhow::Result<()> {
        for _ in 0..2 {
            let line = board.session.expect_line(" !", ANSWER)?;
            let mut words = line.split_whitespace().skip_while(|word| *word != "armhf");
            let mut number = || words.nth(1)?.parse::<u64>().ok();
            let (Some(count), Some(found)) = (number(), words.next()) else {
                anyhow::bail!("no line of the program's: {line}");
            };
            let steps = count * u64::from(STEPS);
            let expected = (0..steps).fold(1, |value, _| value * FACTOR % MODULUS);
            let found: u64 = found.parse().with_context(|| line.clone())?;
            ensure!(
                found == expected,
                "{line}: after {steps} steps it is {expected}"
            );
            ensure!(count > self.lines, "{line} came after line {}", self.lines);
            self.lines = count;
        }
        Ok(())
    }
}
