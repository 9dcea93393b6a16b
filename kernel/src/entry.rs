// SPDX-License-Identifier: BSD-2-Clause
//! Entering and leaving EL2.
//!
//! Responsible for the vectors and for saving and loading a thread's general registers. Outside the
//! kernel `SP_EL2` is the address of the running thread's [`Context`] and `TPIDR_EL2` that of the
//! kernel's stack, so that an entry needs no register of the thread's to begin with.

use core::arch::{asm, global_asm};

use kernel::context::{Context, FAULT_PC, NEXT_PC, SP_EL0, SPSR, X0};

/// `ESR_EL2.EC` of `svc` and `hvc` in AArch64 state (DDI 0487, D17.2.37).
const CLASS_SVC: u64 = 0x15;
const CLASS_HVC: u64 = 0x16;

/// `CurrentEL` at EL2.
const EXCEPTION_LEVEL_2: u64 = 2 << 2;

const WORD: usize = size_of::<u64>();

const _: () = assert!(core::mem::offset_of!(Context, words) == 0);
// The code below stores these in pairs, and the general registers in the order of
// `sel4_sys::context::GENERAL`.
const _: () = assert!(FAULT_PC == 0 && SP_EL0 == 1 && SPSR == 2 && X0 == 3);

global_asm!(
    ".section .text.entry, \"ax\"",
    ".global _start",
    "_start:",
    // Interrupts of every kind masked; the stack; then Rust.
    "msr daifset, #0xf",
    "adrp x0, __stack_top",
    "add x0, x0, :lo12:__stack_top",
    "mov sp, x0",
    "mrs x1, CurrentEL",
    "cmp x1, #{exception_level_2}",
    "b.ne {wrong_exception_level}",
    "msr tpidr_el2, x0",
    "adrp x0, {vectors}",
    "add x0, x0, :lo12:{vectors}",
    "msr vbar_el2, x0",
    "b {start}",
    exception_level_2 = const EXCEPTION_LEVEL_2,
    wrong_exception_level = sym crate::boot::wrong_exception_level,
    start = sym crate::boot::start,
    vectors = sym VECTORS,
);

unsafe extern "C" {
    #[link_name = "exception_vectors"]
    static VECTORS: u8;
}

/// Leaves EL2 for the thread that has these registers.
#[inline(always)]
pub(crate) fn leave(registers: *mut Context) -> ! {
    // SAFETY: the registers are a thread's; the stack is left behind for good, and the next entry
    // starts at its top again.
    unsafe { asm!("b leave_kernel", in("x0") registers, options(noreturn)) }
}

global_asm!(
    // Saves the general registers, SP_EL0, ELR_EL2 and SPSR_EL2 of the thread, and leaves its
    // program counter in x22.
    ".macro save_thread",
    "stp x1, x2, [sp, #32]",
    "stp x3, x4, [sp, #48]",
    "stp x5, x6, [sp, #64]",
    "stp x7, x8, [sp, #80]",
    "stp x16, x17, [sp, #96]",
    "stp x18, x29, [sp, #112]",
    "stp x30, x9, [sp, #128]",
    "stp x10, x11, [sp, #144]",
    "stp x12, x13, [sp, #160]",
    "stp x14, x15, [sp, #176]",
    "stp x19, x20, [sp, #192]",
    "stp x21, x22, [sp, #208]",
    "stp x23, x24, [sp, #224]",
    "stp x25, x26, [sp, #240]",
    "stp x27, x28, [sp, #256]",
    "mrs x21, sp_el0",
    "mrs x22, elr_el2",
    "mrs x23, spsr_el2",
    "stp x23, x0, [sp, #16]",
    "str x22, [sp, #{next_pc}]",
    ".endm",

    ".section .text.vectors, \"ax\"",

    // What traps from EL0 or EL1. A system call's fault address is that of its instruction.
    "lower_synchronous:",
    "save_thread",
    "mrs x0, esr_el2",
    "mrs x24, tpidr_el2",
    "lsr x1, x0, #26",
    "cmp x1, #{svc}",
    "ccmp x1, #{hvc}, #4, ne",
    "b.ne 1f",
    "sub x22, x22, #4",
    "stp x22, x21, [sp]",
    "mov sp, x24",
    "b {system_call}",
    "1:",
    "stp x22, x21, [sp]",
    "mov sp, x24",
    "b {fault}",

    "lower_interrupt:",
    "save_thread",
    "mrs x24, tpidr_el2",
    "stp x22, x21, [sp]",
    "mov sp, x24",
    "b {interrupt}",

    // Runs the thread whose registers are at x0.
    ".global leave_kernel",
    "leave_kernel:",
    "mov sp, x0",
    "ldr x21, [sp, #{next_pc}]",
    "ldr x22, [sp, #8]",
    "ldp x23, x0, [sp, #16]",
    "msr sp_el0, x22",
    "msr elr_el2, x21",
    "msr spsr_el2, x23",
    "ldp x1, x2, [sp, #32]",
    "ldp x3, x4, [sp, #48]",
    "ldp x5, x6, [sp, #64]",
    "ldp x7, x8, [sp, #80]",
    "ldp x16, x17, [sp, #96]",
    "ldp x18, x29, [sp, #112]",
    "ldp x30, x9, [sp, #128]",
    "ldp x10, x11, [sp, #144]",
    "ldp x12, x13, [sp, #160]",
    "ldp x14, x15, [sp, #176]",
    "ldp x19, x20, [sp, #192]",
    "ldp x21, x22, [sp, #208]",
    "ldp x23, x24, [sp, #224]",
    "ldp x25, x26, [sp, #240]",
    "ldp x27, x28, [sp, #256]",
    "eret",

    // The kernel's own mistakes: back to the stack, which its fault may have left.
    "own_fault:",
    "mrs x0, tpidr_el2",
    "mov sp, x0",
    "mrs x0, esr_el2",
    "mrs x1, elr_el2",
    "mrs x2, far_el2",
    "b {own_fault}",

    ".macro vector target",
    ".balign 128",
    "b \\target",
    ".endm",

    ".balign 2048",
    ".global exception_vectors",
    "exception_vectors:",
    // From EL2 itself; it runs with everything masked, so each is a mistake.
    "vector own_fault", "vector own_fault", "vector own_fault", "vector own_fault",
    "vector own_fault", "vector own_fault", "vector own_fault", "vector own_fault",
    // From EL0 and EL1 in AArch64 state: synchronous, IRQ, FIQ, SError.
    "vector lower_synchronous", "vector lower_interrupt",
    "vector lower_interrupt", "vector lower_synchronous",
    // From a guest's EL0 in AArch32 state.
    "vector lower_synchronous", "vector lower_interrupt",
    "vector lower_interrupt", "vector lower_synchronous",

    svc = const CLASS_SVC,
    hvc = const CLASS_HVC,
    next_pc = const NEXT_PC * WORD,
    system_call = sym crate::hardware::enter_system_call,
    fault = sym crate::hardware::enter_fault,
    interrupt = sym crate::hardware::enter_interrupt,
    own_fault = sym crate::hardware::own_fault,
);
