// SPDX-License-Identifier: BSD-2-Clause
//! The guest's exception vectors: save everything, ask `guest_exception`, continue.

use core::arch::global_asm;

unsafe extern "Rust" {
    /// What the guest does about an exception. It may change the frame, above all where to continue.
    safe fn guest_exception(vector: Vector, frame: &mut Frame);
}

/// General registers and return state at an exception.
#[derive(Debug)]
#[repr(C)]
pub struct Frame {
    /// `x0`–`x30`.
    pub x: [u64; 31],
    /// `ELR_EL1`.
    pub elr: u64,
    /// `SPSR_EL1`.
    pub spsr: u64,
    /// `ESR_EL1`.
    pub esr: u64,
}

/// Which vector was taken: its number in the table (Arm ARM D1.10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector(pub u64);

impl Vector {
    /// Synchronous, from EL1 with its own stack pointer.
    pub const SYNCHRONOUS: Self = Self(4);
    /// IRQ, from EL1 with its own stack pointer.
    pub const IRQ: Self = Self(5);
}

/// Lets IRQs through, for as long as `body` runs.
pub fn with_interrupts<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: the guest's vectors are installed.
    unsafe { core::arch::asm!("msr daifclr, #2", options(nostack)) };
    let result = body();
    // SAFETY: masks again.
    unsafe { core::arch::asm!("msr daifset, #2", options(nostack)) };
    result
}

// A frame takes 34 words: 272 bytes.
global_asm!(
    ".pushsection .text.vectors, \"ax\"",
    ".balign 2048",
    ".global guest_vectors",
    "guest_vectors:",
    ".set number, 0",
    ".rept 16",
    "    .balign 128",
    "    sub sp, sp, #272",
    "    stp x0, x1, [sp, #0]",
    "    mov x0, #number",
    "    b guest_vector_common",
    "    .set number, number + 1",
    ".endr",
    "guest_vector_common:",
    "    stp x2, x3, [sp, #16]",
    "    stp x4, x5, [sp, #32]",
    "    stp x6, x7, [sp, #48]",
    "    stp x8, x9, [sp, #64]",
    "    stp x10, x11, [sp, #80]",
    "    stp x12, x13, [sp, #96]",
    "    stp x14, x15, [sp, #112]",
    "    stp x16, x17, [sp, #128]",
    "    stp x18, x19, [sp, #144]",
    "    stp x20, x21, [sp, #160]",
    "    stp x22, x23, [sp, #176]",
    "    stp x24, x25, [sp, #192]",
    "    stp x26, x27, [sp, #208]",
    "    stp x28, x29, [sp, #224]",
    "    mrs x1, elr_el1",
    "    stp x30, x1, [sp, #240]",
    "    mrs x1, spsr_el1",
    "    mrs x2, esr_el1",
    "    stp x1, x2, [sp, #256]",
    "    mov x1, sp",
    "    bl guest_rust_exception",
    "    ldp x1, x2, [sp, #256]",
    "    msr spsr_el1, x1",
    "    ldp x30, x1, [sp, #240]",
    "    msr elr_el1, x1",
    "    ldp x2, x3, [sp, #16]",
    "    ldp x4, x5, [sp, #32]",
    "    ldp x6, x7, [sp, #48]",
    "    ldp x8, x9, [sp, #64]",
    "    ldp x10, x11, [sp, #80]",
    "    ldp x12, x13, [sp, #96]",
    "    ldp x14, x15, [sp, #112]",
    "    ldp x16, x17, [sp, #128]",
    "    ldp x18, x19, [sp, #144]",
    "    ldp x20, x21, [sp, #160]",
    "    ldp x22, x23, [sp, #176]",
    "    ldp x24, x25, [sp, #192]",
    "    ldp x26, x27, [sp, #208]",
    "    ldp x28, x29, [sp, #224]",
    "    ldp x0, x1, [sp, #0]",
    "    add sp, sp, #272",
    "    eret",
    ".popsection",
);

#[unsafe(no_mangle)]
extern "C" fn guest_rust_exception(vector: u64, frame: &mut Frame) {
    guest_exception(Vector(vector), frame);
}
