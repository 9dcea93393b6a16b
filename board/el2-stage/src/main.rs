// SPDX-License-Identifier: BSD-2-Clause
//! What runs first of an image with seL4, before Microkit's loader, on every board.
//!
//! Responsible for: [`el2_stage::close_debug!`] on the core that the image is entered on, which is the only one: images
//! are built for kernels with one core. Then the loader finds everything as if it had been entered itself: its first
//! instructions are put back where they were, general registers but `x9` to `x13` are as the firmware left them, and so
//! are MMU and caches. Must never: depend on where it runs, or use a stack.
#![no_std]
#![no_main]

use core::arch::global_asm;

/// `CurrentEL` at EL1, where there is nothing to close; the loader says that it needs EL2.
const EXCEPTION_LEVEL_1: u64 = 1 << 2;

global_asm!(
    r#"
    .section .text.entry, "ax"
    .global _start
_start:
    mrs     x9, CurrentEL
    cmp     x9, #{exception_level_1}
    b.ls    1f
    "#,
    el2_stage::close_debug!(),
    r#"
    // The image begins with a jump to here. By virtual address to the point of coherency, for an image that was loaded
    // with caches on or off; by the same address for instructions.
1:  adr     x9, stage_words
    ldp     x10, x11, [x9]
    adr     x12, _start
    sub     x12, x12, x10
    dc      civac, x12
    dsb     sy
    str     x11, [x12]
    dsb     sy
    dc      civac, x12
    dsb     sy
    ic      ivau, x12
    dsb     sy
    isb
    br      x12
    "#,
    exception_level_1 = const EXCEPTION_LEVEL_1,
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
