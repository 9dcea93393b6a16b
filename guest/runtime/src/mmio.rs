// SPDX-License-Identifier: BSD-2-Clause
//! Device registers, by instructions whose access a hypervisor can tell from the syndrome: plain loads and stores of
//! one register, without write-back (Arm ARM D13.2.37, `ISS` of a data abort).

use core::arch::asm;

/// Reads the word at `address`.
#[must_use]
pub fn read(address: usize) -> u32 {
    let value;
    // SAFETY: the callers name registers of the machine's devices, reading which harms nobody's memory.
    unsafe {
        asm!("ldr {value:w}, [{address}]", value = out(reg) value, address = in(reg) address, options(nostack, preserves_flags));
    }
    value
}

/// Writes the word at `address`.
pub fn write(address: usize, value: u32) {
    // SAFETY: the callers name registers of the machine's devices, none of which writes to memory.
    unsafe {
        asm!("str {value:w}, [{address}]", value = in(reg) value, address = in(reg) address, options(nostack, preserves_flags));
    }
}

/// Reads the byte at `address`.
#[must_use]
pub fn read_byte(address: usize) -> u8 {
    let value: u32;
    // SAFETY: as in `read`.
    unsafe {
        asm!("ldrb {value:w}, [{address}]", value = out(reg) value, address = in(reg) address, options(nostack, preserves_flags));
    }
    value.to_le_bytes()[0]
}

/// Writes the byte at `address`.
pub fn write_byte(address: usize, value: u8) {
    // SAFETY: as in `write`.
    unsafe {
        asm!("strb {value:w}, [{address}]", value = in(reg) u32::from(value), address = in(reg) address, options(nostack, preserves_flags));
    }
}
