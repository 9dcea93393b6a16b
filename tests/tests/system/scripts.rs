// SPDX-License-Identifier: BSD-2-Clause
//! A guest that is moved after every step of a script of interrupts reads what it reads when it is left alone.
//!
//! All states that a guest can bring its interrupts into are cut on the host, over a model of the CPU interface
//! (`vmm-pd/src/capture/tests/scripts.rs`); here, one script on the real one.

use anyhow::ensure;
use godwit::session::Scratch;
use tests::ANSWER;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};

use crate::on_both_kernels;

on_both_kernels! {
    fn interrupts_that_are_cut_at_every_step_answer_as_if_they_were_not(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::probe("mode=script", 1);
        let image = guests::image(kernel, &guest)?;
        let whole = words(Board::start("whole", &image, &scratch)?, Ok)?;

        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut there = Board::start("b", &empty, &scratch)?;
        let cut = words(Board::start("a", &image, &scratch)?, |mut here| {
            move_guest(&mut here, &mut there)?;
            std::mem::swap(&mut here, &mut there);
            Ok(here)
        })?;
        ensure!(whole.len() > 40 && whole.len() == cut.len(), "the script is short: {whole:#?}");
        for (whole, cut) in whole.iter().zip(&cut) {
            ensure!(cut == whole, "left alone: {whole}\nmoved: {cut}");
        }
        Ok(())
    }
}

/// What the probe says at each step; `rest` is done after each, and gives the board that it then continues at.
fn words(
    mut board: Board,
    mut rest: impl FnMut(Board) -> anyhow::Result<Board>,
) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    loop {
        let line = board.session.expect_line("probe: ", ANSWER)?;
        ensure!(!line.contains("FAILED"), "{line}");
        if line.contains("probe: done") {
            return Ok(words);
        }
        if let Some((_, step)) = line.split_once("probe: step ") {
            println!("{}", step.trim());
            words.push(step.trim().to_owned());
            board = rest(board)?;
            board.session.send(b" ")?;
        }
    }
}
