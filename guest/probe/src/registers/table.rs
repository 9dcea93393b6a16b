// SPDX-License-Identifier: BSD-2-Clause
//! Every register of the table that is a vCPU's state: how the probe reads, fills and compares it.
//!
//! The accesses are generated from the register table, so that a new row is filled and compared without anybody having
//! thought of it: with any value at all, unless [`treatment`] says what may be written. Nothing is left out but by a
//! line there.

use core::sync::atomic::{AtomicBool, Ordering};

use register_table::{instruction_name, register_table};
use state::{Class, Policy, REGISTER_COUNT, Register, Source};

use super::system::CACHES;
use crate::exceptions::attempt;

/// The instructions that access a register.
pub(super) struct Access {
    pub(super) read: fn() -> u64,
    pub(super) write: fn(u64),
}

macro_rules! read_register {
    ($register:expr) => {
        || {
            let value: u64;
            // Zero for one that is not there and does not trap: it leaves the instruction's target as it was.
            // SAFETY: reads a register; no memory.
            unsafe {
                core::arch::asm!(concat!("mrs {value}, ", $register), value = inout(reg) 0_u64 => value, options(nostack, nomem, preserves_flags));
            }
            value
        }
    };
}

macro_rules! write_register {
    ($register:expr) => {
        |value: u64| {
            // SAFETY: the values written leave the guest able to run: see `treatment`.
            unsafe {
                core::arch::asm!(concat!("msr ", $register, ", {value}"), "isb", value = in(reg) value, options(nostack));
            }
        }
    };
}

pub(super) use read_register;

macro_rules! accesses {
    ([] $($class:ident $source:ident $policy:ident $reason:literal {
        $($name:ident $kind:ident $identifier:tt;)*
    })*) => {
        [$($(access!($policy $kind $identifier),)*)*]
    };
}

macro_rules! access {
    (Write core $identifier:tt) => { None };
    (Write vector $identifier:tt) => { None };
    (Write $kind:ident $identifier:tt) => {
        Some(Access {
            read: read_register!(instruction_name!($kind $identifier)),
            write: write_register!(instruction_name!($kind $identifier)),
        })
    };
    ($policy:ident $kind:ident $identifier:tt) => { None };
}

static ACCESSES: [Option<Access>; REGISTER_COUNT] = register_table!(accesses);

/// What may be written into a register.
#[derive(Debug, Clone, Copy)]
pub(super) enum Treatment {
    /// Any combination of these bits; none leaves it as it is.
    Bits(u64),
    /// Any number below this.
    Below(u64),
    /// These bits, on top of what the guest itself needs with the MMU off; untouched with the MMU on.
    Control(u64),
    /// These bits with the MMU off; untouched with the MMU on.
    Translation(u64),
    /// These bits, set after all were cleared through this register: a write only sets.
    Set(u64, fn(u64)),
    /// The OS lock, through `OSLAR_EL1`.
    Lock,
    /// Filled and compared by [`super::hold`], with all general and vector registers.
    Held,
    /// Filled and compared with the timer.
    Timer,
}

