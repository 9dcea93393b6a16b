// SPDX-License-Identifier: BSD-2-Clause
//! The demonstration, there and back: what people see first holds on both kernels.

use std::time::Duration;

use anyhow::ensure;
use godwit::demo::{self, DemoOptions, Nobody};
use godwit::guest_output::SeenProcessor;

use crate::on_both_kernels;

/// For how long the guest works on each board.
const WATCH: Duration = Duration::from_secs(1);

on_both_kernels! {
    fn a_guest_goes_to_another_board_and_comes_back_and_notices_nothing(kernel) {
        let options = DemoOptions {
            kernel,
            ping_pong: Some(1),
            watch: WATCH,
            ..DemoOptions::default()
        };
        let outcome = demo::run(&options, &mut Nobody)?;
        ensure!(outcome.ok(), "the guest noticed: {:?}", outcome.report);
        ensure!(outcome.moves.len() == 2, "{} moves", outcome.moves.len());
        Ok(())
    }

    fn a_guest_goes_to_another_core_and_says_which_it_sees(kernel) {
        let mut options = DemoOptions {
            kernel,
            ping_pong: Some(1),
            watch: WATCH,
            ..DemoOptions::default()
        };
        options.move_to_core("cortex-a76")?;
        let outcome = demo::run(&options, &mut Nobody)?;
        ensure!(outcome.ok(), "the guest noticed: {:?}", outcome.report);
        let (a53, a76) = (0x410f_d034, 0x414f_d0b1);
        let now: Vec<_> = outcome.processors.iter().map(|seen| seen.now).collect();
        ensure!(now == [a53, a76, a53], "{now:x?}");
        // What it took down when it started stays.
        let recorded = |seen: &SeenProcessor| seen.recorded == a53;
        ensure!(outcome.processors.iter().all(recorded), "{:x?}", outcome.processors);
        Ok(())
    }
}
