// SPDX-License-Identifier: BSD-2-Clause
//! Every way to access an emulated device: sizes, pairs, write-back, the zero register.
//!
//! On the distributor's priority registers, which can be accessed by byte, and the console's identification registers.

use core::arch::asm;

use guest_runtime::gic::{self, DISTRIBUTOR, distributor};

use super::Checker;

/// The priority of SPI 64 and the following, which nothing else uses.
const PRIORITIES: u64 = (DISTRIBUTOR + distributor::IPRIORITYR + 64) as u64;

/// The console's `UARTPeriphID0` (Arm DDI 0183, 3.3.15): 0x11, of part number 0x011.
const UART_ID: u64 = 0x0900_0fe0;

/// One instruction with `x10` an address and `x11`, `x12` values; the three afterwards.
macro_rules! instruction {
    ($text:literal, $address:expr, $first:expr, $second:expr) => {{
        let (mut address, mut first, mut second): (u64, u64, u64) = ($address, $first, $second);
        // SAFETY: accesses device registers that nothing depends on.
        unsafe {
            asm!($text, inout("x10") address, inout("x11") first, inout("x12") second, options(nostack));
        }
        (address, first, second)
    }};
}

fn set(word: u32) {
    gic::write(distributor::IPRIORITYR + 64, word);
}

fn get() -> u32 {
    gic::read(distributor::IPRIORITYR + 64)
}

/// Bytes, halfwords and words, signed and unsigned.
pub(super) fn access_sizes(checker: &mut Checker) {
    set(0x1020_30f8);
    let loads = [
        (
            "ldrb",
            instruction!("ldrb w11, [x10]", PRIORITIES, u64::MAX, 0).1,
            0xf8,
        ),
        (
            "ldrb +2",
            instruction!("ldrb w11, [x10, #2]", PRIORITIES, u64::MAX, 0).1,
            0x20,
        ),
        (
            "ldrsb w",
            instruction!("ldrsb w11, [x10]", PRIORITIES, u64::MAX, 0).1,
            0xffff_fff8,
        ),
        (
            "ldrsb x",
            instruction!("ldrsb x11, [x10]", PRIORITIES, 0, 0).1,
            0xffff_ffff_ffff_fff8,
        ),
        (
            "ldr",
            instruction!("ldr w11, [x10]", PRIORITIES, u64::MAX, 0).1,
            0x1020_30f8,
        ),
        (
            "ldr indexed",
            instruction!("ldr w11, [x10, x12]", PRIORITIES - 16, u64::MAX, 16).1,
            0x1020_30f8,
        ),
        (
            "ldr of the console",
            instruction!("ldr w11, [x10]", UART_ID, u64::MAX, 0).1 & 0xff,
            0x11,
        ),
        (
            "ldrh of the console",
            instruction!("ldrh w11, [x10]", UART_ID, u64::MAX, 0).1 & 0xff,
            0x11,
        ),
        (
            "ldrb of the console",
            instruction!("ldrb w11, [x10]", UART_ID, u64::MAX, 0).1,
            0x11,
        ),
    ];
    for (name, found, expected) in loads {
        checker.expect(name, expected, found);
    }
    instruction!("strb w11, [x10, #1]", PRIORITIES, 0xffff_ff40, 0);
    checker.expect("strb", 0x1020_40f8, get());
    instruction!("str w11, [x10]", PRIORITIES, 0xffff_ffff_5060_7080, 0);
    checker.expect("str", 0x5060_7080, get());
    set(0x8000_0000);
    let signed = instruction!("ldrsw x11, [x10]", PRIORITIES, 0, 0).1;
    checker.expect("ldrsw", 0xffff_ffff_8000_0000, signed);
    set(0);
}

/// Two registers at once: no syndrome says which.
pub(super) fn access_pairs(checker: &mut Checker) {
    instruction!("stp w11, w12, [x10]", PRIORITIES, 0x1020_3040, 0x5060_7080);
    checker.expect("stp, first word", 0x1020_3040, get());
    let (_, first, second) = instruction!("ldp w11, w12, [x10]", PRIORITIES, u64::MAX, u64::MAX);
    checker.expect("ldp, first word", 0x1020_3040, first);
    checker.expect("ldp, second word", 0x5060_7080, second);
    let (address, first, second) =
        instruction!("ldp w11, w12, [x10], #8", PRIORITIES, u64::MAX, u64::MAX);
    checker.expect("ldp with write-back, first word", 0x1020_3040, first);
    checker.expect("ldp with write-back, second word", 0x5060_7080, second);
    checker.expect("ldp with write-back, base", PRIORITIES + 8, address);
    let (address, _, _) = instruction!("stp w11, w12, [x10, #-8]!", PRIORITIES + 8, 0, 0);
    checker.expect("stp with write-back, base", PRIORITIES, address);
    checker.expect("stp with write-back", 0, get());
}

