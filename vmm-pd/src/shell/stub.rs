// SPDX-License-Identifier: BSD-2-Clause
//! The capture stub: what a stopped vCPU runs at EL1 so that its whole state can be saved or loaded.
//!
//! Responsible for: the code of the page that the guest's stage 2 maps read-only and executable at
//! [`layout::CODE`]. It is position-independent, has no stack, and brings its own vectors, so that
//! a fault inside it never runs guest code. Must never: decide anything; it moves registers to and
//! from its data page, talks to the CPU interface in a fixed order, and leaves with an `SMC`.
//!
//! The sequences for registers come from the register table; what the code does to the GICv2 CPU
//! interface follows IHI 0048B, 4.4 (`GICC_*`). The stub runs with stage 1 off: all its accesses
//! are to Device memory, so they happen in program order and are aligned.
//!
//! Registers: `x24` the guest's `CPACR_EL1`, `x25` its `VBAR_EL1`, `x26` `GICC_DIR`, `x27` the CPU interface, `x28` the
//! data page; `x9` to `x16` for everything else.

use register_table::{instruction_name, register_table};
use state::Register::{
    CCSIDR_L1D, CPACR_EL1, DBGBVR0_EL1, DBGWVR0_EL1, FPSR, MDCCINT_EL1, MDRAR_EL1, OSLSR_EL1,
    PMCCFILTR_EL0, PMCCNTR_EL0, PMCEID0_EL0, PMCNTENSET_EL0, PMCR_EL0, PMEVCNTR0_EL0,
    PMINTENSET_EL1, PMOVSSET_EL0, PMSELR_EL0, PMUSERENR_EL0, SP_EL1, VBAR_EL1,
};
use vmm_pd::capture::layout::{self, Command, Leave, byte, progress};

/// Saves a register to where `x10` points, or loads it from there.
macro_rules! transfer {
    (save $kind:ident $identifier:tt) => {
        concat!("mrs x9, ", instruction_name!($kind $identifier), "\nstr x9, [x10], #8\n")
    };
    (load $kind:ident $identifier:tt) => {
        concat!("ldr x9, [x10], #8\nmsr ", instruction_name!($kind $identifier), ", x9\n")
    };
    // The same for a register that may not be there: it then reads as zero, and not as `x9` was.
    (save_optional $kind:ident $identifier:tt) => {
        concat!("mov x9, xzr\n", transfer!(save $kind $identifier))
    };
    // One of a pair: the second ends a round, and the sequence with it when `x11` pairs are done.
    (save_pairs $kind:ident $identifier:tt) => { transfer!(pairs save $kind $identifier) };
    (load_pairs $kind:ident $identifier:tt) => { transfer!(pairs load $kind $identifier) };
    (pairs $direction:ident system(2, 0, 0, $n:literal, 5)) => {
        concat!(transfer!($direction system(2, 0, 0, $n, 5)), "subs x11, x11, #1\nb.eq 1f\n")
    };
    (pairs $direction:ident system(2, 0, 0, $n:literal, 7)) => {
        concat!(transfer!($direction system(2, 0, 0, $n, 7)), "subs x11, x11, #1\nb.eq 1f\n")
    };
    (pairs $direction:ident $kind:ident $identifier:tt) => {
        transfer!($direction $kind $identifier)
    };
}

/// The sequence for a group of the table, if it is the group wanted.
macro_rules! group {
    ([System Stub $how:ident] System Stub $rows:tt) => { rows!($how $rows) };
    ([FloatingPoint Stub $how:ident] FloatingPoint Stub $rows:tt) => { rows!($how $rows) };
    ([Debug Stub $how:ident] Debug Stub $rows:tt) => { rows!($how $rows) };
    ([Debug StubBreakpoints $how:ident] Debug StubBreakpoints $rows:tt) => { rows!($how $rows) };
    ([Debug StubWatchpoints $how:ident] Debug StubWatchpoints $rows:tt) => { rows!($how $rows) };
    ([Constant Probe $how:ident] Constant Probe $rows:tt) => { rows!($how $rows) };
    ([Constant ProbeDebug $how:ident] Constant ProbeDebug $rows:tt) => { rows!($how $rows) };
    ([Constant ProbePmu $how:ident] Constant ProbePmu $rows:tt) => { rows!($how $rows) };
    ($wanted:tt $class:ident $source:ident $rows:tt) => { "" };
}

macro_rules! rows {
    ($how:ident { $($name:ident $kind:ident $identifier:tt;)* }) => {
        concat!($(transfer!($how $kind $identifier)),*)
    };
}

