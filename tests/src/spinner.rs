// SPDX-License-Identifier: BSD-2-Clause
//! A guest whose whole state is registers, so that a test that looks at those sees all of it.
//!
//! It says `spin`, and then reads the virtual counter again and again. When `x19` is not 0, it looks at the counter and at
//! `TPIDR_EL0` once more, clears `x19`, and says that character. It touches no memory but the console.

use std::path::PathBuf;

use image::workspace;
use state::Register;

/// A character to be said; 0 once it has been.
pub const SAY: Register = Register::X19;
/// The largest difference between two readings of `CNTVCT_EL0` that follow each other.
pub const LARGEST_GAP: Register = Register::X24;
/// What the guest read in `TPIDR_EL0` before it last said something.
pub const READ_THREAD_POINTER: Register = Register::X25;
/// What it says first.
pub const READY: &str = "spin";

/// A64, to be entered at its first word with the MMU off.
const PROGRAM: [u32; 32] = [
    0xd2a1_2014, // movz x20, #0x900, lsl #16    the console's data register
    0xd280_0013, // mov  x19, #0
    0xd280_0018, // mov  x24, #0
    0x5280_0e60, // movz w0, #'s'
    0xb900_0280, // str  w0, [x20]
    0x5280_0e00, // movz w0, #'p'
    0xb900_0280, // str  w0, [x20]
    0x5280_0d20, // movz w0, #'i'
    0xb900_0280, // str  w0, [x20]
    0x5280_0dc0, // movz w0, #'n'
    0xb900_0280, // str  w0, [x20]
    0x5280_0140, // movz w0, #'\n'
    0xb900_0280, // str  w0, [x20]
    0xd53b_e055, // mrs  x21, cntvct_el0
    0xd53b_e056, // mrs  x22, cntvct_el0         from here on, for ever
    0xcb15_02d7, // sub  x23, x22, x21
    0xeb18_02ff, // cmp  x23, x24
    0x9a98_82f8, // csel x24, x23, x24, hi
    0xaa16_03f5, // mov  x21, x22
    0xb4ff_ff73, // cbz  x19, -20
    0xd53b_d059, // mrs  x25, tpidr_el0          something is to be said: looks once more before
    0xd53b_e056, // mrs  x22, cntvct_el0
    0xcb15_02d7, // sub  x23, x22, x21
    0xeb18_02ff, // cmp  x23, x24
    0x9a98_82f8, // csel x24, x23, x24, hi
    0xaa16_03f5, // mov  x21, x22
    0x2a13_03e0, // mov  w0, w19
    0xd280_0013, // mov  x19, #0
    0xb900_0280, // str  w0, [x20]
    0x5280_0140, // movz w0, #'\n'
    0xb900_0280, // str  w0, [x20]
    0x17ff_ffef, // b    -68
];

/// The program in a file of its own.
pub(crate) fn file() -> anyhow::Result<PathBuf> {
    let directory = workspace()?.join("target/images");
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("spinner.bin");
    let bytes: Vec<u8> = PROGRAM.iter().flat_map(|word| word.to_le_bytes()).collect();
    std::fs::write(&path, bytes)?;
    Ok(path)
}