/// The base register changes along.
pub(super) fn access_write_back(checker: &mut Checker) {
    set(0x1020_3040);
    let (address, value, _) = instruction!("ldr w11, [x10], #8", PRIORITIES, u64::MAX, 0);
    checker.expect("ldr post-indexed", 0x1020_3040, value);
    checker.expect("ldr post-indexed, base", PRIORITIES + 8, address);
    let (address, value, _) = instruction!("ldr w11, [x10, #-4]!", PRIORITIES + 4, u64::MAX, 0);
    checker.expect("ldr pre-indexed", 0x1020_3040, value);
    checker.expect("ldr pre-indexed, base", PRIORITIES, address);
    let (address, _, _) = instruction!("strb w11, [x10], #-1", PRIORITIES + 3, 0x80, 0);
    checker.expect("strb post-indexed", 0x8020_3040, get());
    checker.expect("strb post-indexed, base", PRIORITIES + 2, address);
    let (address, _, _) = instruction!("str w11, [x10, #16]!", PRIORITIES - 16, 0x5060_7080, 0);
    checker.expect("str pre-indexed", 0x5060_7080, get());
    checker.expect("str pre-indexed, base", PRIORITIES, address);
    let (address, value, _) = instruction!("ldrsb x11, [x10], #1", PRIORITIES, 0, 0);
    checker.expect("ldrsb post-indexed", 0xffff_ffff_ffff_ff80, value);
    checker.expect("ldrsb post-indexed, base", PRIORITIES + 1, address);
    set(0);
}

/// Register 31 of a load or store is zero, not the stack pointer.
pub(super) fn access_zero_register(checker: &mut Checker) {
    set(0x1020_3040);
    instruction!("ldr wzr, [x10]", PRIORITIES, 0, 0);
    instruction!("str wzr, [x10]", PRIORITIES, u64::MAX, 0);
    checker.expect("str wzr", 0, get());
    set(0x1020_3040);
    instruction!("stp wzr, wzr, [x10]", PRIORITIES, u64::MAX, u64::MAX);
    checker.expect("stp wzr, wzr", 0, get());
}

/// One instruction between switching `SCTLR_EL1.EE` on and off, with `x10` an address and `x11` a value; the latter afterwards.
macro_rules! big_endian {
    ($text:literal, $address:expr, $value:expr) => {{
        let mut value: u64 = $value;
        // SAFETY: accesses device registers that nothing depends on, and no memory while data is big-endian.
        unsafe {
            asm!(
                "mrs {old}, sctlr_el1", "orr {new}, {old}, {ee}", "msr sctlr_el1, {new}", "isb",
                $text,
                "msr sctlr_el1, {old}", "isb",
                old = out(reg) _, new = out(reg) _, ee = const 1_u64 << 25,
                in("x10") $address, inout("x11") value, options(nostack)
            );
        }
        value
    }};
}

/// What a guest with big-endian data loads and stores is the other way round.
pub(super) fn big_endian(checker: &mut Checker) {
    big_endian!("str w11, [x10]", PRIORITIES, 0x1020_3040);
    checker.expect("str", 0x4030_2010, get());
    big_endian!("strh w11, [x10]", PRIORITIES, 0x5060);
    checker.expect("strh", 0x4030_6050, get());
    big_endian!("strb w11, [x10]", PRIORITIES, 0x70);
    checker.expect("strb", 0x4030_6070, get());
    set(0x1020_3080);
    for (name, expected, found) in [
        (
            "ldr",
            0x8030_2010,
            big_endian!("ldr w11, [x10]", PRIORITIES, u64::MAX),
        ),
        (
            "ldrsw",
            0xffff_ffff_8030_2010,
            big_endian!("ldrsw x11, [x10]", PRIORITIES, 0),
        ),
        (
            "ldrh",
            0x8030,
            big_endian!("ldrh w11, [x10]", PRIORITIES, u64::MAX),
        ),
        (
            "ldrb",
            0x80,
            big_endian!("ldrb w11, [x10]", PRIORITIES, u64::MAX),
        ),
        (
            "ldp",
            0x8030_2010,
            big_endian!("ldp w11, wzr, [x10]", PRIORITIES, u64::MAX),
        ),
        (
            "ldr of the console",
            0x1100_0000,
            big_endian!("ldr w11, [x10]", UART_ID, u64::MAX),
        ),
    ] {
        checker.expect(name, expected, found);
    }
    set(0);
}
