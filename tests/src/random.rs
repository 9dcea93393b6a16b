// SPDX-License-Identifier: BSD-2-Clause
//! Random moments that can be had again: numbers from a seed, which every test that uses them prints.

use std::time::Duration;

/// The environment variable with a seed other than the usual one.
pub const SEED: &str = "GODWIT_TEST_SEED";

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers from the seed in the environment, or from `default`; says which.
    ///
    /// # Panics
    ///
    /// The environment's seed is not a number.
    #[must_use]
    pub fn seeded(default: u64) -> Self {
        let seed = std::env::var(SEED).map_or(default, |seed| {
            seed.parse()
                .unwrap_or_else(|error| panic!("{SEED}={seed}: {error}"))
        });
        println!("random moments from {SEED}={seed}");
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A time below `limit`, in microseconds.
    pub fn moment(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.next() % limit.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_moments() {
        let mut random = Random(1_234_567);
        // The reference implementation's first numbers for this seed.
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
        let mut again = Random(7);
        let limit = Duration::from_millis(3);
        let moments: Vec<_> = (0..100).map(|_| again.moment(limit)).collect();
        assert!(moments.iter().all(|moment| *moment < limit));
        assert!(moments.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
