//! The demonstration, there and back: what people see first holds on both kernels.

use std::time::Duration;

use anyhow::ensure;
use godwit::demo::{self, DemoOptions, Nobody};

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
}
