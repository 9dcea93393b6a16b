// SPDX-License-Identifier: BSD-2-Clause
//! The demonstration with rust-sel4's own crates in place of ours: `runtime/sel4` and `runtime/sel4-microkit` keep to their interface.
//!
//! Wants a checkout of rust-sel4 that `RUST_SEL4` names; without one, run with `-- --skip upstream`.

use std::time::Duration;

use anyhow::ensure;
use godwit::demo::{self, DemoOptions, Nobody};
use image::{Kernel, Sel4Crates};

/// For how long the guest works on each board.
const WATCH: Duration = Duration::from_secs(1);

#[test]
fn on_sel4_a_guest_moves_between_boards_whose_domains_have_the_original_crates()
-> anyhow::Result<()> {
    let options = DemoOptions {
        kernel: Kernel::Sel4,
        sel4_crates: Sel4Crates::Upstream,
        watch: WATCH,
        ..DemoOptions::default()
    };
    let outcome = demo::run(&options, &mut Nobody)?;
    ensure!(outcome.ok(), "the guest noticed: {:?}", outcome.report);
    Ok(())
}
