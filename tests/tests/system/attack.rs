// SPDX-License-Identifier: BSD-2-Clause
//! A guest cannot harm its board, whatever it writes to its registers and wherever it jumps.
//!
//! `cargo xtask attack` runs as many rounds as one likes, from any seed.

use tests::assault::{Assault, Seed};

use crate::on_both_kernels;

/// Seeds, enough for every kind that there is, and rounds of each.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=8;
const ROUNDS: u64 = 1_000;

on_both_kernels! {
    fn no_random_round_of_a_guest_harms_its_board(kernel) {
        let mut assault = Assault::begin(kernel)?;
        for seed in SEEDS {
            assault.attack(Seed::numbered(seed, ROUNDS))?;
        }
        println!("{:?}", assault.totals);
        Ok(())
    }

    fn every_access_to_a_device_ends_in_a_value_or_an_abort(kernel) {
        let mut assault = Assault::begin(kernel)?;
        // Through a Normal mapping, where no access has to be aligned.
        assault.touch(true)
    }
}
