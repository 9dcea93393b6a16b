// SPDX-License-Identifier: BSD-2-Clause
//! Bytes that are almost what they should be.
//!
//! Responsible for: changing bytes in ways that get far into a decoder, the same ways for the same seed. It knows nothing
//! of coverage; libFuzzer does.

/// Numbers from a seed: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % limit).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        // Bytes that end, lengthen and overflow variable-length integers come more often than others.
        let [byte, choice, ..] = self.number().to_le_bytes();
        match choice % 8 {
            0 => 0,
            1 => 1,
            2 => 0x7f,
            3 => 0x80,
            4 => 0xff,
            _ => byte,
        }
    }
}

/// `bytes`, changed in one to four places, and of `others` a piece now and then.
#[must_use]
pub fn mutated(bytes: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(9) {
            0 | 1 => replace(&mut bytes, at, |_| random.byte()),
            2 => replace(&mut bytes, at, |byte| byte ^ 1 << random.below(8)),
            3 => replace(&mut bytes, at, |byte| byte.wrapping_add(1)),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            5 => bytes.insert(at, random.byte()),
            6 if at > 0 => bytes.truncate(at),
            7 => {
                let other = random.below(bytes.len());
                if !bytes.is_empty() {
                    bytes.swap(at, other);
                }
            }
            _ => splice(&mut bytes, at, others, random),
        }
    }
    bytes
}

fn replace(bytes: &mut [u8], at: usize, by: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = by(*byte);
    }
}

/// Puts a piece of another input, or eight times the same byte, over what is at `at`.
fn splice(bytes: &mut [u8], at: usize, others: &[Vec<u8>], random: &mut Random) {
    let piece = match others.get(random.below(others.len() + 1)) {
        Some(other) => {
            let from = random.below(other.len());
            let length = random.below(32);
            other.iter().skip(from).take(length).copied().collect()
        }
        None => vec![random.byte(); 8],
    };
    for (byte, new) in bytes.iter_mut().skip(at).zip(piece) {
        *byte = new;
    }
}
