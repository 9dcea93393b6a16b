// SPDX-License-Identifier: BSD-2-Clause
//! All general and FP/SIMD registers, held at once.
//!
//! The registers are loaded from a frame, both stack pointers and the flags included, and stay loaded while the vCPU
//! does one of several [`Activity`]s. Most are ended by the virtual timer, whose interrupt goes to vectors of the
//! vCPU's own: they know the frame's address without needing a register (one set of vectors for each vCPU), save `x0`
//! in `TPIDRRO_EL0` and everything else behind it. One counts down with all exceptions masked instead, so that `ELR`,
//! `SPSR` and `VBAR` are free to hold anything.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;

use guest_runtime::MAX_VCPUS;
use guest_runtime::gic::{self, distributor};
use guest_runtime::pattern::Pattern;
use guest_runtime::timer;

use state::Register;

use super::interrupts::{self, CONSOLE_INTID};
use super::system::SystemState;
use crate::report::Reporter;

/// What a vCPU does with its registers full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Branches to itself.
    Spin,
    /// Waits for an interrupt.
    Wait,
    /// Reads a register of the emulated distributor, again and again.
    Mmio,
    /// Asks PSCI for its version, again and again.
    Smc,
    /// Counts down in `x0`, with everything masked.
    Count,
    /// Branches to itself until somebody types.
    Park,
}

impl Activity {
    /// Any of them.
    pub(crate) const fn choose(pattern: &mut Pattern) -> Self {
        match pattern.below(5) {
            0 => Self::Spin,
            1 => Self::Wait,
            2 => Self::Mmio,
            3 => Self::Smc,
            _ => Self::Count,
        }
    }
}

/// A vCPU's general and FP/SIMD registers.
#[derive(Debug, Clone)]
#[repr(C, align(16))]
struct Registers {
    x: [u64; 31],
    sp_el1: u64,
    sp_el0: u64,
    elr: u64,
    spsr: u64,
    fpcr: u64,
    fpsr: u64,
    /// The flags, for [`Activity::Count`]; otherwise they are in `spsr`.
    nzcv: u64,
    v: [u128; 32],
}

/// What the assembly knows, a page a vCPU.
#[repr(C, align(4096))]
struct Frame {
    expected: Registers,
    found: Registers,
    /// `x19`–`x30` and the stack pointer of the caller.
    own: [u64; 13],
    /// The vector that ended it (Arm ARM D1.10.2), [`COUNTED`] for none.
    vector: u64,
}

#[repr(transparent)]
struct Frames(UnsafeCell<[Frame; MAX_VCPUS]>);

// SAFETY: each vCPU uses the frame of its own number only.
unsafe impl Sync for Frames {}

const EMPTY: Registers = Registers {
    x: [0; 31],
    sp_el1: 0,
    sp_el0: 0,
    elr: 0,
    spsr: 0,
    fpcr: 0,
    fpsr: 0,
    nzcv: 0,
    v: [0; 32],
};

#[unsafe(no_mangle)]
static probe_frames: Frames = Frames(UnsafeCell::new(
    [const {
        Frame {
            expected: EMPTY,
            found: EMPTY,
            own: [0; 13],
            vector: 0,
        }
    }; MAX_VCPUS],
));

/// The vector number that stands for having counted to the end.
const COUNTED: u64 = 16;

/// Bits of `FPCR` without trapping: `AHP`, `DN`, `FZ`, `RMode` (Arm ARM C5.2.8).
const FPCR_BITS: u64 = 0x07c0_0000;
/// Bits of `FPSR`: `QC` and the cumulative exceptions (C5.2.10).
const FPSR_BITS: u64 = 0x0800_009f;
/// `NZCV`.
const FLAGS: u64 = 0xf000_0000;
/// `PSTATE.{D, A, F}`; `I` stays clear.
const MASKS: u64 = 1 << 9 | 1 << 8 | 1 << 6;

