// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask attack`: as many rounds as one likes of a guest that attacks its board.
//!
//! The default test run does the first seeds of the same ([`tests::assault`]); this continues, from any seed, and says how
//! long it took.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use image::prepare::{self, Need};
use tests::assault::{Assault, Seed};

use crate::kernels::Kernels;
use crate::workspace::root;

/// How to attack.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// On which kernel.
    #[arg(long, value_enum, default_value_t = Kernels::Available)]
    kernel: Kernels,
    /// Rounds, over all seeds.
    #[arg(long, default_value_t = 100_000)]
    rounds: u64,
    /// Rounds of a seed.
    #[arg(long, default_value_t = 1_000)]
    of_a_seed: u64,
    /// The first seed; each further one is the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Attacks; success if every seed left the board as it was.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    prepare::prerequisites(root(), &[Need::Demo], &|step| println!("{step}"))?;
    for kernel in options.kernel.list() {
        println!(
            "{kernel}: {} rounds from seed {}",
            options.rounds, options.seed
        );
        let began = Instant::now();
        let mut assault = Assault::begin(kernel)?;
        let mut seed = options.seed;
        while assault.totals.rounds < options.rounds {
            let harmed = || format!("{kernel}: the board was harmed");
            assault
                .attack(Seed::numbered(seed, options.of_a_seed))
                .with_context(harmed)?;
            seed += 1;
        }
        let seconds = began.elapsed().as_secs();
        println!("{kernel}: unharmed in {seconds} s, {:?}", assault.totals);
    }
    Ok(ExitCode::SUCCESS)
}
