// SPDX-License-Identifier: BSD-2-Clause
//! Closing debug registers and performance monitor to EL1 and EL0, for good.
//!
//! Responsible for: the instructions that do it, the same for every kernel. They put self-hosted debug, the performance
//! monitor and the processor's own control registers into a state in which nothing of theirs can happen, and have EL1
//! and EL0 trap when they touch one. Without, a guest's debug state stays in force while domains run at EL0: a single
//! step or a breakpoint of its own stops one of them. Must never: run at EL1, where these registers are not.
//!
//! seL4 16.0.0 touches none of these registers but `CPTR_EL2`, of which it changes other bits; its debug configuration opens
//! the debug registers to vCPUs again (`HARDWARE_DEBUG_API`). They are each core's own, and lose their values when a core is
//! switched off: whoever starts a core has to run this on it.
#![no_std]

/// The instructions, for `asm!` or `global_asm!`, at EL2 or EL3. They change `x9` to `x12` and the condition flags.
///
/// Registers and fields: DDI 0487, D24.3 (debug), D24.5 (performance monitor), D24.2.118 (`MDCR_EL2`), D24.2.37
/// (`CPTR_EL2`). Features that a processor may lack are looked up in `ID_AA64DFR0_EL1` (D24.2.71), since their fields
/// are reserved there.
#[macro_export]
macro_rules! close_debug {
    () => {
        "
        // No debug exception but that of BRK is taken while the OS lock is set, and none is enabled in MDSCR_EL1, whose
        // one bit keeps the debug communications channel from EL0. Nothing is left in its registers.
        mov     x9, #1
        msr     oslar_el1, x9
        isb
        mov     x9, #0x1000
        msr     mdscr_el1, x9
        msr     mdccint_el1, xzr

        // IMPLEMENTATION DEFINED registers of the processor, such as CPUECTLR_EL1, are not for EL1.
        msr     actlr_el2, xzr

        // TPMCR, TPM, TDA, TDOSA, TDRA. Not TDE: a guest that can enable no debug exception causes none, and its BRK
        // goes to its own EL1.
        mrs     x9, id_aa64dfr0_el1
        mov     x10, #0xe60
        // The performance monitor, if there is one that the architecture defines: off, empty, closed to EL0. HPMN gives
        // EL1 all counters, as after a reset; fewer than one would not be allowed everywhere.
        ubfx    x11, x9, #8, #4
        cbz     x11, 771f
        cmp     x11, #0xf
        b.eq    771f
        mrs     x11, pmcr_el0
        bfxil   x10, x11, #11, #5
        bic     x11, x11, #1
        orr     x11, x11, #6
        msr     pmcr_el0, x11
        mov     x11, #-1
        msr     pmcntenclr_el0, x11
        msr     pmintenclr_el1, x11
        msr     pmovsclr_el0, x11
        msr     pmuserenr_el0, xzr
        msr     pmselr_el0, xzr
771:
        // TPMS for statistical profiling, TTRF for trace filters. E2PB and E2TB stay zero: the buffers are EL2's.
        ubfx    x11, x9, #32, #4
        cbz     x11, 772f
        orr     x10, x10, #1 << 14
772:    ubfx    x11, x9, #40, #4
        cbz     x11, 773f
        orr     x10, x10, #1 << 19
773:    msr     mdcr_el2, x10
        // CPTR_EL2.TTA, for a trace unit with system registers.
        ubfx    x11, x9, #4, #4
        cbz     x11, 774f
        mrs     x11, cptr_el2
        orr     x11, x11, #1 << 20
        msr     cptr_el2, x11
774:    isb
        "
    };
}
