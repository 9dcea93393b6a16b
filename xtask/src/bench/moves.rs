// SPDX-License-Identifier: BSD-2-Clause
//! What live moves cost: the demonstration's guest, which rewrites 8 MiB of its 128 all the time, there and back.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;
use godwit::demo::{self, DemoOptions, Nobody};
use godwit::relay::Summary;
use image::Kernel;

/// Pairs of moves, there and back.
const PAIRS: u32 = 3;
/// For how long the guest works on each board.
const WATCH: Duration = Duration::from_secs(1);

/// One kernel's moves.
#[derive(Debug)]
pub(crate) struct Moves {
    kernel: Kernel,
    moves: Vec<Summary>,
}

/// Moves the guest to and fro.
pub(crate) fn measure(kernel: Kernel) -> anyhow::Result<Moves> {
    let options = DemoOptions {
        kernel,
        ping_pong: Some(PAIRS),
        watch: WATCH,
        ..DemoOptions::default()
    };
    let outcome = demo::run(&options, &mut Nobody)?;
    ensure!(outcome.ok(), "the guest noticed: {:?}", outcome.report);
    Ok(Moves {
        kernel,
        moves: outcome.moves,
    })
}

impl fmt::Display for Moves {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for summary in &self.moves {
            #[expect(
                clippy::cast_precision_loss,
                reason = "for show, in tenths of a megabyte"
            )]
            let megabytes = summary.figures.bytes as f64 / 1e6;
            writeln!(
                formatter,
                "| {} | {megabytes:.1} MB | {:.2} s | {:.0} ms |",
                self.kernel,
                summary.total.as_secs_f64(),
                summary.downtime.unwrap_or_default().as_secs_f64() * 1e3,
            )?;
        }
        Ok(())
    }
}
