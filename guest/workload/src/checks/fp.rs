// SPDX-License-Identifier: BSD-2-Clause
//! FP/SIMD registers keep what is in them, and arithmetic comes out as it did the first time.
//!
//! A thread on each CPU. The registers hold random 128-bit patterns across time slices, interrupts and system calls;
//! the calculation exercises them as programs do.

use std::hint::black_box;
use std::time::Duration;

use super::{Context, stay_on};
use crate::hardware::{FPCR_BITS, FPSR_BITS, FpRegisters, hold};
use crate::worker::Worker;
use guest_runtime::pattern::Pattern;

/// How often a round gives the CPU away with its registers full.
const YIELDS: u64 = 4;

/// Turns of an empty loop before each: long enough that interrupts fall into it.
const SPINS: u64 = 20_000;

/// After as many rounds the thread sleeps a little, to leave time for others.
const ROUNDS_BETWEEN_RESTS: u64 = 8;
const REST: Duration = Duration::from_millis(2);

pub(super) fn run(context: &Context, worker: &Worker, cpu: usize, seed: u64) {
    stay_on(worker, cpu);
    let mut pattern = Pattern::new(seed, 0x100 + cpu as u64);
    let expected = calculate(seed);
    for round in 1_u64.. {
        let registers = fill(&mut pattern);
        let found = hold(&registers, YIELDS, SPINS);
        compare(worker, &registers, &found);
        let result = calculate(black_box(seed));
        worker.expect(result == expected, || {
            format!("calculation gave {result:x?} instead of {expected:x?}")
        });
        context.counters.observe(worker);
        worker.round();
        if round % ROUNDS_BETWEEN_RESTS == 0 {
            std::thread::sleep(REST);
        }
    }
}

fn fill(pattern: &mut Pattern) -> FpRegisters {
    FpRegisters {
        vectors: std::array::from_fn(|_| {
            u128::from(pattern.next()) << 64 | u128::from(pattern.next())
        }),
        control: pattern.next() & FPCR_BITS,
        status: pattern.next() & FPSR_BITS,
    }
}

fn compare(worker: &Worker, expected: &FpRegisters, found: &FpRegisters) {
    for (index, (expected, found)) in expected.vectors.iter().zip(&found.vectors).enumerate() {
        worker.expect(expected == found, || {
            format!("v{index} was {expected:#034x}, then {found:#034x}")
        });
    }
    for (name, expected, found) in [
        ("FPCR", expected.control, found.control),
        ("FPSR", expected.status, found.status),
    ] {
        worker.expect(expected == found, || {
            format!("{name} was {expected:#x}, then {found:#x}")
        });
    }
}

/// A calculation in which every operation depends on the one before, so that one wrong bit changes the result: four
/// lanes of floating point that never leave the range of normal numbers, and four of integers.
fn calculate(seed: u64) -> [u64; 8] {
    let mut pattern = Pattern::new(seed, 0);
    let mut reals: [f64; 4] =
        std::array::from_fn(|_| 1.0 + f64::from(half(pattern.next())) / 4_294_967_296.0);
    let mut integers: [u32; 4] = std::array::from_fn(|_| half(pattern.next()));
    for step in 1..200_u32 {
        for (real, integer) in reals.iter_mut().zip(&mut integers) {
            let shifted = real.mul_add(1.25, 1.0 / f64::from(step)).sqrt();
            *real = 1.0 + shifted / 8.0;
            *integer = integer.rotate_left(7).wrapping_mul(0x9e37_79b1) ^ step;
        }
    }
    let reals = reals.map(f64::to_bits);
    let integers = integers.map(u64::from);
    std::array::from_fn(|index| {
        if index < 4 {
            reals[index]
        } else {
            integers[index - 4]
        }
    })
}

/// The lower half of a word.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn half(word: u64) -> u32 {
    word as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::summary;

    #[test]
    fn the_calculation_depends_on_its_seed_and_nothing_else() {
        assert_eq!(calculate(7), calculate(black_box(7)));
        assert_ne!(calculate(7), calculate(8));
    }

    #[test]
    fn one_wrong_bit_in_the_upper_half_of_a_vector_is_noticed() {
        let worker: &'static Worker = Box::leak(Box::new(Worker::new("fp")));
        let registers = fill(&mut Pattern::new(1, 2));
        compare(worker, &registers, &registers);
        assert_eq!(summary(&[worker], &[])["fp"]["failures"], 0);
        let mut found = registers;
        found.vectors[31] ^= 1 << 127;
        compare(worker, &registers, &found);
        assert_eq!(summary(&[worker], &[])["fp"]["failures"], 1);
    }
}