/// Bit fields from the registers' descriptions in the Arm ARM, D13.2 to D13.4 and D13.8, without bits that are RES0 in
/// Armv8.0 and without those that would let something count, break or interrupt.
fn treatment(register: Register) -> Treatment {
    use Register::{
        AFSR0_EL1, AFSR1_EL1, CNTKCTL_EL1, CONTEXTIDR_EL1, CPACR_EL1, CSSELR_EL1, ELR_EL1, ESR_EL1,
        MAIR_EL1, MDCCINT_EL1, MDSCR_EL1, OSLSR_EL1, PAR_EL1, PMCCFILTR_EL0, PMCNTENSET_EL0,
        PMCR_EL0, PMINTENSET_EL1, PMOVSSET_EL0, PMSELR_EL0, PMUSERENR_EL0, SCTLR_EL1, SPSR_EL1,
        TCR_EL1, TPIDRRO_EL0, TTBR0_EL1, TTBR1_EL1, VBAR_EL1,
    };
    // A bit for each counter that there may be, and one for cycles.
    const COUNTERS: u64 = 0x8000_003f;
    match register {
        TPIDRRO_EL0 | VBAR_EL1 | ELR_EL1 | SPSR_EL1 => Treatment::Held,
        AFSR0_EL1 | AFSR1_EL1 | CONTEXTIDR_EL1 | ESR_EL1 => Treatment::Bits(0xffff_ffff),
        PAR_EL1 => Treatment::Bits(0xff00_ffff_ffff_f380),
        CNTKCTL_EL1 => Treatment::Bits(0x3ff),
        // The guest needs FP and SIMD itself.
        CPACR_EL1 => Treatment::Bits(0),
        TTBR1_EL1 => Treatment::Bits(0xffff_ffff_ffff_f000),
        TTBR0_EL1 => Treatment::Translation(0xffff_ffff_ffff_f000),
        MAIR_EL1 => Treatment::Translation(u64::MAX),
        TCR_EL1 => Treatment::Translation(0x0077_ffff_ffbf),
        // `A SA SA0 ITD SED UMA DZE UCT nTWI nTWE UCI`.
        SCTLR_EL1 => Treatment::Control(0x0405_c39a),
        CSSELR_EL1 => Treatment::Below(CACHES as u64),
        // `RX` and `TX`: of a channel that nobody uses.
        MDCCINT_EL1 => Treatment::Bits(0x6000_0000),
        // `TDCC`; the others let debug exceptions happen.
        MDSCR_EL1 => Treatment::Bits(1 << 12),
        OSLSR_EL1 => Treatment::Lock,
        // `D X DP LC`: counting stays off.
        PMCR_EL0 => Treatment::Bits(0x78),
        PMSELR_EL0 => Treatment::Below(4),
        PMUSERENR_EL0 => Treatment::Bits(0xf),
        PMCCFILTR_EL0 => Treatment::Bits(0xf800_0000),
        PMCNTENSET_EL0 => Treatment::Set(COUNTERS, write_register!("pmcntenclr_el0")),
        PMOVSSET_EL0 => Treatment::Set(COUNTERS, write_register!("pmovsclr_el0")),
        PMINTENSET_EL1 => Treatment::Set(COUNTERS, write_register!("pmintenclr_el1")),
        _ => by_group(register),
    }
}

/// Of rows that are one of many.
fn by_group(register: Register) -> Treatment {
    match (register.source(), register.encoding()) {
        (Source::TimerDomain, _) => Treatment::Timer,
        _ if register.class() == Class::FloatingPoint => Treatment::Held,
        (Source::StubBreakpoints | Source::StubWatchpoints, Some([.., 4 | 6])) => {
            Treatment::Bits(0x0000_ffff_ffff_fffc)
        }
        // Not `E`.
        (Source::StubBreakpoints, _) => Treatment::Bits(0xe1e6),
        (Source::StubWatchpoints, _) => Treatment::Bits(0xfffe),
        // `PMEVTYPERn_EL0`, `CRm` 12 and up; below, `PMEVCNTRn_EL0`.
        (Source::StubCounters, Some([.., 12..=15, _])) => Treatment::Bits(0xf800_03ff),
        (Source::StubCounters, _) => Treatment::Bits(0xffff_ffff),
        _ => Treatment::Bits(u64::MAX),
    }
}

impl Treatment {
    fn load(self, access: &Access, random: u64) {
        let current = (access.read)();
        match self {
            Self::Bits(0) | Self::Held | Self::Timer => {}
            Self::Bits(bits) | Self::Translation(bits) => (access.write)(random & bits),
            Self::Below(limit) => (access.write)(random % limit),
            Self::Control(bits) => (access.write)(current ^ random & bits),
            Self::Set(bits, clear) => {
                clear(u64::MAX);
                (access.write)(random & bits);
            }
            Self::Lock => write_register!("oslar_el1")(random & 1),
        }
    }
}

/// Whether seL4 gives each vCPU its own. Cache selection it does not switch: on a machine with one vCPU it keeps its value
/// all the same, and a move takes it along; with more, whoever wrote last has written for all on the same core.
/// Self-hosted debug and performance monitor are there on boards that leave them to a trusted guest.
fn is_switched(register: Register) -> bool {
    !matches!(register.class(), Class::Debug | Class::Pmu) && register != Register::CSSELR_EL1
}

/// Whether this board leaves its guest a group of registers. On others their accesses do not trap either, but what is
/// written is not kept.
#[derive(Debug, Clone, Copy)]
struct Offered {
    debug: bool,
    monitor: bool,
}

impl Offered {
    fn find() -> Self {
        Self {
            debug: is_kept(Register::DBGBVR0_EL1, 0x1000),
            monitor: is_kept(Register::PMUSERENR_EL0, 1),
        }
    }

