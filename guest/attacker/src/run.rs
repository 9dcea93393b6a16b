// SPDX-License-Identifier: BSD-2-Clause
//! Executing a program from a known state, and coming back.
//!
//! A program is entered by `ERET` with all general registers and both stack pointers set. Whatever exception it takes
//! first leads to vCPU 0's own vectors, which need no register and no memory to find their way: they put right what
//! later code depends on (translation, vectors, stack pointer, access to FP) and return to the caller of [`run`]. The
//! guest itself runs with the MMU off; only programs have a translation.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;

use attacker::Level;
use attacker::program::{LONGEST, Round};

use crate::map;

/// `SCTLR_EL1` with MMU, alignment check and caches off: the RES1 bits of Armv8.0 (DDI 0487, D17.2.118).
const SCTLR_OFF: u64 = 0x30d0_0800;
/// `M`, `C`, `I`.
const SCTLR_TRANSLATED: u64 = SCTLR_OFF | 1 << 0 | 1 << 2 | 1 << 12;
/// What EL0 may do by itself: `UMA`, `DZE`, `UCT`, `nTWI`, `nTWE`, `UCI`.
const SCTLR_EL0: u64 = 1 << 9 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26;

/// What the assembly knows.
#[repr(C)]
struct Context {
    registers: [u64; 31],
    stack: u64,
    at: u64,
    state: u64,
    control: u64,
    table: u64,
    translation_control: u64,
    attributes: u64,
    /// The stack pointer of the caller, below which its registers are.
    own_stack: u64,
    taken: Taken,
}

/// The exception that ended a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Taken {
    /// `ESR_EL1`.
    pub(crate) syndrome: u64,
    /// `ELR_EL1`.
    pub(crate) at: u64,
    /// The number of the vector (DDI 0487, D1.3.1.5).
    pub(crate) vector: u64,
}

impl Taken {
    /// `ESR_EL1.EC` of `SVC`, which ends a program that nothing else has ended.
    const SUPERVISOR_CALL: u64 = 0x15;
    /// The immediate of an `SVC`, in its syndrome.
    const IMMEDIATE: u64 = 0xffff;

    /// `ESR_EL1.EC`.
    pub(crate) const fn class(self) -> u64 {
        self.syndrome >> 26 & 0x3f
    }

    /// Whether it was synchronous, and so has a syndrome.
    pub(crate) const fn is_synchronous(self) -> bool {
        self.vector.is_multiple_of(4)
    }

    /// Whether the program came to its end.
    pub(crate) const fn is_end(self) -> bool {
        let call = self.class() == Self::SUPERVISOR_CALL && self.syndrome & Self::IMMEDIATE == 0;
        self.is_synchronous() && call
    }

    /// Where a program that is at `start` continues as if the exception had not been; nowhere if it had left itself.
    pub(crate) fn next(self, start: u64) -> Option<u64> {
        let next = if self.is_synchronous() && self.class() != Self::SUPERVISOR_CALL {
            self.at.wrapping_add(4)
        } else {
            self.at
        };
        let end = start + 4 * LONGEST as u64;
        (start..end).contains(&next).then_some(next & !3)
    }
}

struct Shared(UnsafeCell<Context>);

// SAFETY: only vCPU 0 runs programs.
unsafe impl Sync for Shared {}

#[unsafe(no_mangle)]
static attacker_context: Shared = Shared(UnsafeCell::new(Context {
    registers: [0; 31],
    stack: 0,
    at: 0,
    state: 0,
    control: 0,
    table: 0,
    translation_control: 0,
    attributes: 0,
    own_stack: 0,
    taken: Taken {
        syndrome: 0,
        at: 0,
        vector: 0,
    },
}));

unsafe extern "C" {
    fn attacker_run(context: *mut Context);
    static attacker_vectors: u8;
}

/// Where vCPU 0's vectors are.
pub(crate) fn vectors() -> u64 {
    &raw const attacker_vectors as u64
}

/// Runs a program that was placed; what ended it.
pub(crate) fn run(round: &Round, translated: bool) -> Taken {
    let context = attacker_context.0.get();
    let level = match round.level {
        Level::El0 => SCTLR_EL0,
        Level::El1 => 0,
    };
    // SAFETY: only vCPU 0 comes here, and no program is running. What the program does to the guest's memory is limited
    // to the scratch area by the addresses that it was given.
    unsafe {
        (*context).registers = round.registers;
        (*context).stack = round.stack;
        (*context).at = round.at;
        (*context).state = round.state;
        (*context).control = level
            | if translated {
                SCTLR_TRANSLATED
            } else {
                SCTLR_OFF
            };
        (*context).table = map::root();
        (*context).translation_control = map::CONTROL;
        (*context).attributes = map::ATTRIBUTES;
        attacker_run(context);
        (*context).taken
    }
}

