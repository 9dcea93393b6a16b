// SPDX-License-Identifier: BSD-2-Clause
//! The functions against the obvious implementation: every length to beyond two turns of a loop, every alignment, every
//! overlap, on a processor that lets them touch nothing but what they were given.

mod processor;

use processor::{Memory, Program};

/// Beyond two turns of the longest loop, with every remainder.
const LENGTHS: usize = 200;

fn program() -> Program {
    Program::read(include_str!("../../src/memory.S"))
}

/// Bytes of which no two in a row are equal, nor two that are a word apart.
fn pattern() -> Vec<u8> {
    let scattered = |index: u32| index.wrapping_mul(2_654_435_761).to_be_bytes()[0];
    (0..1024).map(scattered).collect()
}

/// Copies in the program's way and in the obvious one.
fn compare(program: &Program, function: &str, from: usize, to: usize, length: usize) {
    let bytes = pattern();
    let mut expected = bytes.clone();
    expected.copy_within(from..from + length, to);
    let mut memory = Memory {
        bytes,
        readable: from..from + length,
        writable: to..to + length,
    };
    let returned = program.call(
        function,
        [to, from, length].map(|value| value as u64),
        &mut memory,
    );
    assert_eq!(returned, to as u64, "{function} returns the destination");
    assert!(
        memory.bytes == expected,
        "{function} of {length} bytes from {from} to {to}"
    );
}

#[test]
fn memcpy_copies_every_length_at_every_alignment_and_touches_nothing_else() {
    let program = program();
    for length in 0..LENGTHS {
        for (from, to) in (0..16).flat_map(|from| (0..16).map(move |to| (from, to))) {
            compare(&program, "memcpy", 64 + from, 512 + to, length);
        }
    }
}

#[test]
fn memmove_copies_every_length_over_every_overlap() {
    let program = program();
    for length in 0..LENGTHS {
        // From apart on one side to apart on the other.
        for to in 400 - length - 1..=400 + length + 1 {
            compare(&program, "memmove", 400, to, length);
        }
    }
}

#[test]
fn memmove_does_not_mind_the_alignment() {
    let program = program();
    for length in [1, 7, 8, 15, 31, 33, 64, 100, 129] {
        for (from, distance) in
            (0..16).flat_map(|from| (0..=80).map(move |distance| (from, distance)))
        {
            compare(
                &program,
                "memmove",
                400 + from,
                360 + from + distance,
                length,
            );
        }
    }
}

#[test]
fn memset_fills_with_the_lowest_byte_of_its_argument() {
    let program = program();
    for (length, to) in (0..LENGTHS).flat_map(|length| (0..16).map(move |to| (length, 300 + to))) {
        for (value, byte) in [(0, 0), (0x5a, 0x5a), (0xffff_ff80, 0x80)] {
            let bytes = pattern();
            let mut expected = bytes.clone();
            expected[to..to + length].fill(byte);
            let mut memory = Memory {
                bytes,
                readable: 0..0,
                writable: to..to + length,
            };
            let returned = program.call("memset", [to as u64, value, length as u64], &mut memory);
            assert_eq!(returned, to as u64);
            assert!(
                memory.bytes == expected,
                "{length} bytes at {to} with {value:#x}"
            );
        }
    }
}
