// SPDX-License-Identifier: BSD-2-Clause
//! What runs before seL4's loader on a ZCU102 that starts at EL3, as QEMU's does.
//!
//! Responsible for: giving all interrupts to the Non-secure world (IHI 0048B, 4.3.4), because seL4
//! runs there and may not do it itself; a clean EL2 (DDI 0487, D1.6.2); entering the loader
//! there; as much of PSCI (DEN 0022) as seL4's loader asks for, which is the version; and the
//! system counter, which QEMU keeps from EL0 (see the crate `counter`). On a board with U-Boot,
//! TF-A does all of this but the last, which nobody needs there. Must never: keep anything for later but the vectors;
//! it has neither data nor a stack.
#![no_std]
#![no_main]

use core::arch::global_asm;

/// Where the loader is entered: Microkit's link address for this board.
const LOADER: usize = 0x4000_0000;
/// `GICD_IGROUPR0` (UG1087, module GIC400; IHI 0048B, 4.3.4) and how many there are: `GICD_TYPER`
/// of this board says 192 interrupts (UG1085, table 13-1).
const DISTRIBUTOR_GROUPS: usize = 0xf901_0080;
const GROUP_REGISTERS: usize = 6;
/// `GICC_PMR` (IHI 0048B, 4.4.2). Non-secure accesses are ignored while it is below 0x80.
const PRIORITY_MASK: usize = 0xf902_0004;
/// `SCR_EL3` (DDI 0487): `NS`, the reserved ones, `HCE`, `RW`. SMC stays allowed, no interrupt
/// comes to EL3.
const SECURE_CONFIGURATION: usize = 1 | 0b11 << 4 | 1 << 8 | 1 << 10;
/// `SPSR_EL3`: EL2 with its own stack pointer, everything masked.
const EL2_MASKED: usize = 0x3c9;
/// `SCTLR_EL2`: the reserved ones, everything off.
const EL2_CONTROL: usize = 0x30c5_0830;
/// `HCR_EL2.RW`: EL1 is AArch64.
const EL1_IS_64_BIT: usize = 1 << 31;
/// `ESR_EL3.EC` of an SMC from AArch64 state.
const SMC: usize = 0x17;
/// `PSCI_VERSION` and its answer, 1.1 (DEN 0022, 5.1.1).
const PSCI_VERSION: usize = 0x8400_0000;
const PSCI_1_1: usize = 0x1_0001;
/// What domains ask for the system counter with (DEN 0028, 5.1: OEM service calls, SMC64).
const COUNT: usize = 0xc300_0001;

global_asm!(
    r#"
    .section .text.entry, "ax"
    .global _start
_start:
    adr     x0, vectors
    msr     vbar_el3, x0
    msr     cptr_el3, xzr
    msr     mdcr_el3, xzr
    ldr     x0, ={secure_configuration}
    msr     scr_el3, x0

    // All interrupts in group 1, and no priority masked.
    ldr     x0, ={distributor_groups}
    mov     w1, #-1
    mov     x2, #{group_registers}
1:  str     w1, [x0], #4
    subs    x2, x2, #1
    b.ne    1b
    ldr     x0, ={priority_mask}
    mov     w1, #0xff
    str     w1, [x0]

    // EL2 as after a reset, for a loader that finds everything off.
    ldr     x0, ={el2_control}
    msr     sctlr_el2, x0
    ldr     x0, ={el1_is_64_bit}
    msr     hcr_el2, x0
    mov     x0, #0x33ff
    msr     cptr_el2, x0
    msr     cntvoff_el2, xzr
    msr     vttbr_el2, xzr
    mov     x0, #3
    msr     cnthctl_el2, x0
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0

    ldr     x0, ={loader}
    msr     elr_el3, x0
    mov     x0, #{el2_masked}
    msr     spsr_el3, x0
    mov     x0, xzr
    mov     x1, xzr
    mov     x2, xzr
    dsb     sy
    isb
    eret

    // Nothing but an SMC is expected; anything else stops here, where a debugger finds it.
    .section .text.vectors, "ax"
    .balign 0x800
vectors:
    .rept   8
    b       .
    .balign 0x80
    .endr
    // From a lower exception level in AArch64 state.
    b       call
    .balign 0x80
    .rept   7
    b       .
    .balign 0x80
    .endr

    // The convention (DEN 0028) leaves x4 to x17 unchanged; x1 to x3 may be lost.
call:
    mrs     x1, esr_el3
    lsr     x1, x1, #26
    cmp     x1, #{smc}
    b.ne    .
    ldr     x1, ={count}
    cmp     x0, x1
    b.eq    1f
    ldr     w1, ={psci_version}
    ldr     x2, ={psci_1_1}
    cmp     w0, w1
    mov     x0, #-1
    csel    x0, x2, x0, eq
    eret
1:  isb
    mrs     x0, cntpct_el0
    eret
    "#,
    secure_configuration = const SECURE_CONFIGURATION,
    distributor_groups = const DISTRIBUTOR_GROUPS,
    group_registers = const GROUP_REGISTERS,
    priority_mask = const PRIORITY_MASK,
    el2_control = const EL2_CONTROL,
    el1_is_64_bit = const EL1_IS_64_BIT,
    loader = const LOADER,
    el2_masked = const EL2_MASKED,
    smc = const SMC,
    psci_version = const PSCI_VERSION,
    psci_1_1 = const PSCI_1_1,
    count = const COUNT,
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
