// SPDX-License-Identifier: BSD-2-Clause
//! A guest that asks for a reset starts again as itself, wherever it is by then.

use anyhow::ensure;
use godwit::relay::Options;
use godwit::session::Scratch;
use godwit::snapshot::{self, RestoreOptions, SnapshotFile};
use image::Kernel;
use protocol::management::Phase;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;

/// A word of the command line that only this guest has: the shell's, not the workload's.
const ITS_OWN: &str = "godwit.mode=shell";

on_both_kernels! {
    fn a_guest_that_was_moved_starts_again_as_itself(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::linux("shell", 2);
        let full = guests::image(kernel, &guest)?;
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut first = Board::start("a", &full, &scratch)?;
        first.expect_linux()?;
        first.session.expect("/ # ", BOOT)?;

        println!("to a board that never had a guest");
        let mut second = Board::start("b", &empty, &scratch)?;
        let summary = move_guest(&mut first, &mut second)?;
        println!("{} pages, {} bytes", summary.figures.pages_sent, summary.figures.bytes);
        starts_again_as_itself(&mut second)?;

        println!("back to where what it starts from is already");
        let back = move_guest(&mut second, &mut first)?;
        println!("{} pages, {} bytes", back.figures.pages_sent, back.figures.bytes);
        starts_again_as_itself(&mut first)?;
        drop(second);

        println!("to a board that had booted something else");
        let mut third = board_of_another_guest(kernel, &scratch)?;
        move_guest(&mut first, &mut third)?;
        drop(first);
        starts_again_as_itself(&mut third)?;

        println!("and on from there");
        let mut fourth = Board::start("d", &empty, &scratch)?;
        move_guest(&mut third, &mut fourth)?;
        drop(third);
        starts_again_as_itself(&mut fourth)
    }

    fn a_guest_that_was_kept_in_a_file_starts_again_as_itself(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::linux("shell", 1);
        let path = scratch.path().join("guest.snapshot");
        {
            let mut board = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
            board.expect_linux()?;
            board.session.expect("/ # ", BOOT)?;
            let taken = snapshot::take(board.client()?, &Options::default(), &mut |_| {})?;
            snapshot::write(&path, &taken.state, &taken.memory)?;
        }
        let file = SnapshotFile::open(&path)?;
        file.verify()?;
        ensure!(file.bundle().is_some());
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut board = Board::start("b", &empty, &scratch)?;
        snapshot::restore(&file, board.client()?, &RestoreOptions::default(), &mut |_| {})?;
        starts_again_as_itself(&mut board)
    }
}

/// A board whose own guest was another one, and is gone.
fn board_of_another_guest(kernel: Kernel, scratch: &Scratch) -> anyhow::Result<Board> {
    let image = guests::image(kernel, &TestGuest::linux("workload", 1))?;
    let mut board = Board::start("c", &image, scratch)?;
    board.expect_workload()?;
    board.client()?.pause(ANSWER)?;
    board.client()?.discard()?;
    board.wait_for_phase(Phase::Empty)?;
    Ok(board)
}

fn starts_again_as_itself(board: &mut Board) -> anyhow::Result<()> {
    board.shell("echo still here")?;
    board.session.send_line("reboot -f")?;
    board.expect_linux()?;
    board.session.expect("/ # ", BOOT)?;
    let said = board.shell("cat /proc/cmdline")?;
    ensure!(said.contains(ITS_OWN), "another guest: {said}");
    ensure!(board.phase()? == Phase::Running);
    Ok(())
}
