// SPDX-License-Identifier: BSD-2-Clause
//! What vCPU 1 wants of vCPU 0, and how far that is: words that only one of them writes.

use core::sync::atomic::{AtomicU64, Ordering};

/// A word that one vCPU writes and the other reads.
#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

impl Word {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Adds 1; only its writer does.
    pub(crate) fn count(&self) {
        self.set(self.get() + 1);
    }
}

/// The number of the order that vCPU 0 is to carry out; written by vCPU 1, after everything else of it.
pub(crate) static ORDER: Word = Word::new();
/// [`Order`] as a number.
pub(crate) static KIND: Word = Word::new();
/// The seed.
pub(crate) static SEED: Word = Word::new();
/// How many rounds.
pub(crate) static ROUNDS: Word = Word::new();
/// At EL0 if 0.
pub(crate) static LEVEL: Word = Word::new();
/// With a translation unless 0.
pub(crate) static TRANSLATED: Word = Word::new();
/// What vCPU 0 need not survive, unless 0.
pub(crate) static DEADLY: Word = Word::new();

/// The number of the order that vCPU 0 has carried out; written by it.
pub(crate) static DONE: Word = Word::new();
/// Rounds of the order so far; written by vCPU 0.
pub(crate) static PROGRESS: Word = Word::new();
/// What was counted on the way; written by vCPU 0.
pub(crate) static COUNTS: [Word; 3] = [const { Word::new() }; 3];

/// What vCPU 0 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Rounds of a seed.
    Attack,
    /// Every system register.
    Sweep,
    /// Every offset of every device.
    Touch,
}

impl Order {
    pub(crate) const fn from_word(word: u64) -> Option<Self> {
        Some(match word {
            0 => Self::Attack,
            1 => Self::Sweep,
            2 => Self::Touch,
            _ => return None,
        })
    }
}
