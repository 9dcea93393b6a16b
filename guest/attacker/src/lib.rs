// SPDX-License-Identifier: BSD-2-Clause
//! What the attacker does, decided by a seed alone: a short program for each round, and the registers that it starts with.
//!
//! Responsible for: programs that reach every system register, every kind of exception, every device and every way to
//! wait, and, unless the seed is to be deadly, for leaving vCPU 0 a way back to its own vectors ([`restraint`]). Never:
//! executes anything; that is the guest's.
//!
//! Encodings are those of the Arm Architecture Reference Manual (DDI 0487), C4.1.
#![no_std]
#![forbid(unsafe_code)]

pub mod encoding;
pub mod places;
pub mod program;
pub mod restraint;
mod storms;
mod templates;
#[cfg(test)]
mod tests;

use guest_runtime::pattern::Pattern;

use crate::places::Places;
use crate::program::Round;

/// The level that a seed's programs run at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The guest's programs.
    El0,
    /// The guest's kernel.
    El1,
}

/// What a seed's rounds are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Where everything random comes from.
    pub seed: u64,
    /// Where programs run.
    pub level: Level,
    /// Under a stage 1 translation of the guest's own.
    pub translated: bool,
    /// Some programs do what vCPU 0 need not survive.
    pub deadly: bool,
}

/// One program in so many is deadly, if any.
const DEADLY: u64 = 8;

impl Plan {
    /// The round with this number. `known` says of a system register whether it can be read, by its number in
    /// [`encoding::Register`]; `vectors` is where vCPU 0's own vectors are.
    pub fn round(&self, number: u64, vectors: u64, known: impl Fn(usize) -> bool) -> Round {
        let mut random = Pattern::new(self.seed, number);
        let restrained = !self.deadly || random.below(DEADLY) != 0;
        let places = Places::new(self.level, self.translated);
        Round::new(self, restrained, places, vectors, random, known)
    }
}
