//! Entering and leaving EL2.
//!
//! Responsible for the vectors and for saving and loading a thread's general registers. Outside the
//! kernel `SP_EL2` is the address of the running thread's [`Context`] and `TPIDR_EL2` that of the
//! kernel's stack, so that an entry needs no register of the thread's to begin with.

use core::arch::global_asm;

use kernel::context::{Context, FAULT_PC, NEXT_PC, SP_EL0, SPSR};

/// `ESR_EL2.EC` of `svc` and `hvc` in AArch64 state (DDI 0487, D17.2.37).
const CLASS_SVC: u64 = 0x15;
const CLASS_HVC: u64 = 0x16;

const WORD: usize = size_of::<u64>();

const _: () = assert!(core::mem::offset_of!(Context, words) == 0);
// The code below stores these in pairs.
const _: () = assert!(SP_EL0 == 31 && NEXT_PC == 32 && SPSR == 33);

global_asm!(
    ".section .text.entry, \"ax\"",
    ".global _start",
    "_start:",
    // Interrupts of every kind masked; the stack; then Rust.
    "msr daifset, #0xf",
    "adrp x0, {vectors}",
    "add x0, x0, :lo12:{vectors}",
    "msr vbar_el2, x0",
    "adrp x0, __stack_top",
    "add x0, x0, :lo12:__stack_top",
    "msr tpidr_el2, x0",
    "mov sp, x0",
    "bl {start}",
    "b {leave}",
    start = sym crate::boot::start,
    vectors = sym VECTORS,
    leave = sym leave,
);

unsafe extern "C" {
    #[link_name = "exception_vectors"]
    static VECTORS: u8;
    #[link_name = "leave_kernel"]
    fn leave();
}

global_asm!(
    // Saves the general registers, SP_EL0, ELR_EL2 and SPSR_EL2 of the thread, and leaves its
    // program counter in x22.
    ".macro save_thread",
    "stp x0, x1, [sp]",
    "stp x2, x3, [sp, #16]",
    "stp x4, x5, [sp, #32]",
    "stp x6, x7, [sp, #48]",
    "stp x8, x9, [sp, #64]",
    "stp x10, x11, [sp, #80]",
    "stp x12, x13, [sp, #96]",
    "stp x14, x15, [sp, #112]",
    "stp x16, x17, [sp, #128]",
    "stp x18, x19, [sp, #144]",
    "stp x20, x21, [sp, #160]",
    "stp x22, x23, [sp, #176]",
    "stp x24, x25, [sp, #192]",
    "stp x26, x27, [sp, #208]",
    "stp x28, x29, [sp, #224]",
    "mrs x21, sp_el0",
    "mrs x22, elr_el2",
    "mrs x23, spsr_el2",
    "stp x30, x21, [sp, #240]",
    "stp x22, x23, [sp, #256]",
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
    "str x22, [sp, #{fault_pc}]",
    "mov sp, x24",
    "bl {system_call}",
    "b leave_kernel",
    "1:",
    "str x22, [sp, #{fault_pc}]",
    "mov sp, x24",
    "bl {fault}",
    "b leave_kernel",

    "lower_interrupt:",
    "save_thread",
    "mrs x24, tpidr_el2",
    "str x22, [sp, #{fault_pc}]",
    "mov sp, x24",
    "bl {interrupt}",

    // Runs the thread whose registers are at x0.
    ".global leave_kernel",
    "leave_kernel:",
    "mov sp, x0",
    "ldp x21, x22, [sp, #248]",
    "ldr x23, [sp, #264]",
    "msr sp_el0, x21",
    "msr elr_el2, x22",
    "msr spsr_el2, x23",
    "ldp x0, x1, [sp]",
    "ldp x2, x3, [sp, #16]",
    "ldp x4, x5, [sp, #32]",
    "ldp x6, x7, [sp, #48]",
    "ldp x8, x9, [sp, #64]",
    "ldp x10, x11, [sp, #80]",
    "ldp x12, x13, [sp, #96]",
    "ldp x14, x15, [sp, #112]",
    "ldp x16, x17, [sp, #128]",
    "ldp x18, x19, [sp, #144]",
    "ldp x20, x21, [sp, #160]",
    "ldp x22, x23, [sp, #176]",
    "ldp x24, x25, [sp, #192]",
    "ldp x26, x27, [sp, #208]",
    "ldp x28, x29, [sp, #224]",
    "ldr x30, [sp, #240]",
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
    fault_pc = const FAULT_PC * WORD,
    system_call = sym crate::hardware::enter_system_call,
    fault = sym crate::hardware::enter_fault,
    interrupt = sym crate::hardware::enter_interrupt,
    own_fault = sym crate::hardware::own_fault,
);
