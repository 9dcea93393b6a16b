// SPDX-License-Identifier: BSD-2-Clause
//! A line that drops, flips, duplicates and delays bytes, by a seed.
//!
//! Responsible for: the harm. Included by the tests of whoever sends something over a line.

use line::Millis;
use std::collections::VecDeque;

/// How likely each kind of harm is for a byte, in one of 65,536.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Harm {
    pub(crate) drop: u16,
    pub(crate) flip: u16,
    pub(crate) duplicate: u16,
    /// Milliseconds on the way.
    pub(crate) delay: Millis,
}

/// A line that does none.
pub(crate) const NO_HARM: Harm = Harm {
    drop: 0,
    flip: 0,
    duplicate: 0,
    delay: 1,
};

/// One direction.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) harm: Harm,
    state: u64,
    under_way: VecDeque<(Millis, u8)>,
}

impl Way {
    pub(crate) fn new(harm: Harm, seed: u64) -> Self {
        Self {
            harm,
            state: seed | 1,
            under_way: VecDeque::new(),
        }
    }

    /// Xorshift (Marsaglia, 2003).
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn happens(&mut self, likelihood: u16) -> bool {
        self.random() >> 20 & 0xffff < u64::from(likelihood)
    }

    pub(crate) fn put(&mut self, bytes: &[u8], now: Millis) {
        for byte in bytes {
            if self.happens(self.harm.drop) {
                continue;
            }
            let mut byte = *byte;
            if self.happens(self.harm.flip) {
                byte ^= 1 << (self.random() >> 30 & 7);
            }
            let copies = 1 + usize::from(self.happens(self.harm.duplicate));
            for _ in 0..copies {
                self.under_way.push_back((now + self.harm.delay, byte));
            }
        }
    }

    pub(crate) fn take(&mut self, now: Millis) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((_, byte)) = self.under_way.pop_front_if(|(at, _)| *at <= now) {
            bytes.push(byte);
        }
        bytes
    }
}
