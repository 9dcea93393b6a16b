// SPDX-License-Identifier: BSD-2-Clause
//! All FP/SIMD registers, full while their vCPU waits for its timer.
//!
//! It waits by `WFE`, which lets other vCPUs go first and does not depend on being woken: what wakes a vCPU from `WFI` is
//! on one board a timer that the guest's other vCPU can switch off (`docs/guest-calls.md`, "Timers").

use core::arch::global_asm;
use core::mem::offset_of;

use guest_runtime::pattern::Pattern;

/// Bits of `FPCR` without trapping: `AHP`, `DN`, `FZ`, `RMode` (DDI 0487, C5.2.8).
const FPCR_BITS: u64 = 0x07c0_0000;
/// Bits of `FPSR`: `QC` and the cumulative exceptions (C5.2.10).
const FPSR_BITS: u64 = 0x0800_009f;

/// Values for all of them.
#[derive(Debug, Clone, Default)]
#[repr(C, align(16))]
pub(crate) struct Held {
    vectors: [[u64; 2]; 32],
    control: u64,
    status: u64,
}

impl Held {
    pub(crate) fn new(pattern: &mut Pattern) -> Self {
        Self {
            vectors: core::array::from_fn(|_| [pattern.next(), pattern.next()]),
            control: pattern.next() & FPCR_BITS,
            status: pattern.next() & FPSR_BITS,
        }
    }

    /// The first thing that differs: which, what it was, what it is.
    pub(crate) fn difference(&self, found: &Self) -> Option<(&'static str, u64, u64)> {
        let vectors = self.vectors.iter().zip(&found.vectors);
        let halves = vectors.flat_map(|(a, b)| a.iter().zip(b));
        let mut halves = halves.map(|(a, b)| ("a vector register", *a, *b));
        halves.find(|(_, a, b)| a != b).or_else(|| {
            [
                ("FPCR", self.control, found.control),
                ("FPSR", self.status, found.status),
            ]
            .into_iter()
            .find(|(_, a, b)| a != b)
        })
    }
}

unsafe extern "C" {
    fn attacker_hold(held: *const Held, found: *mut Held);
}

/// Fills the registers, waits until the virtual timer's condition is met, and reads them.
pub(crate) fn while_waiting(held: &Held) -> Held {
    let mut found = Held::default();
    // SAFETY: both are as large as the assembly takes them to be; nothing else of this guest uses FP/SIMD registers.
    unsafe { attacker_hold(held, &raw mut found) };
    found
}

/// `stp` or `ldp` of all vector registers, at `x9`.
macro_rules! vectors {
    ($instruction:literal) => {
        vectors!($instruction: 0 1, 2 3, 4 5, 6 7, 8 9, 10 11, 12 13, 14 15,
            16 17, 18 19, 20 21, 22 23, 24 25, 26 27, 28 29, 30 31)
    };
    ($instruction:literal: $($even:literal $odd:literal),*) => {
        concat!($($instruction, " q", $even, ", q", $odd, ", [x9], #32\n"),*)
    };
}

global_asm!(
    ".pushsection .text.attacker_hold, \"ax\"",
    ".arch_extension fp",
    ".arch_extension simd",
    ".global attacker_hold",
    "attacker_hold:",
    "    mov x9, x0",
    vectors!("ldp"),
    "    ldr x10, [x0, #{control}]",
    "    ldr x11, [x0, #{status}]",
    "    msr fpcr, x10",
    "    msr fpsr, x11",
    "1:",
    "    wfe",
    "    mrs x10, cntv_ctl_el0",
    "    tbz x10, #2, 1b",
    "    mov x9, x1",
    vectors!("stp"),
    "    mrs x10, fpcr",
    "    mrs x11, fpsr",
    "    str x10, [x1, #{control}]",
    "    str x11, [x1, #{status}]",
    "    ret",
    ".arch_extension nosimd",
    ".arch_extension nofp",
    ".popsection",
    control = const offset_of!(Held, control),
    status = const offset_of!(Held, status),
);
