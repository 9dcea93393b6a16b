// SPDX-License-Identifier: BSD-2-Clause
//! What is built keeps the policy: for every board and kernel, the image that would run there.
//!
//! Nothing is started. These are system tests because building what is reviewed takes a Microkit SDK.

use anyhow::ensure;
use image::{Board, Kernel, workspace};
use isolation::{Review, build};

use crate::on_both_kernels;

on_both_kernels! {
    fn what_is_built_for_every_board_keeps_the_policy(kernel) {
        let root = workspace()?;
        let policy = build::policy(&root)?;
        let mut reviewed = 0;
        for name in Board::names(&root) {
            let model = Board::load(&root, &name)?;
            // What QEMU's model gets is looked at besides where it is more than the board gets.
            let more = model.counter.is_some();
            let boards = [Some(model.clone().on_hardware()), more.then_some(model)];
            for board in boards.into_iter().flatten().filter(|board| board.kernels.contains(&kernel)) {
                let xml = build::description(&root, &board)?;
                let mut review = Review::of_description("system.xml", &xml, &board, &policy)?;
                build::add_image(&mut review, &root, &xml, kernel)?;
                ensure!(review.missing.is_empty(), "{name}: {:?}", review.missing);
                ensure!(review.sources.len() == 2, "{name}: the image was not read");
                ensure!(review.holds(), "{name}: {:#?}", review.findings);
                reviewed += 1;
            }
        }
        let least = if kernel == Kernel::Sel4 { 4 } else { 1 };
        ensure!(reviewed >= least, "only {reviewed} boards");
        Ok(())
    }
}
