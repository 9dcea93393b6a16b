//! System registers: random values in, the same values out.
//!
//! What a register does not implement of a value it does not keep: expected is what it reads as directly after the
//! write. Registers that describe the vCPU and do not change are in [`Constants`].

use core::arch::asm;

use guest_runtime::pattern::Pattern;
use guest_runtime::timer;

use super::hold::Activity;
use crate::mmu;
use crate::report::Reporter;

/// A system register that can be written.
pub(super) struct Writable {
    pub(super) name: &'static str,
    pub(super) read: fn() -> u64,
    pub(super) write: fn(u64),
    pub(super) values: Values,
}

impl Writable {
    /// Writes what `random` makes of its values; what it reads as then.
    pub(super) fn load(&self, random: u64) -> u64 {
        let current = (self.read)();
        (self.write)(match self.values {
            Values::Bits(0) => current,
            Values::Bits(bits) | Values::Translation(bits) => random & bits,
            Values::Below(limit) => random % limit,
            Values::Control(bits) => current ^ random & bits,
        });
        (self.read)()
    }

    /// Whether the guest with its MMU on depends on it.
    const fn translates(&self) -> bool {
        matches!(self.values, Values::Translation(_) | Values::Control(_))
    }
}

/// What may be written into a register.
pub(super) enum Values {
    /// Any combination of these bits.
    Bits(u64),
    /// Any number below this.
    Below(u64),
    /// These bits, on top of what the guest itself needs with the MMU off; untouched with the MMU on.
    Control(u64),
    /// These bits with the MMU off; untouched with the MMU on.
    Translation(u64),
}

macro_rules! read_register {
    ($register:literal) => {
        || {
            let value: u64;
            // SAFETY: reads a register; no memory.
            unsafe {
                core::arch::asm!(concat!("mrs {value}, ", $register), value = out(reg) value, options(nostack, nomem, preserves_flags));
            }
            value
        }
    };
}

macro_rules! writable {
    ($($register:literal: $values:expr,)*) => {
        [$(Writable {
            name: $register,
            read: read_register!($register),
            write: |value| {
                // SAFETY: the values written leave the guest able to run: see the table.
                unsafe {
                    core::arch::asm!(concat!("msr ", $register, ", {value}"), "isb", value = in(reg) value, options(nostack));
                }
            },
            values: $values,
        },)*]
    };
}

pub(super) use {read_register, writable};

const COUNT: usize = 16;

/// Bit fields from the registers' descriptions in the Arm ARM, D13.2, without bits that are RES0 in Armv8.0.
///
/// `SCTLR_EL1` comes last: `A SA SA0 ITD SED UMA DZE UCT nTWI nTWE UCI`.
static WRITABLE: [Writable; COUNT] = writable![
    "TPIDR_EL0": Values::Bits(u64::MAX),
    "TPIDR_EL1": Values::Bits(u64::MAX),
    "CONTEXTIDR_EL1": Values::Bits(0xffff_ffff),
    "AFSR0_EL1": Values::Bits(0xffff_ffff),
    "AFSR1_EL1": Values::Bits(0xffff_ffff),
    "ESR_EL1": Values::Bits(0xffff_ffff),
    "FAR_EL1": Values::Bits(u64::MAX),
    "PAR_EL1": Values::Bits(0xff00_ffff_ffff_f380),
    "CNTKCTL_EL1": Values::Bits(0x3ff),
    "CPACR_EL1": Values::Bits(0),
    "AMAIR_EL1": Values::Bits(u64::MAX),
    "TTBR1_EL1": Values::Bits(0xffff_ffff_ffff_f000),
    "TTBR0_EL1": Values::Translation(0xffff_ffff_ffff_f000),
    "MAIR_EL1": Values::Translation(u64::MAX),
    "TCR_EL1": Values::Translation(0x0077_ffff_ffbf),
    "SCTLR_EL1": Values::Control(0x0405_c39a),
];

/// Caches that a Cortex-A53 has: level 1 data, level 1 instruction, level 2 (Arm DDI 0500, 4.3.24).
pub(super) const CACHES: usize = 3;

/// System registers of a vCPU as they are to be held.
#[derive(Debug)]
pub(crate) struct SystemState {
    values: [u64; COUNT],
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
    pub(crate) fn load(pattern: &mut Pattern, activity: Activity, mmu: bool, vectors: u64) -> Self {
        let mut state = Self {
            values: [0; COUNT],
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
        set_vbar(state.vbar);
        for (register, value) in WRITABLE.iter().zip(&mut state.values) {
            let random = pattern.next();
            *value = if mmu && register.translates() {
                (register.read)()
            } else {
                register.load(random)
            };
        }
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
    pub(crate) fn read(&self) -> Self {
        Self {
            values: core::array::from_fn(|index| (WRITABLE[index].read)()),
            vbar: read_register!("VBAR_EL1")(),
            timer_control: timer::control(),
            timer_compare: timer::compare(),
            ..*self
        }
    }

    /// Reports what differs.
    pub(crate) fn compare(&self, found: &Self, activity: Activity, reporter: Reporter) {
        for (register, (expected, found)) in
            WRITABLE.iter().zip(self.values.iter().zip(&found.values))
        {
            reporter.expect(register.name, *expected, *found);
        }
        reporter.expect("VBAR_EL1", self.vbar, found.vbar);
        if activity == Activity::Count {
            reporter.expect("CNTV_CTL_EL0", self.timer_control, found.timer_control);
            reporter.expect("CNTV_CVAL_EL0", self.timer_compare, found.timer_compare);
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
            reporter.expect(name, *expected, *found);
        }
        for (cache, (expected, found)) in self.caches.iter().zip(&now.caches).enumerate() {
            reporter.expect(format_args!("CCSIDR_EL1[{cache}]"), *expected, *found);
        }
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
