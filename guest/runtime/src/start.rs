// SPDX-License-Identifier: BSD-2-Clause
//! The first instructions.
//!
//! At entry: x0 the device tree (vCPU 0) or the vCPU's number (the others, as PSCI's context), MMU and caches off,
//! interrupts masked, EL1 under a hypervisor. On a bare QEMU machine with `virtualization=on` it is EL2: then EL1 is
//! set up as a hypervisor would leave it. Nothing is cleared: the file reaches to the end of `.bss`.

use core::arch::global_asm;

use crate::MAX_VCPUS;
use crate::machine::Machine;

unsafe extern "Rust" {
    /// What the guest does; called on every vCPU that is started, with its number.
    safe fn guest_main(vcpu: usize, machine: &'static Machine) -> !;
}

// Stacks are 16 KiB each, as `guest.ld` reserves them. SCTLR_EL1: MMU and caches off, the RES1 bits set (Arm ARM
// D13.2.118, Armv8.0). CPTR_EL2: no traps (D13.2.31). HCR_EL2: RW, and HCD, with which HVC is undefined (D13.2.48).
// SPSR: EL1h, all masked.
global_asm!(
    ".pushsection .text.start, \"ax\"",
    ".global _start",
    "_start:",
    "    mov x19, x0",
    "    mov x20, #0",
    "    b 1f",
    ".global guest_secondary",
    "guest_secondary:",
    "    mov x19, #0",
    "    mov x20, x0",
    "1:",
    "    bl guest_enter_el1",
    "    adrp x1, guest_stacks",
    "    add x1, x1, :lo12:guest_stacks",
    "    add x2, x20, #1",
    "    add x1, x1, x2, lsl #14",
    "    mov sp, x1",
    "    adrp x1, guest_vectors",
    "    add x1, x1, :lo12:guest_vectors",
    "    msr vbar_el1, x1",
    "    mov x1, #(3 << 20)",
    "    msr cpacr_el1, x1",
    "    isb",
    "    mov x0, x20",
    "    mov x1, x19",
    "    mov x29, #0",
    "    mov x30, #0",
    "    b guest_rust_start",
    "guest_enter_el1:",
    "    mrs x1, currentel",
    "    cmp x1, #(2 << 2)",
    "    b.ne 2f",
    "    movz x1, #0xa000, lsl #16",
    "    msr hcr_el2, x1",
    "    mov x1, #0x33ff",
    "    msr cptr_el2, x1",
    "    mov x1, #3",
    "    msr cnthctl_el2, x1",
    "    msr cntvoff_el2, xzr",
    "    mrs x1, midr_el1",
    "    msr vpidr_el2, x1",
    "    mrs x1, mpidr_el1",
    "    msr vmpidr_el2, x1",
    "    movz x1, #0x0800",
    "    movk x1, #0x30d0, lsl #16",
    "    msr sctlr_el1, x1",
    "    mov x1, #0x3c5",
    "    msr spsr_el2, x1",
    "    msr elr_el2, x30",
    "    eret",
    "2:  ret",
    ".popsection",
);

/// Continues in Rust. vCPU 0 reads the device tree, before it starts any other.
#[unsafe(no_mangle)]
extern "C" fn guest_rust_start(vcpu: usize, tree: usize) -> ! {
    assert!(vcpu < MAX_VCPUS, "a stack for every vCPU");
    if vcpu == 0 {
        Machine::learn(tree);
    }
    guest_main(vcpu, Machine::get())
}