    const fn has(self, register: Register) -> bool {
        match register.class() {
            Class::Debug => self.debug,
            Class::Pmu => self.monitor,
            _ => true,
        }
    }
}

/// Whether a bit that is written into a register is there afterwards.
fn is_kept(register: Register, bit: u64) -> bool {
    let Some(access) = &ACCESSES[register.index()] else {
        return false;
    };
    let mut kept = false;
    let trap = attempt(|| {
        let before = (access.read)();
        (access.write)(before ^ bit);
        kept = (access.read)() != before;
        (access.write)(before);
    });
    trap.is_none() && kept
}

/// What vCPU 0 has found, for all.
static PRESENT: [AtomicBool; REGISTER_COUNT] = [const { AtomicBool::new(false) }; REGISTER_COUNT];

/// The registers that a vCPU has and fills here.
#[derive(Debug)]
pub(crate) struct Filled {
    present: [bool; REGISTER_COUNT],
}

impl Filled {
    /// What vCPU 0 has found out with [`Self::find`].
    pub(crate) fn found() -> Self {
        let present = |index: usize| PRESENT[index].load(Ordering::Acquire);
        Self {
            present: core::array::from_fn(present),
        }
    }

    /// Finds out which there are, on vCPU 0 before the others run: of those that seL4 does not switch, none if there is
    /// more than one vCPU, unless each is known to have its own; and none that a processor or a hypervisor does not offer.
    pub(crate) fn find(own: bool) {
        let offered = Offered::find();
        let is_there = |register: Register| {
            let Some(access) = &ACCESSES[register.index()] else {
                return false;
            };
            let treatment = treatment(register);
            match treatment {
                Treatment::Held | Treatment::Timer => false,
                _ if is_switched(register) => true,
                _ if !own || !offered.has(register) => false,
                _ => attempt(|| treatment.load(access, (access.read)())).is_none(),
            }
        };
        for register in Register::ALL {
            PRESENT[register.index()].store(is_there(register), Ordering::Release);
        }
    }

    /// Those registers, `SCTLR_EL1` last.
    fn registers(&self) -> impl Iterator<Item = (Register, &'static Access)> + '_ {
        let last = [Register::SCTLR_EL1];
        let others = (Register::ALL.into_iter()).filter(move |register| !last.contains(register));
        others.chain(last).filter_map(|register| {
            let access = ACCESSES[register.index()].as_ref()?;
            self.present[register.index()].then_some((register, access))
        })
    }

    /// How many of them are not switched.
    pub(crate) fn unswitched(&self) -> usize {
        let filled = self.registers();
        filled
            .filter(|(register, _)| !is_switched(*register))
            .count()
    }

    /// Writes random values, where the guest with its MMU on does not depend on them.
    pub(crate) fn load(&self, mmu: bool, mut random: impl FnMut() -> u64) {
        for (register, access) in self.registers() {
            let treatment = treatment(register);
            let random = random();
            if !(mmu && matches!(treatment, Treatment::Translation(_) | Treatment::Control(_))) {
                treatment.load(access, random);
            }
        }
    }

    /// What they read as.
    pub(crate) fn read(&self) -> Values {
        let mut values = Values([0; REGISTER_COUNT]);
        for (register, access) in self.registers() {
            values.0[register.index()] = (access.read)();
        }
        values
    }

    /// Hands them out with their values.
    pub(crate) fn each(&self, values: &Values, mut each: impl FnMut(Register, u64)) {
        for (register, _) in self.registers() {
            each(register, values.0[register.index()]);
        }
    }

    /// The rows of the table that are state and that this vCPU does not have.
    pub(crate) fn absent(&self) -> impl Iterator<Item = Register> + '_ {
        Register::ALL.into_iter().filter(|register| {
            let elsewhere = matches!(treatment(*register), Treatment::Held | Treatment::Timer);
            register.policy() == Policy::Write
                && ACCESSES[register.index()].is_some()
                && !elsewhere
                && !self.present[register.index()]
        })
    }
}

/// What the filled registers read as.
#[derive(Debug, Clone)]
pub(crate) struct Values([u64; REGISTER_COUNT]);

impl Values {
    /// Of one that is filled.
    pub(crate) const fn of(&self, register: Register) -> u64 {
        self.0[register.index()]
    }
}