/// A turn of the counting loop takes about as long as this many ticks of a 62.5 MHz counter, at a guess that errs on
/// the short side.
const TURNS_PER_TICK: u64 = 2;

unsafe extern "C" {
    fn probe_hold(frame: *mut Frame);
    fn probe_count_0(frame: *mut Frame);
    fn probe_count_1(frame: *mut Frame);
    fn probe_count_2(frame: *mut Frame);
    fn probe_count_3(frame: *mut Frame);
    static probe_vectors: [[u8; 2048]; MAX_VCPUS];
    static probe_loop_spin: u8;
    static probe_loop_wait: u8;
    static probe_loop_mmio: u8;
    static probe_loop_smc: u8;
    static probe_loop_end: u8;
}

/// One time that a vCPU holds its registers.
#[derive(Debug)]
pub(crate) struct Hold {
    vcpu: usize,
    activity: Activity,
    expected: Registers,
    deadline: u64,
    timer_control: u64,
    timer_compare: u64,
    acknowledged: u32,
}

impl Hold {
    /// Chooses the values.
    pub(crate) fn new(vcpu: usize, activity: Activity, mmu: bool, pattern: &mut Pattern) -> Self {
        let mut expected = EMPTY;
        expected.x = core::array::from_fn(|_| pattern.next());
        expected.v =
            core::array::from_fn(|_| u128::from(pattern.next()) << 64 | u128::from(pattern.next()));
        expected.sp_el1 = pattern.next();
        expected.sp_el0 = pattern.next();
        expected.fpcr = pattern.next() & FPCR_BITS;
        expected.fpsr = pattern.next() & FPSR_BITS;
        expected.nzcv = pattern.next() & FLAGS;
        let start = match activity {
            Activity::Spin | Activity::Park => &raw const probe_loop_spin,
            Activity::Wait => &raw const probe_loop_wait,
            Activity::Mmio => &raw const probe_loop_mmio,
            Activity::Smc => &raw const probe_loop_smc,
            Activity::Count => core::ptr::null(),
        };
        expected.elr = start as u64;
        expected.spsr = pattern.next() & (FLAGS | MASKS) | mode(activity, mmu, pattern);
        if activity == Activity::Mmio {
            expected.x[1] = u64::from(gic::read(distributor::TYPER));
            expected.x[2] = (gic::DISTRIBUTOR + distributor::TYPER) as u64;
        }
        Self {
            vcpu,
            activity,
            expected,
            deadline: 0,
            timer_control: 0,
            timer_compare: 0,
            acknowledged: gic::SPURIOUS,
        }
    }

    /// The vectors that end it: what `VBAR_EL1` must be.
    pub(crate) fn vectors(&self) -> u64 {
        // SAFETY: a label; only its address is used.
        unsafe { &raw const probe_vectors[self.vcpu] as u64 }
    }

    /// Loads the registers, lets `time` pass, saves what is in them.
    pub(crate) fn run(&mut self, time: u64, system: &SystemState) {
        let frame = self.frame();
        // SAFETY: the frame is this vCPU's own; the assembly saves and restores what Rust needs, and leaves all other
        // memory alone. The vectors in VBAR_EL1 are this vCPU's.
        unsafe {
            (*frame).expected = self.expected.clone();
            if self.activity == Activity::Count {
                (*frame).expected.elr = system.elr;
                (*frame).expected.spsr = system.spsr;
                (*frame).expected.x[0] = 1 + time * TURNS_PER_TICK;
                [probe_count_0, probe_count_1, probe_count_2, probe_count_3][self.vcpu](frame);
            } else if self.activity == Activity::Park {
                probe_hold(frame);
                self.acknowledged = interrupts::take_console();
            } else {
                self.deadline = timer::counter() + time;
                timer::set_compare(self.deadline);
                timer::set_control(timer::ENABLE);
                probe_hold(frame);
                self.timer_control = timer::control();
                self.timer_compare = timer::compare();
                self.acknowledged = interrupts::take_timer();
            }
        }
    }

