// SPDX-License-Identifier: BSD-2-Clause
//! Fingerprints of pages, and checks of everything else.
//!
//! Responsible for: telling fast and surely whether a page of guest RAM is what it was. Must
//! never: be used where somebody who knows the key gains by a collision. A guest cannot learn the
//! key, and with one it could only make its own move lose its own changes.
//!
//! # The construction
//!
//! The kernel cannot write-protect a guest's RAM, so the pages that a guest has written are found
//! by reading all of them, the last time while the guest is paused. That round is the longest
//! part of the downtime, so the hash does one 64×64→128-bit multiplication for 16 bytes and
//! nothing else of weight.
//!
//! A page is 32 strips of 128 bytes. A strip of words `x₀ y₀ … x₇ y₇` under the key `k₀ … k₁₅` is
//! hashed to the sum over its pairs of `(xᵢ + k₂ᵢ)(yᵢ + k₂ᵢ₊₁)`, the NH function of UMAC (Black,
//! Halevi, Krawczyk, Krovetz, Rogaway 1999), where the lower and the upper halves of the products
//! are added up separately, each modulo 2⁶⁴, which saves the carry. The 32 results are hashed the
//! same way under 64 keys of their own. The strip's keys stay in registers.
//!
//! # Why that suffices
//!
//! Let two pages be chosen without knowledge of the key and differ in a strip, there in the pair
//! `(x, y)`, in `x` without loss of generality. Fix all keys but the one that is added to `y`, so
//! that `z = y + k` is uniform. The factors `c`, `c'` in front differ. Equal sums mean that
//! `lo(cz) − lo(c'z')` and `hi(cz) − hi(c'z')` are certain values modulo 2⁶⁴, so `cz − c'z'` is one
//! of four integers; `z'` is `z + d` or `z + d − 2⁶⁴`. In each of the eight cases `(c − c')z` is
//! known, and `z` with it. So at most 8 of 2⁶⁴ keys give a collision, and the same holds for the
//! second level: **two different pages have the same fingerprint with a probability of at most
//! 2⁻⁶⁰**, whatever they contain. A move that compares 32,768 pages in 30 rounds misses a change
//! with less than 2⁻⁴⁰. (For pages without a particular relation it is near 2⁻¹²⁸.)
//!
//! A tempting cheaper function, `(h₀, h₁) ← (h₁ ⊕ y ⊕ hi, lo)` of `(h₀ ⊕ x) · K` for each pair, is
//! a permutation for each pair and yet fails at once: `y` is not multiplied before the next pair's
//! `x` is added, so the same bits flipped in both (two adjacent counters) always cancel. The
//! tests keep it as the planted fault that they must catch.

pub use vm::PAGE_SIZE;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The bytes of a page.
pub type Page = [u8; PAGE_SIZE];

/// 64-bit words of a strip.
const STRIP_WORDS: usize = 16;
/// Strips of a page.
const STRIPS: usize = PAGE_SIZE / (8 * STRIP_WORDS);
/// 2⁶⁴ divided by the golden ratio: an odd number without pattern, and `SplitMix64`'s increment.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a page is recognised by.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Fingerprint(pub [u64; 2]);

/// A secret that fingerprints depend on: a fresh one for each move.
#[derive(Clone)]
pub struct Key {
    strip: [u64; STRIP_WORDS],
    page: [u64; 2 * STRIPS],
}

impl Key {
    /// The key that a random `seed` gives.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        let [mut first, mut second] = seed;
        let mut word = || {
            first = first.wrapping_add(GOLDEN);
            second = second.wrapping_add(GOLDEN);
            split_mix(first ^ split_mix(second))
        };
        Self {
            strip: core::array::from_fn(|_| word()),
            page: core::array::from_fn(|_| word()),
        }
    }

    /// The fingerprint of the page whose words number `2i` and `2i + 1` are `pair(i)`.
    ///
    /// Each pair is asked for once: a guest may be writing meanwhile.
    #[inline]
    pub fn fingerprint(&self, pair: impl Fn(usize) -> (u64, u64)) -> Fingerprint {
        let mut sum = Sum::default();
        let (page_keys, _) = self.page.as_chunks::<2>();
        for (strip, [first, second]) in page_keys.iter().enumerate() {
            let Sum { low, high } = self.strip(|index| pair(strip * (STRIP_WORDS / 2) + index));
            sum.add(low, *first, high, *second);
        }
        Fingerprint([sum.low, sum.high])
    }

    /// The fingerprint of a page's copy.
    #[must_use]
    pub fn fingerprint_of(&self, page: &Page) -> Fingerprint {
        let (pairs, _) = page.as_chunks::<16>();
        self.fingerprint(|index| {
            let bytes = pairs.get(index).copied().unwrap_or_default();
            let both = u128::from_le_bytes(bytes);
            (low_half(both), high_half(both))
        })
    }

    #[inline(always)]
    fn strip(&self, pair: impl Fn(usize) -> (u64, u64)) -> Sum {
        let mut sum = Sum::default();
        let (keys, _) = self.strip.as_chunks::<2>();
        for (index, [first, second]) in keys.iter().enumerate() {
            let (x, y) = pair(index);
            sum.add(x, *first, y, *second);
        }
        sum
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Key(..)")
    }
}

/// Products added up, halves apart.
#[derive(Default)]
struct Sum {
    low: u64,
    high: u64,
}

impl Sum {
    #[inline(always)]
    fn add(&mut self, x: u64, first: u64, y: u64, second: u64) {
        let product = u128::from(x.wrapping_add(first)) * u128::from(y.wrapping_add(second));
        self.low = self.low.wrapping_add(low_half(product));
        self.high = self.high.wrapping_add(high_half(product));
    }
}

/// A check over words in order, under no key: for what was damaged by accident.
///
/// Each word is a permutation of the 128 bits of state, so a change confined to one word always
/// changes the result; other changes do but for about one in 2⁶⁴.
#[derive(Debug, Clone, Copy)]
pub struct Digest {
    front: u64,
    back: u64,
    words: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    /// Of no words yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            front: GOLDEN,
            back: !GOLDEN,
            words: 0,
        }
    }

    /// Takes one more word in.
    #[inline(always)]
    pub fn word(&mut self, word: u64) {
        let product = u128::from(self.front ^ word) * u128::from(GOLDEN);
        self.front = self.back ^ high_half(product);
        self.back = low_half(product);
        self.words += 1;
    }

    /// The result, which depends on every bit of every word and on how many there were.
    #[must_use]
    pub fn finish(mut self) -> [u64; 2] {
        let words = self.words;
        for _ in 0..4 {
            self.word(words);
        }
        [self.front, self.back]
    }
}

/// The check of a frame's payload: [`Digest`] over its bytes as little-endian words, the last
/// filled up with zeros, and its length; folded to 32 bits.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut digest = Digest::new();
    for word in words {
        digest.word(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    if let Some(last) = last.get_mut(..rest.len()) {
        last.copy_from_slice(rest);
    }
    digest.word(u64::from_le_bytes(last));
    digest.word(bytes.len() as u64);
    let [front, back] = digest.finish();
    let folded = front ^ back;
    // Both halves are meant to be cut off.
    #[expect(clippy::cast_possible_truncation, reason = "folds 64 bits to 32")]
    let check = (folded ^ (folded >> 32)) as u32;
    check
}

/// The output function of Steele, Lea and Flood's `SplitMix64` (2014).
pub const fn split_mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn low_half(value: u128) -> u64 {
    value as u64
}

const fn high_half(value: u128) -> u64 {
    low_half(value >> 64)
}

#[cfg(test)]
mod tests;