/// Puts a program where it is executed.
pub(crate) fn place(words: &[u32; LONGEST]) {
    #[expect(clippy::cast_possible_truncation, reason = "the guest has 64 bits")]
    let code = core::ptr::with_exposed_provenance_mut::<u32>(attacker::places::CODE as usize);
    for (index, word) in words.iter().enumerate() {
        // SAFETY: the page for programs, which nothing else uses.
        unsafe { code.add(index).write_volatile(*word) };
    }
    // SAFETY: what was written past the caches is what will be fetched.
    unsafe {
        asm!(
            "dsb sy",
            "ic iallu",
            "dsb sy",
            "isb",
            options(nostack, preserves_flags)
        )
    };
}

global_asm!(
    ".pushsection .text.attacker_run, \"ax\"",
    ".global attacker_run",
    "attacker_run:",
    "    stp x19, x20, [sp, #-96]!",
    "    stp x21, x22, [sp, #16]",
    "    stp x23, x24, [sp, #32]",
    "    stp x25, x26, [sp, #48]",
    "    stp x27, x28, [sp, #64]",
    "    stp x29, x30, [sp, #80]",
    "    mov x1, sp",
    "    str x1, [x0, #{own_stack}]",
    "    adrp x1, attacker_vectors",
    "    add x1, x1, :lo12:attacker_vectors",
    "    msr vbar_el1, x1",
    "    ldr x1, [x0, #{attributes}]",
    "    msr mair_el1, x1",
    "    ldr x1, [x0, #{translation_control}]",
    "    msr tcr_el1, x1",
    "    ldr x1, [x0, #{table}]",
    "    msr ttbr0_el1, x1",
    "    isb",
    "    tlbi vmalle1",
    "    dsb sy",
    "    ldr x1, [x0, #{control}]",
    "    msr sctlr_el1, x1",
    "    isb",
    "    ldp x1, x2, [x0, #{at}]",
    "    msr elr_el1, x1",
    "    msr spsr_el1, x2",
    "    ldr x1, [x0, #{stack}]",
    "    msr sp_el0, x1",
    "    mov sp, x1",
    "    ldp x2, x3, [x0, #16]",
    "    ldp x4, x5, [x0, #32]",
    "    ldp x6, x7, [x0, #48]",
    "    ldp x8, x9, [x0, #64]",
    "    ldp x10, x11, [x0, #80]",
    "    ldp x12, x13, [x0, #96]",
    "    ldp x14, x15, [x0, #112]",
    "    ldp x16, x17, [x0, #128]",
    "    ldp x18, x19, [x0, #144]",
    "    ldp x20, x21, [x0, #160]",
    "    ldp x22, x23, [x0, #176]",
    "    ldp x24, x25, [x0, #192]",
    "    ldp x26, x27, [x0, #208]",
    "    ldp x28, x29, [x0, #224]",
    "    ldr x30, [x0, #240]",
    "    ldp x0, x1, [x0, #0]",
    "    eret",
    // What any exception of vCPU 0's comes to. First the translation, which the program may have changed: this code is
    // where it is with and without.
    "attacker_recover:",
    "    movz x1, #{off_low}",
    "    movk x1, #{off_high}, lsl #16",
    "    msr sctlr_el1, x1",
    "    isb",
    "    mov x1, #(3 << 20)",
    "    msr cpacr_el1, x1",
    "    msr spsel, #1",
    "    isb",
    "    adrp x1, attacker_context",
    "    add x1, x1, :lo12:attacker_context",
    "    ldr x2, [x1, #{own_stack}]",
    "    mov sp, x2",
    "    mrs x2, esr_el1",
    "    mrs x3, elr_el1",
    "    stp x2, x3, [x1, #{taken}]",
    "    str x0, [x1, #{taken} + 16]",
    "    ldp x21, x22, [sp, #16]",
    "    ldp x23, x24, [sp, #32]",
    "    ldp x25, x26, [sp, #48]",
    "    ldp x27, x28, [sp, #64]",
    "    ldp x29, x30, [sp, #80]",
    "    ldp x19, x20, [sp], #96",
    "    ret",
    ".balign 2048",
    ".global attacker_vectors",
    "attacker_vectors:",
    ".set number, 0",
    ".rept 16",
    "    .balign 128",
    "    msr daifset, #15",
    "    mov x0, #number",
    "    b attacker_recover",
    "    .set number, number + 1",
    ".endr",
    ".popsection",
    own_stack = const offset_of!(Context, own_stack),
    attributes = const offset_of!(Context, attributes),
    translation_control = const offset_of!(Context, translation_control),
    table = const offset_of!(Context, table),
    control = const offset_of!(Context, control),
    at = const offset_of!(Context, at),
    stack = const offset_of!(Context, stack),
    taken = const offset_of!(Context, taken),
    off_low = const SCTLR_OFF & 0xffff,
    off_high = const SCTLR_OFF >> 16,
);
