// SPDX-License-Identifier: BSD-2-Clause
//! Whether a vCPU can still do anything: from its registers, and the instructions that they point to.
//!
//! Responsible for: two things that a vCPU never leaves by itself, and which nothing else that a guest has ends either.
//! One is a loop of branches, waits, hints and barriers while interrupts are masked. The other is an exception that is
//! taken from the very vector that it goes to. Must never: call a vCPU so that could continue. Whatever is not certain is
//! not said: a loop that loads, compares, or lets interrupts in may end.
//!
//! Encodings: DDI 0487, C4.1 (A64) and D24.2.40 (`ESR_ELx`).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod translate;
mod words;

use serde::{Deserialize, Serialize};
use translate::Regime;

/// A vCPU's registers, as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// The program counter; after a trapped wait, past it.
    pub program_counter: u64,
    /// `PSTATE`, as `SPSR_ELx` has it.
    pub state: u64,
    /// `VBAR_EL1`.
    pub vectors: u64,
    /// `ELR_EL1`.
    pub return_address: u64,
    /// `SPSR_EL1`.
    pub saved_state: u64,
    /// `ESR_EL1`.
    pub syndrome: u64,
    /// How it translates.
    pub regime: Regime,
}

/// An exception that was taken to EL1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// `ELR_EL1`.
    pub at: u64,
    /// `ESR_EL1`.
    pub syndrome: u64,
    /// The instruction there, if it can be read.
    pub instruction: Option<u32>,
}

/// What a vCPU does for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hang {
    /// It goes round in a loop that does nothing, with all interrupts masked.
    Loop {
        /// The loop's lowest address.
        at: u64,
        /// The exception that it is in the vector of, if it is in one.
        after: Option<Taken>,
    },
    /// Each time that it takes an exception, the exception's vector causes another.
    Vector {
        /// The one that it takes over and over.
        taken: Taken,
        /// What went before the first of them, if that is known.
        first: Option<Taken>,
    },
}

/// `PSTATE.{I,F}`.
const MASKED: u64 = 0b11 << 6;
/// `PSTATE.nRW`: AArch32.
const NARROW: u64 = 1 << 4;
/// `PSTATE.M`, and what it is at EL1 with either stack pointer.
const MODE: u64 = 0xf;
const EL1: [u64; 2] = [4, 5];
/// `VBAR_EL1` has no lower bits.
const ALIGNED: u64 = !0x7ff;
/// The bytes of all vectors, and of one.
const VECTORS: u64 = 0x800;
const VECTOR: u64 = 0x80;
/// The longest loop that is looked at, in instructions.
const LONGEST: usize = 16;

impl Registers {
    /// What the vCPU does for ever, if it is certain that it does; `read` fetches eight aligned bytes of what the guest
    /// has at an IPA, the first lowest.
    pub fn hang(&self, read: impl Fn(u64) -> Option<u64> + Copy) -> Option<Hang> {
        if self.state & NARROW != 0 {
            return None;
        }
        self.in_own_vector(read).or_else(|| self.in_loop(read))
    }

    /// The exception that the vCPU has taken last.
    pub fn taken(&self, read: impl Fn(u64) -> Option<u64> + Copy) -> Taken {
        Taken {
            at: self.return_address,
            syndrome: self.syndrome,
            instruction: self.regime.instruction(self.return_address, read),
        }
    }

    /// Whether `address` is where a synchronous exception is taken to.
    pub const fn is_vector(&self, address: u64) -> bool {
        matches!(
            address.wrapping_sub(self.vectors & ALIGNED),
            0 | 0x200 | 0x400 | 0x600
        )
    }

    /// The vector of a synchronous exception from EL1, about to be entered or just entered, was left by such an exception.
    fn in_own_vector(&self, read: impl Fn(u64) -> Option<u64> + Copy) -> Option<Hang> {
        let own_stack = self.saved_state & 1;
        let vector = (self.vectors & ALIGNED).wrapping_add(0x200 * own_stack);
        let within = |address: u64| address.wrapping_sub(vector) < VECTOR;
        let from_el1 = EL1.contains(&(self.saved_state & MODE)) && self.state & MODE == 5;
        let masked = self.saved_state & self.state & MASKED == MASKED;
        let again =
            from_el1 && masked && within(self.return_address) && within(self.program_counter);
        again.then(|| Hang::Vector {
            taken: self.taken(read),
            first: None,
        })
    }

