// SPDX-License-Identifier: BSD-2-Clause
//! Values that everyone can compute again: what was written is checked without being remembered.

/// The generator SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug, Clone)]
pub struct Pattern(u64);

impl Pattern {
    /// A sequence of its own for each `stream`.
    #[must_use]
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed ^ mix(stream)))
    }

    /// The next value.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// The next value below `limit`, evenly enough for choosing durations.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// The odd number closest to 2⁶⁴ divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function: every bit of `value` changes half of the result's.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // First outputs of the reference implementation for seed 0.
        let mut pattern = Pattern(0);
        assert_eq!(pattern.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(pattern.next(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn streams_differ() {
        assert_ne!(Pattern::new(1, 0).next(), Pattern::new(1, 1).next());
    }
}