    /// Reports every register that is not as it was.
    pub(crate) fn compare(&self, system: &SystemState, reporter: Reporter) {
        // SAFETY: the frame is this vCPU's own, and nothing else looks at it now.
        let frame = unsafe { &*self.frame() };
        let (expected, found) = (&self.expected, &frame.found);
        for (number, (expected, found)) in expected.x.iter().zip(&found.x).enumerate() {
            // The count has run down; then x0 is saved from the register that otherwise carries it.
            let expected = match (self.activity, number) {
                (Activity::Count, 0) => system.tpidrro,
                (Activity::Smc, 0..4) => continue,
                _ => *expected,
            };
            reporter.expect(
                format_args!("x{number}/{:?}", self.activity),
                expected,
                *found,
            );
        }
        for (number, (expected, found)) in expected.v.iter().zip(&found.v).enumerate() {
            reporter.expect(format_args!("v{number}"), *expected, *found);
        }
        reporter.expect("SP_EL1", expected.sp_el1, found.sp_el1);
        reporter.expect("SP_EL0", expected.sp_el0, found.sp_el0);
        reporter.expect("FPCR", expected.fpcr, found.fpcr);
        reporter.expect("FPSR", expected.fpsr, found.fpsr);
        if self.activity == Activity::Count {
            reporter.expect("NZCV", expected.nzcv, found.nzcv);
            reporter.expect("vector", COUNTED, frame.vector);
            reporter.expect("ELR_EL1", system.elr, found.elr);
            reporter.expect("SPSR_EL1", system.spsr, found.spsr);
        } else {
            self.compare_interrupted(frame, reporter);
        }
    }

    fn compare_interrupted(&self, frame: &Frame, reporter: Reporter) {
        let (expected, found) = (&self.expected, &frame.found);
        // IRQ from EL1t, EL1h, EL0.
        let vector = match expected.spsr & 0xf {
            0 => 9,
            4 => 1,
            _ => 5,
        };
        reporter.expect("vector", vector, frame.vector);
        reporter.expect("PSTATE", expected.spsr, found.spsr);
        let end = &raw const probe_loop_end as u64;
        if found.elr < expected.elr || found.elr >= end {
            reporter.expect("PC", expected.elr, found.elr);
        }
        if self.activity == Activity::Park {
            reporter.expect("GICC_IAR", CONSOLE_INTID, self.acknowledged);
            return;
        }
        reporter.expect("GICC_IAR", gic::TIMER_INTID, self.acknowledged);
        reporter.expect(
            "CNTV_CTL_EL0",
            timer::ENABLE | timer::REACHED,
            self.timer_control,
        );
        reporter.expect("CNTV_CVAL_EL0", self.deadline, self.timer_compare);
        let now = timer::counter();
        if now < self.deadline {
            reporter.mismatch(format_args!(
                "register=CNTVCT_EL0 is {now:#x}, but the timer for {:#x} has fired",
                self.deadline
            ));
        }
    }

    /// Hands out every register with the value that it has while the vCPU is parked.
    pub(crate) fn each(&self, each: &mut dyn FnMut(Register, Option<u128>)) {
        let expected = &self.expected;
        let mut word = |register, value: u64| each(register, Some(value.into()));
        for (register, value) in Register::ALL.into_iter().zip(expected.x) {
            word(register, value);
        }
        for (register, value) in [
            (Register::SP_EL0, expected.sp_el0),
            (Register::SP_EL1, expected.sp_el1),
            (Register::PC, expected.elr),
            (Register::PSTATE, expected.spsr),
            (Register::ELR_EL1, expected.elr),
            (Register::SPSR_EL1, expected.spsr),
            (Register::FPCR, expected.fpcr),
            (Register::FPSR, expected.fpsr),
        ] {
            word(register, value);
        }
        for (number, value) in expected.v.into_iter().enumerate() {
            if let Some(register) = Register::vector(number) {
                each(register, Some(value));
            }
        }
    }