    fn in_loop(&self, read: impl Fn(u64) -> Option<u64> + Copy) -> Option<Hang> {
        if self.state & MASKED != MASKED {
            return None;
        }
        let mut seen = [0; LONGEST];
        let mut address = self.program_counter;
        for count in 0..LONGEST {
            let before = seen.get(..count)?;
            if let Some(start) = before.iter().position(|it| *it == address) {
                let at = *before.get(start..)?.iter().min()?;
                return Some(Hang::Loop {
                    at,
                    after: self.in_vectors(at).then(|| self.taken(read)),
                });
            }
            *seen.get_mut(count)? = address;
            address = next(self.regime.instruction(address, read)?, address)?;
        }
        None
    }

    const fn in_vectors(&self, address: u64) -> bool {
        address.wrapping_sub(self.vectors & ALIGNED) < VECTORS
    }
}

/// What follows an instruction that changes nothing but where the vCPU is; None for all others.
const fn next(word: u32, address: u64) -> Option<u64> {
    // B.
    if word >> 26 == 0b00_0101 {
        #[expect(clippy::cast_possible_wrap, reason = "sign extension")]
        let words = ((word << 6) as i32 >> 6) as i64;
        return Some(address.wrapping_add_signed(4 * words));
    }
    // Hints: NOP, YIELD, WFE, WFI, SEV, SEVL, and those that do nothing. ISB, DSB, DMB.
    let hint = word & 0xffff_f01f == 0xd503_201f;
    let barrier = matches!(word & 0xffff_f0ff, 0xd503_30df | 0xd503_309f | 0xd503_30bf);
    if hint || barrier {
        Some(address.wrapping_add(4))
    } else {
        None
    }
}

impl Hang {
    /// The same, with what is known of how it began.
    #[must_use]
    pub const fn after(self, noted: Option<Taken>) -> Self {
        match self {
            Self::Vector { taken, .. } => Self::Vector {
                taken,
                first: noted,
            },
            other => other,
        }
    }

    /// As words of a message: which it is, where, and up to two exceptions.
    #[must_use]
    pub fn words(&self) -> [u64; WORDS] {
        let (kind, at, [one, two]) = match *self {
            Self::Loop { at, after } => (1, at, [after, None]),
            Self::Vector { taken, first } => (2, 0, [Some(taken), first]),
        };
        let [a, b, c, d] = words_of(one);
        let [e, f, g, h] = words_of(two);
        [kind, at, a, b, c, d, e, f, g, h]
    }

    /// The inverse of [`Self::words`]; also None of what is none.
    #[must_use]
    pub fn from_words(words: [u64; WORDS]) -> Option<Self> {
        let [kind, at, a, b, c, d, e, f, g, h] = words;
        let (one, two) = (taken_of([a, b, c, d]), taken_of([e, f, g, h]));
        match kind {
            1 => Some(Self::Loop { at, after: one }),
            2 => one.map(|taken| Self::Vector { taken, first: two }),
            _ => None,
        }
    }
}

/// The words of a [`Hang`] in a message.
pub const WORDS: usize = 10;

/// The first word says whether there is an exception; bit 32 of the last, whether there is an instruction.
const PRESENT: u64 = 1;
const WITH_INSTRUCTION: u64 = 1 << 32;

fn words_of(taken: Option<Taken>) -> [u64; 4] {
    taken.map_or([0; 4], |taken| {
        let instruction = taken
            .instruction
            .map_or(0, |word| u64::from(word) | WITH_INSTRUCTION);
        [PRESENT, taken.at, taken.syndrome, instruction]
    })
}

fn taken_of([present, at, syndrome, instruction]: [u64; 4]) -> Option<Taken> {
    let word = u32::try_from(instruction & 0xffff_ffff).ok();
    (present == PRESENT).then_some(Taken {
        at,
        syndrome,
        instruction: word.filter(|_| instruction & WITH_INSTRUCTION != 0),
    })
}

#[cfg(test)]
mod tests;
