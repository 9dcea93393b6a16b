// SPDX-License-Identifier: BSD-2-Clause
//! System registers: random values in, the same values out.
//!
//! What a register does not implement of a value it does not keep: expected is what it reads as when all are written.
//! Registers that describe the vCPU and do not change are in [`Constants`].

use core::arch::asm;

use guest_runtime::pattern::Pattern;
use guest_runtime::timer;

use state::Register;

use super::hold::Activity;
use super::table::{Filled, Values, read_register};
use crate::mmu;
use crate::report::Reporter;

/// Caches that a Cortex-A53 has: level 1 data, level 1 instruction, level 2 (Arm DDI 0500, 4.3.24).
pub(super) const CACHES: usize = 3;

/// System registers of a vCPU as they are to be held.
#[derive(Debug, Clone)]
pub(crate) struct SystemState {
    values: Values,
    vbar: u64,
    /// `TPIDRRO_EL0`; only [`Activity::Count`] leaves it alone.
    pub(crate) tpidrro: u64,
    /// `ELR_EL1`, likewise.
    pub(crate) elr: u64,
    /// `SPSR_EL1`, likewise.
    pub(crate) spsr: u64,
    timer_control: u64,
    timer_compare: u64,
}

impl SystemState {
    /// Writes random values, and remembers what they read as.
    pub(crate) fn load(
        filled: &Filled,
        pattern: &mut Pattern,
        activity: Activity,
        mmu: bool,
        vectors: u64,
    ) -> Self {
        let mut state = Self {
            values: filled.read(),
            vbar: vectors,
            tpidrro: pattern.next(),
            elr: pattern.next(),
            // A state that could be returned to: EL1h.
            spsr: pattern.next() & 0xf000_03c0 | 5,
            timer_control: 0,
            timer_compare: 0,
        };
        if activity == Activity::Count {
            state.vbar = pattern.next() & 0x0000_ffff_ffff_f800;
            state.load_timer(pattern);
            set_tpidrro(state.tpidrro);
        }
        if activity == Activity::Park {
            state.load_timer(pattern);
            set_tpidrro(state.tpidrro);
        }
        set_vbar(state.vbar);
        filled.load(mmu, || pattern.next());
        state.values = filled.read();
        state
    }

    /// A timer whose state does not change by itself: off or masked, due long ago or in a thousand years.
    fn load_timer(&mut self, pattern: &mut Pattern) {
        let random = pattern.next();
        let now = timer::counter();
        timer::set_compare(match random & 1 {
            0 => now - now / 2 - pattern.below(now / 4),
            _ => now + (1 << 60) + pattern.below(1 << 60),
        });
        timer::set_control(match (random >> 1) & 3 {
            0 => 0,
            1 => timer::MASKED,
            _ => timer::ENABLE | timer::MASKED,
        });
        self.timer_control = timer::control();
        self.timer_compare = timer::compare();
    }

    /// What the registers hold now.
    pub(crate) fn read(&self, filled: &Filled) -> Self {
        Self {
            values: filled.read(),
            vbar: read_register!("VBAR_EL1")(),
            timer_control: timer::control(),
            timer_compare: timer::compare(),
            ..self.clone()
        }
    }

    /// Reports what differs.
    pub(crate) fn compare(
        &self,
        found: &Self,
        filled: &Filled,
        activity: Activity,
        reporter: Reporter,
    ) {
        filled.each(&self.values, |register, expected| {
            reporter.expect(register.name(), expected, found.values.of(register));
        });
        reporter.expect("VBAR_EL1", self.vbar, found.vbar);
        if matches!(activity, Activity::Count | Activity::Park) {
            reporter.expect("CNTV_CTL_EL0", self.timer_control, found.timer_control);
            reporter.expect("CNTV_CVAL_EL0", self.timer_compare, found.timer_compare);
        }
    }

    /// Hands out every register with its value, and those that the vCPU does not have.
    pub(crate) fn each(&self, filled: &Filled, each: &mut dyn FnMut(Register, Option<u128>)) {
        filled.each(&self.values, |register, value| {
            each(register, Some(value.into()))
        });
        for register in filled.absent() {
            each(register, None);
        }
        for (register, value) in [
            (Register::VBAR_EL1, self.vbar),
            (Register::TPIDRRO_EL0, self.tpidrro),
            (
                Register::CNTV_CTL_EL0,
                self.timer_control & (timer::ENABLE | timer::MASKED),
            ),
            (Register::CNTV_CVAL_EL0, self.timer_compare),
        ] {
            each(register, Some(value.into()));
        }
    }
}