    fn frame(&self) -> *mut Frame {
        // SAFETY: within the array: `vcpu` is below MAX_VCPUS.
        unsafe { probe_frames.0.get().cast::<Frame>().add(self.vcpu) }
    }
}

/// `PSTATE.M` for `activity`: EL0, EL1t or EL1h. With the MMU on nothing is mapped for EL0.
const fn mode(activity: Activity, mmu: bool, pattern: &mut Pattern) -> u64 {
    match (activity, pattern.below(3)) {
        (Activity::Spin | Activity::Mmio | Activity::Park, 0) if !mmu => 0,
        (_, 1) => 4,
        _ => 5,
    }
}

// `LOAD` fills everything from the frame at x0, x0 last. `SAVE` expects the frame in x0, x1 saved, the vector's number
// in x1, and x0's value in TPIDRRO_EL0.
global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".macro PROBE_VECTORS operation, base",
    "    \\operation q0, q1, [\\base, #0]",
    "    \\operation q2, q3, [\\base, #32]",
    "    \\operation q4, q5, [\\base, #64]",
    "    \\operation q6, q7, [\\base, #96]",
    "    \\operation q8, q9, [\\base, #128]",
    "    \\operation q10, q11, [\\base, #160]",
    "    \\operation q12, q13, [\\base, #192]",
    "    \\operation q14, q15, [\\base, #224]",
    "    \\operation q16, q17, [\\base, #256]",
    "    \\operation q18, q19, [\\base, #288]",
    "    \\operation q20, q21, [\\base, #320]",
    "    \\operation q22, q23, [\\base, #352]",
    "    \\operation q24, q25, [\\base, #384]",
    "    \\operation q26, q27, [\\base, #416]",
    "    \\operation q28, q29, [\\base, #448]",
    "    \\operation q30, q31, [\\base, #480]",
    ".endm",
    ".macro PROBE_GENERAL operation, base",
    "    \\operation x2, x3, [\\base, #16]",
    "    \\operation x4, x5, [\\base, #32]",
    "    \\operation x6, x7, [\\base, #48]",
    "    \\operation x8, x9, [\\base, #64]",
    "    \\operation x10, x11, [\\base, #80]",
    "    \\operation x12, x13, [\\base, #96]",
    "    \\operation x14, x15, [\\base, #112]",
    "    \\operation x16, x17, [\\base, #128]",
    "    \\operation x18, x19, [\\base, #144]",
    "    \\operation x20, x21, [\\base, #160]",
    "    \\operation x22, x23, [\\base, #176]",
    "    \\operation x24, x25, [\\base, #192]",
    "    \\operation x26, x27, [\\base, #208]",
    "    \\operation x28, x29, [\\base, #224]",
    ".endm",
    ".macro PROBE_OWN operation, base",
    "    \\operation x19, x20, [\\base, #0]",
    "    \\operation x21, x22, [\\base, #16]",
    "    \\operation x23, x24, [\\base, #32]",
    "    \\operation x25, x26, [\\base, #48]",
    "    \\operation x27, x28, [\\base, #64]",
    "    \\operation x29, x30, [\\base, #80]",
    ".endm",
    ".macro PROBE_LOAD",
    "    add x1, x0, #{own}",
    "    PROBE_OWN stp, x1",
    "    mov x2, sp",
    "    str x2, [x1, #96]",
    "    add x1, x0, #{v}",
    "    PROBE_VECTORS ldp, x1",
    "    ldr x1, [x0, #{elr}]",
    "    msr elr_el1, x1",
    "    ldr x1, [x0, #{spsr}]",
    "    msr spsr_el1, x1",
    "    ldr x1, [x0, #{fpcr}]",
    "    msr fpcr, x1",
    "    ldr x1, [x0, #{fpsr}]",
    "    msr fpsr, x1",
    "    ldr x1, [x0, #{nzcv}]",
    "    msr nzcv, x1",
    "    ldr x1, [x0, #{sp_el0}]",
    "    msr sp_el0, x1",
    "    ldr x1, [x0, #{sp_el1}]",
    "    mov sp, x1",
    "    PROBE_GENERAL ldp, x0",
    "    ldr x30, [x0, #240]",
    "    ldp x0, x1, [x0]",
    ".endm",
    ".pushsection .text.probe_hold, \"ax\"",
    ".global probe_hold",
    "probe_hold:",
    "    PROBE_LOAD",
    "    eret",
    // The loops. Each ends where the next begins.
    ".global probe_loop_spin, probe_loop_wait, probe_loop_mmio, probe_loop_smc, probe_loop_end",
    "probe_loop_spin:",
    "    b probe_loop_spin",
    "probe_loop_wait:",
    "    wfi",
    "    b probe_loop_wait",
    "probe_loop_mmio:",
    "    ldr w1, [x2]",
    "    b probe_loop_mmio",
    "probe_loop_smc:",
    "    movz x0, #0",
    "    movk x0, #0x8400, lsl #16",
    "    smc #0",
    "    b probe_loop_smc",
    "probe_loop_end:",
    // Counting, a copy for each vCPU.
    ".irp vcpu, 0, 1, 2, 3",
    ".global probe_count_\\vcpu",
    "probe_count_\\vcpu:",
    "    PROBE_LOAD",
    "1:  sub x0, x0, #1",
    "    cbnz x0, 1b",
    "    adrp x0, probe_frames + \\vcpu * 4096",
    "    str x1, [x0, #{found} + 8]",
    "    mrs x1, nzcv",
    "    str x1, [x0, #{found} + {nzcv}]",
    "    mov x1, #{counted}",
    "    b probe_save",
    ".endr",
    "probe_save:",
    "    str x1, [x0, #{vector}]",
    "    mrs x1, tpidrro_el0",
    "    str x1, [x0, #{found}]",
    "    add x1, x0, #{found}",
    "    PROBE_GENERAL stp, x1",
    "    str x30, [x1, #240]",
    "    mov x2, sp",
    "    str x2, [x1, #{sp_el1}]",
    "    mrs x2, sp_el0",
    "    str x2, [x1, #{sp_el0}]",
    "    mrs x2, elr_el1",
    "    str x2, [x1, #{elr}]",
    "    mrs x2, spsr_el1",
    "    str x2, [x1, #{spsr}]",
    "    mrs x2, fpcr",
    "    str x2, [x1, #{fpcr}]",
    "    mrs x2, fpsr",
    "    str x2, [x1, #{fpsr}]",
    "    add x2, x1, #{v}",
    "    PROBE_VECTORS stp, x2",
    "    add x1, x0, #{own}",
    "    PROBE_OWN ldp, x1",
    "    ldr x2, [x1, #96]",
    "    mov sp, x2",
    "    ret",
    ".popsection",
    // The vectors, a table for each vCPU.
    ".pushsection .text.probe_vectors, \"ax\"",
    ".balign 2048",
    ".global probe_vectors",
    "probe_vectors:",
    ".irp vcpu, 0, 1, 2, 3",
    ".set number, 0",
    ".rept 16",
    "    .balign 128",
    "    msr tpidrro_el0, x0",
    "    adrp x0, probe_frames + \\vcpu * 4096",
    "    str x1, [x0, #{found} + 8]",
    "    mov x1, #number",
    "    b probe_save",
    "    .set number, number + 1",
    ".endr",
    ".balign 2048",
    ".endr",
    ".popsection",
    own = const offset_of!(Frame, own),
    found = const offset_of!(Frame, found),
    vector = const offset_of!(Frame, vector),
    v = const offset_of!(Registers, v),
    sp_el1 = const offset_of!(Registers, sp_el1),
    sp_el0 = const offset_of!(Registers, sp_el0),
    elr = const offset_of!(Registers, elr),
    spsr = const offset_of!(Registers, spsr),
    fpcr = const offset_of!(Registers, fpcr),
    fpsr = const offset_of!(Registers, fpsr),
    nzcv = const offset_of!(Registers, nzcv),
    counted = const COUNTED,
);