/// The sequence for all groups of a class and source, in the order of the table.
macro_rules! sequence {
    ($wanted:tt $($class:ident $source:ident $policy:ident $reason:literal $rows:tt)*) => {
        concat!($(group!($wanted $class $source $rows)),*)
    };
}

/// Saves or loads `V0` to `V31` from where `x10` points.
macro_rules! vectors {
    ($instruction:literal) => {
        vectors!($instruction: 0 1, 2 3, 4 5, 6 7, 8 9, 10 11, 12 13, 14 15,
            16 17, 18 19, 20 21, 22 23, 24 25, 26 27, 28 29, 30 31)
    };
    ($instruction:literal: $($even:literal $odd:literal),*) => {
        concat!($($instruction, " q", $even, ", q", $odd, ", [x10], #32\n"),*)
    };
}

/// Leaves in `x11`, and in the page, how many event counters there are (`PMCR_EL0.N`), plus one.
macro_rules! count_counters {
    () => {
        "mrs x9, pmcr_el0
        ubfx x11, x9, #11, #5
        add x11, x11, #1
        str x11, [x28, #{counters}]"
    };
}

/// Opens the CPU interface to everything, with acknowledgement and deactivation apart, and then
/// acknowledges and drops the priority of whatever is pending, noting it.
macro_rules! acknowledge_all {
    () => {
        "mov w9, #0xff
        str w9, [x27, #0x04]
        mov w9, #0x207
        str w9, [x27, #0x00]
        str wzr, [x27, #0x08]
        str wzr, [x27, #0xd0]
        mov x11, #0
        add x10, x28, #{notes}
        1:
        dsb sy
        ldr w9, [x27, #0x0c]
        and w12, w9, #0x3ff
        cmp w12, #1020
        b.hs 2f
        str x9, [x10], #8
        str w9, [x27, #0x10]
        add x11, x11, #1
        cmp x11, #{limit}
        b.ne 1b
        2:
        str x11, [x28, #{noted}]
        dsb sy"
    };
}

core::arch::global_asm!(
    ".pushsection .rodata.capture_stub, \"a\"",
    ".arch_extension fp",
    ".balign 8",
    ".global capture_stub",
    "capture_stub:",
    // Entry, with x0 command, x1 data page, x2 CPU interface.
    "mov x28, x1",
    "mov x27, x2",
    "add x26, x2, #0x1000",
    "mrs x25, vbar_el1",
    "adr x9, capture_stub",
    "msr vbar_el1, x9",
    "mrs x24, cpacr_el1",
    "mov x9, #{all_vectors}",
    "msr cpacr_el1, x9",
    "isb",
    "cmp x0, #{save}",
    "b.eq .Lcapture_save",
    "cmp x0, #{load}",
    "b.eq .Lcapture_load",
    "cmp x0, #{probe}",
    "b.eq .Lcapture_probe",
    "cmp x0, #{probe_debug}",
    "b.eq .Lcapture_probe_debug",
    "cmp x0, #{probe_monitor}",
    "b.eq .Lcapture_probe_monitor",
    "cmp x0, #{scrub}",
    "b.eq .Lcapture_scrub",
    "b .Lcapture_wait",
    // Load: the CPU interface, the vector registers, the performance monitor. Counters are enabled
    // after everything else of it is in place; nothing is reset.
    ".Lcapture_load:",
    acknowledge_all!(),
    "ldp x9, x10, [x28, #{timer}]",
    "msr cntv_cval_el0, x9",
    "msr cntkctl_el1, x10",
    "add x10, x28, #{interface}",
    "ldp x9, x11, [x10], #16",
    "ldp x12, x13, [x10], #16",
    "ldr x14, [x10]",
    "str w14, [x27, #0xd0]",
    "str w13, [x27, #0x1c]",
    "str w12, [x27, #0x08]",
    "str w11, [x27, #0x04]",
    "str w9, [x27, #0x00]",
    "add x10, x28, #{vectors}",
    vectors!("ldp"),
    "ldr x11, [x28, #{counters}]",
    "cbz x11, 2f",
    "sub x16, x11, #1",
    count_counters!(),
    "ldr x12, [x28, #{control}]",
    "bic x12, x12, #{reset}",
    "bic x9, x12, #{enable}",
    "msr pmcr_el0, x9",
    "mov x9, #-1",
    "msr pmcntenclr_el0, x9",
    "msr pmintenclr_el1, x9",
    "msr pmovsclr_el0, x9",
    "add x10, x28, #{counter}",
    "mov x15, #0",
    "1:",
    "subs x11, x11, #1",
    "b.eq 1f",
    "msr pmselr_el0, x15",
    "isb",
    // A counter that the page does not hold becomes zero.
    "mov x13, xzr",
    "mov x14, xzr",
    "cbz x16, 3f",
    "ldp x13, x14, [x10], #16",
    "sub x16, x16, #1",
    "3:",
    "msr pmxevtyper_el0, x14",
    "msr pmxevcntr_el0, x13",
    "add x15, x15, #1",
    "b 1b",
    "1:",
    "ldr x9, [x28, #{filter}]",
    "msr pmccfiltr_el0, x9",
    "ldr x9, [x28, #{cycles}]",
    "msr pmccntr_el0, x9",
    "ldr x9, [x28, #{selected}]",
    "msr pmselr_el0, x9",
    "ldr x9, [x28, #{user}]",
    "msr pmuserenr_el0, x9",
    "ldr x9, [x28, #{overflowed}]",
    "msr pmovsset_el0, x9",
    "ldr x9, [x28, #{interrupts}]",
    "msr pmintenset_el1, x9",
    "ldr x9, [x28, #{enabled}]",
    "msr pmcntenset_el0, x9",
    "isb",
    "msr pmcr_el0, x12",
    "2:",
    "b .Lcapture_load_rest",
    // The vectors for exceptions at the current level with its own stack pointer (DDI 0487,
    // D1.3.1.5). No other exception can happen here, so code fills the rest of the first 2 KiB.
    ".org capture_stub + 0x200",
    ".Lcapture_fault:",
    "mrs x9, esr_el1",
    "mrs x10, elr_el1",
    "mrs x11, far_el1",
    "str x9, [x28, #{fault}]",
    "str x10, [x28, #{fault} + 8]",
    "str x11, [x28, #{fault} + 16]",
    "dsb sy",
    "smc #{faulted}",
    "b .Lcapture_fault",
    ".org capture_stub + 0x280",
    "b .Lcapture_fault",
    // Wait: long enough for an interrupt that is already asserted to be taken.
    ".Lcapture_wait:",
    "mov x9, #{turns}",
    "1:",
    "isb",
    "subs x9, x9, #1",
    "b.ne 1b",
    "2:",
    "smc #{waited}",
    "b 2b",
    ".org capture_stub + 0x300",
    "b .Lcapture_fault",
    ".org capture_stub + 0x380",
    "b .Lcapture_fault",
    // Save: the registers.
    ".Lcapture_save:",
    "mov x9, sp",
    "str x9, [x28, #{sp}]",
    "str x25, [x28, #{vbar}]",
    "str x24, [x28, #{cpacr}]",
    "mrs x9, cntv_cval_el0",
    "mrs x10, cntkctl_el1",
    "stp x9, x10, [x28, #{timer}]",
    "add x10, x28, #{registers}",
    register_table!(sequence System Stub save),
    "add x10, x28, #{floating_point}",
    register_table!(sequence FloatingPoint Stub save),
    "add x10, x28, #{vectors}",
    vectors!("stp"),
    "ldr x11, [x28, #{breakpoints}]",
    "cbz x11, 2f",
    "add x10, x28, #{debug}",
    register_table!(sequence Debug Stub save_optional),
    "mrs x9, oslsr_el1",
    "str x9, [x28, #{lock}]",
    "add x10, x28, #{breakpoint}",
    register_table!(sequence Debug StubBreakpoints save_pairs),
    "1:",
    "ldr x11, [x28, #{watchpoints}]",
    "cbz x11, 2f",
    "add x10, x28, #{watchpoint}",
    register_table!(sequence Debug StubWatchpoints save_pairs),
    "1:",
    "2:",
    // Save: the performance monitor. It is stopped first, so that it does not count the stub.
    "ldr x11, [x28, #{counters}]",
    "cbz x11, 2f",
    "mrs x12, pmcr_el0",
    "bic x9, x12, #{enable_and_reset}",
    "msr pmcr_el0, x9",
    "isb",
    count_counters!(),
    "str x12, [x28, #{control}]",
    "mrs x9, pmcntenset_el0",
    "str x9, [x28, #{enabled}]",
    "mrs x9, pmovsset_el0",
    "str x9, [x28, #{overflowed}]",
    "mrs x9, pmintenset_el1",
    "str x9, [x28, #{interrupts}]",
    "mrs x9, pmuserenr_el0",
    "str x9, [x28, #{user}]",
    "mrs x9, pmccntr_el0",
    "str x9, [x28, #{cycles}]",
    "mrs x9, pmccfiltr_el0",
    "str x9, [x28, #{filter}]",
    "mrs x9, pmselr_el0",
    "str x9, [x28, #{selected}]",
    "add x10, x28, #{counter}",
    "mov x12, #0",
    "1:",
    "subs x11, x11, #1",
    "b.eq 2f",
    "msr pmselr_el0, x12",
    "isb",
    "mrs x13, pmxevcntr_el0",
    "mrs x14, pmxevtyper_el0",
    "stp x13, x14, [x10], #16",
    "add x12, x12, #1",
    "b 1b",
    "2:",
    // Save: the CPU interface. Two phases, told apart by the progress word: an interrupt that ends in
    // the first was ended by the guest, one that ends in the second was deactivated here. The reads
    // and barriers after each deactivation let its maintenance interrupt arrive before the next.
    "add x10, x28, #{interface}",
    "ldr w9, [x27, #0x00]",
    "ldr w11, [x27, #0x04]",
    "stp x9, x11, [x10], #16",
    "ldr w9, [x27, #0x08]",
    "ldr w11, [x27, #0x1c]",
    "stp x9, x11, [x10], #16",
    "ldr w9, [x27, #0xd0]",
    "str x9, [x10]",
    acknowledge_all!(),
    "mov x9, #{acknowledged}",
    "str x9, [x28, #{progress}]",
    "ldr x11, [x28, #{occupied}]",
    "add x10, x28, #{entries}",
    "dsb sy",
    "1:",
    "cbz x11, 2f",
    "ldr x9, [x10], #8",
    "str w9, [x26]",
    "dsb sy",
    "ldr w9, [x27, #0x14]",
    "dsb sy",
    "isb",
    "sub x11, x11, #1",
    "b 1b",
    "2:",
    "mov x9, #{done}",
    "str x9, [x28, #{progress}]",
    "dsb sy",
    "smc #{saved}",
    "b 2b",
    // Load: the other registers, the vectors and the stack pointer last. The debug registers are
    // written with the OS lock set, which makes all of MDSCR_EL1 writable (DDI 0487, D24.3.20).
    ".Lcapture_load_rest:",
    "ldr x11, [x28, #{breakpoints}]",
    "cbz x11, 2f",
    "mov x9, #1",
    "msr oslar_el1, x9",
    "isb",
    "add x10, x28, #{breakpoint}",
    register_table!(sequence Debug StubBreakpoints load_pairs),
    "1:",
    "ldr x11, [x28, #{watchpoints}]",
    "cbz x11, 1f",
    "add x10, x28, #{watchpoint}",
    register_table!(sequence Debug StubWatchpoints load_pairs),
    "1:",
    "add x10, x28, #{debug}",
    register_table!(sequence Debug Stub load),
    "ldr x9, [x28, #{lock}]",
    "ubfx x9, x9, #1, #1",
    "msr oslar_el1, x9",
    "2:",
    "add x10, x28, #{registers}",
    register_table!(sequence System Stub load),
    "add x10, x28, #{floating_point}",
    register_table!(sequence FloatingPoint Stub load),
    "ldr x9, [x28, #{sp}]",
    "mov sp, x9",
    "ldr x9, [x28, #{cpacr}]",
    "msr cpacr_el1, x9",
    "ldr x9, [x28, #{vbar}]",
    "msr vbar_el1, x9",
    "dsb ishst",
    "tlbi vmalle1is",
    "ic ialluis",
    "dsb sy",
    "isb",
    "1:",
    "smc #{loaded}",
    "b 1b",
    // Probe: identification registers, then the geometry of each cache that CLIDR_EL1 says is there
    // (three bits a level: 1 instruction, 2 data, 3 both, 4 unified). What the kernel may have
    // closed to guests is read in runs of its own.
    ".Lcapture_probe:",
    "add x10, x28, #{registers}",
    register_table!(sequence Constant Probe save),
    "add x10, x28, #{caches}",
    "mrs x11, clidr_el1",
    "mrs x14, csselr_el1",
    "mov x12, #0",
    "1:",
    "and x13, x11, #7",
    "lsr x11, x11, #3",
    "cmp x13, #2",
    "b.lo 2f",
    "msr csselr_el1, x12",
    "isb",
    "mrs x9, ccsidr_el1",
    "mov w9, w9",
    "str x9, [x10]",
    "2:",
    "tbz x13, #0, 2f",
    "orr x13, x12, #1",
    "msr csselr_el1, x13",
    "isb",
    "mrs x9, ccsidr_el1",
    "mov w9, w9",
    "str x9, [x10, #8]",
    "2:",
    "add x10, x10, #16",
    "add x12, x12, #2",
    "cmp x12, #14",
    "b.ne 1b",
    "msr csselr_el1, x14",
    "b .Lcapture_probed",
    ".Lcapture_probe_debug:",
    "mrs x9, oslsr_el1",
    "mrs x9, mdscr_el1",
    "add x10, x28, #{debug_rom}",
    register_table!(sequence Constant ProbeDebug save),
    "b .Lcapture_probed",
    ".Lcapture_probe_monitor:",
    "mrs x9, pmcr_el0",
    "add x10, x28, #{monitor}",
    register_table!(sequence Constant ProbePmu save),
    ".Lcapture_probed:",
    "dsb sy",
    "smc #{probed}",
    "b .Lcapture_probed",
    // Scrub: as save does, but of every interrupt.
    ".Lcapture_scrub:",
    acknowledge_all!(),
    "mov x11, #{intid_limit}",
    "1:",
    "sub x11, x11, #1",
    "str w11, [x26]",
    "dsb sy",
    "ldr w9, [x27, #0x14]",
    "dsb sy",
    "isb",
    "cbnz x11, 1b",
    "1:",
    "smc #{scrubbed}",
    "b 1b",
    // How a vCPU gets into a 32-bit program, with all registers in place (`restore.rs`).
    ".org capture_stub + {page} - 4",
    "eret",
    // One page, no less (nothing else is left in it) and no more (that does not assemble).
    ".org capture_stub + {page}",
    ".arch_extension nofp",
    ".popsection",
    fault = const 8 * layout::FAULT,
    faulted = const Leave::Faulted as u16,
    save = const Command::Save as u64,
    load = const Command::Load as u64,
    probe = const Command::Probe as u64,
    probe_debug = const Command::ProbeDebug as u64,
    page = const layout::PAGE,
    scrub = const Command::Scrub as u64,
    intid_limit = const layout::INTID_LIMIT,
    scrubbed = const Leave::Scrubbed as u16,
    probe_monitor = const Command::ProbeMonitor as u64,
    sp = const byte(SP_EL1),
    vbar = const byte(VBAR_EL1),
    cpacr = const byte(CPACR_EL1),
    timer = const 8 * layout::TIMER,
    all_vectors = const 3 << 20,
    registers = const 8 * layout::REGISTERS,
    floating_point = const byte(FPSR),
    vectors = const 8 * layout::VECTORS,
    breakpoints = const 8 * layout::BREAKPOINTS,
    watchpoints = const 8 * layout::WATCHPOINTS,
    debug = const byte(MDCCINT_EL1),
    lock = const byte(OSLSR_EL1),
    breakpoint = const byte(DBGBVR0_EL1),
    watchpoint = const byte(DBGWVR0_EL1),
    enable_and_reset = const 0b111,
    counters = const 8 * layout::COUNTERS,
    control = const byte(PMCR_EL0),
    enabled = const byte(PMCNTENSET_EL0),
    overflowed = const byte(PMOVSSET_EL0),
    interrupts = const byte(PMINTENSET_EL1),
    user = const byte(PMUSERENR_EL0),
    cycles = const byte(PMCCNTR_EL0),
    filter = const byte(PMCCFILTR_EL0),
    selected = const byte(PMSELR_EL0),
    counter = const byte(PMEVCNTR0_EL0),
    interface = const 8 * layout::INTERFACE_WORDS,
    notes = const 8 * layout::NOTES,
    noted = const 8 * layout::NOTED,
    limit = const layout::MAX_INTERRUPTS,
    progress = const 8 * layout::PROGRESS,
    acknowledged = const progress::ACKNOWLEDGED,
    done = const progress::DONE,
    occupied = const 8 * layout::OCCUPIED,
    entries = const 8 * layout::LIST_REGISTER_ENTRIES,
    saved = const Leave::Saved as u16,
    enable = const 0b001,
    reset = const 0b110,
    loaded = const Leave::Loaded as u16,
    caches = const byte(CCSIDR_L1D),
    debug_rom = const byte(MDRAR_EL1),
    monitor = const byte(PMCEID0_EL0),
    turns = const 256,
    probed = const Leave::Probed as u16,
    waited = const Leave::Waited as u16,
);

unsafe extern "C" {
    #[link_name = "capture_stub"]
    static STUB: [u64; layout::PAGE / 8];
}

/// The stub's code, to be copied to the page at [`layout::CODE`].
///
/// The vCPU fetches it with its caches off: clean what was written to the point of coherency, and
/// invalidate the instruction cache.
pub(crate) fn code() -> &'static [u64] {
    // SAFETY: the assembler wrote exactly this many bytes, aligned to 8, into a read-only section;
    // nothing ever writes there.
    unsafe { &STUB }
}