/// Puts back what the guest's own code needs.
pub(crate) fn restore(mmu: bool) {
    unsafe extern "C" {
        static guest_vectors: u8;
    }
    timer::set_control(0);
    set_vbar(&raw const guest_vectors as u64);
    if !mmu {
        mmu::disable();
    }
}

fn set_vbar(address: u64) {
    // SAFETY: no exception is taken until the right vectors are there; or these are.
    unsafe {
        asm!("msr vbar_el1, {address}", "isb", address = in(reg) address, options(nostack, preserves_flags));
    }
}

fn set_tpidrro(value: u64) {
    // SAFETY: nobody's memory depends on it.
    unsafe {
        asm!("msr tpidrro_el0, {value}", value = in(reg) value, options(nostack, preserves_flags));
    }
}

macro_rules! constants {
    ($($register:literal,)*) => {
        [$(($register, read_register!($register)),)*]
    };
}

/// A register's name and how to read it.
type Constant = (&'static str, fn() -> u64);

const CONSTANT_COUNT: usize = 19;

/// Registers that a vCPU is born with.
static CONSTANTS: [Constant; CONSTANT_COUNT] = constants![
    "MIDR_EL1",
    "MPIDR_EL1",
    "REVIDR_EL1",
    "CLIDR_EL1",
    "CTR_EL0",
    "DCZID_EL0",
    "CNTFRQ_EL0",
    "ID_AA64PFR0_EL1",
    "ID_AA64PFR1_EL1",
    "ID_AA64DFR0_EL1",
    "ID_AA64DFR1_EL1",
    "ID_AA64ISAR0_EL1",
    "ID_AA64ISAR1_EL1",
    "ID_AA64MMFR0_EL1",
    "ID_AA64MMFR1_EL1",
    "ID_AA64MMFR2_EL1",
    "ID_AA64AFR0_EL1",
    "ID_AA64AFR1_EL1",
    "ACTLR_EL1",
];

/// What those registers were when the guest started.
#[derive(Debug)]
pub(crate) struct Constants {
    registers: [u64; CONSTANT_COUNT],
    caches: [u64; CACHES],
}

impl Constants {
    /// Reads them.
    pub(crate) fn read() -> Self {
        Self {
            registers: core::array::from_fn(|index| (CONSTANTS[index].1)()),
            caches: core::array::from_fn(|cache| cache_geometry(cache as u64)),
        }
    }

    /// Reports those that changed. Leaves `CSSELR_EL1` changed.
    pub(crate) fn compare(&self, reporter: Reporter) {
        let now = Self::read();
        for ((name, _), (expected, found)) in CONSTANTS
            .iter()
            .zip(self.registers.iter().zip(&now.registers))
        {
            let noticed = !not_for_guests(name);
            reporter.expect(name, *expected & noticed, *found & noticed);
        }
        for (cache, (expected, found)) in self.caches.iter().zip(&now.caches).enumerate() {
            reporter.expect(format_args!("CCSIDR_EL1[{cache}]"), *expected, *found);
        }
    }
}

/// The fields of a register that are about exception levels which no guest has. Boards differ in them, and a move does
/// not ask for them to be the same (`wire/state/src/admission.rs`).
fn not_for_guests(register: &str) -> u64 {
    match register {
        // EL2 and EL3 (DDI 0487, D24.2.64): QEMU's ZCU102 has an EL3, its `virt` has none.
        "ID_AA64PFR0_EL1" => 0xff00,
        _ => 0,
    }
}

/// `CCSIDR_EL1` of the cache that `selection` in `CSSELR_EL1` selects. vCPUs that share a core share the selection, and
/// one may take the core between the other's two accesses: what was read under another selection is read again.
fn cache_geometry(selection: u64) -> u64 {
    loop {
        let (geometry, selected): (u64, u64);
        // SAFETY: selects a cache and reads its description.
        unsafe {
            asm!(
                "msr csselr_el1, {selection}", "isb", "mrs {geometry}, ccsidr_el1", "mrs {selected}, csselr_el1",
                selection = in(reg) selection, geometry = out(reg) geometry, selected = out(reg) selected,
                options(nostack, nomem, preserves_flags),
            );
        }
        if selected == selection {
            return geometry;
        }
    }
}
