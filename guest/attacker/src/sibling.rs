// SPDX-License-Identifier: BSD-2-Clause
//! vCPU 1, which does nothing but be there: what it keeps in its registers, its memory and its timer stays as it is,
//! whatever vCPU 0 does.
//!
//! Left out is what the vCPUs of a guest share ("What it does not do" in README.md).

use core::arch::asm;
use core::cell::UnsafeCell;

use guest_runtime::console::{Console, UART};
use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::wait_for_interrupt;
use guest_runtime::pattern::Pattern;
use guest_runtime::{mmio, println, timer};

use crate::hold::{self, Held};

/// Microseconds that registers are held for.
const WAIT: u64 = 300;
/// Microseconds of a sleep while there is nothing to do.
const REST: u64 = 2_000;
/// Words of memory that hold a pattern.
const WORDS: usize = 2_048;
/// `UARTIMSC` (Arm DDI 0183, 3.3.10).
const INTERRUPT_MASK: usize = UART + 0x38;
/// `UARTLCR_H` (3.3.7): eight bits, FIFOs on.
const LINE_CONTROL: usize = UART + 0x2c;
const EIGHT_BITS_AND_FIFOS: u32 = 0x70;
/// `UARTCR`, and its value after reset: no loopback, and nobody who must be clear to send.
const CONTROL: usize = UART + 0x30;
const CONTROL_AT_RESET: u32 = 0x300;

struct Memory(UnsafeCell<[u64; WORDS]>);

// SAFETY: only vCPU 1 uses it.
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory(UnsafeCell::new([0; WORDS]));

/// System registers that each vCPU has for itself, with their bits (DDI 0487, D17), and that nothing of vCPU 1 depends on
/// while its MMU is off.
macro_rules! registers {
    ($($name:literal $bits:literal),* $(,)?) => {
        const NAMES: [&str; [$($name),*].len()] = [$($name),*];

        fn read() -> [u64; NAMES.len()] {
            [$({
                let value: u64;
                // SAFETY: reads a register of its own.
                unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack)) };
                value
            }),*]
        }

        fn write(pattern: &mut Pattern) {
            $({
                let value = pattern.next() & u64::MAX >> (64 - $bits);
                // SAFETY: with the MMU off and nothing at EL0, no instruction of vCPU 1 depends on it.
                unsafe { asm!(concat!("msr ", $name, ", {}"), in(reg) value, options(nostack)) };
            })*
        }
    };
}

registers!(
    "tpidr_el0" 64,
    "tpidrro_el0" 64,
    "tpidr_el1" 64,
    "contextidr_el1" 32,
    "ttbr0_el1" 64,
    "ttbr1_el1" 64,
    "tcr_el1" 64,
    "mair_el1" 64,
    "afsr0_el1" 32,
    "afsr1_el1" 32,
    "esr_el1" 32,
    "far_el1" 64,
    "elr_el1" 64,
    "spsr_el1" 32,
    "sp_el0" 64,
    "cntkctl_el1" 32,
    "vbar_el1" 64,
);

/// The sibling.
#[derive(Debug)]
pub(crate) struct Sibling {
    seed: u64,
    registers: [u64; NAMES.len()],
    beats: u64,
    mismatches: u64,
    /// The first things that were wrong: which register or what else, what it should be, what it is.
    wrong: [Option<(&'static str, u64, u64)>; 4],
}

impl Sibling {
    pub(crate) fn new() -> Self {
        gic::write_interface(cpu_interface::PMR, 0xf8);
        gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0);
        gic::set_bit(distributor::ISENABLER, gic::TIMER_INTID);
        Self {
            seed: 0,
            registers: [0; NAMES.len()],
            beats: 0,
            mismatches: 0,
            wrong: [None; 4],
        }
    }

    /// Fills everything anew.
    pub(crate) fn begin(&mut self) {
        self.seed += 1;
        (self.beats, self.mismatches, self.wrong) = (0, 0, [None; 4]);
        let mut pattern = Pattern::new(self.seed, 1);
        for word in Self::memory() {
            *word = pattern.next();
        }
        write(&mut pattern);
        // What a register does not implement is not kept.
        self.registers = read();
    }

    /// Holds everything for a while, and looks.
    pub(crate) fn beat(&mut self) {
        self.beats += 1;
        let held = Held::new(&mut Pattern::new(self.seed, self.beats + 2));
        let found = self.wait_with(&held);
        if let Some((name, expected, found)) = held.difference(&found) {
            self.expect(name, expected, found);
        }
        for (name, (expected, found)) in NAMES.iter().zip(self.registers.into_iter().zip(read())) {
            self.expect(name, expected, found);
        }
        let mut pattern = Pattern::new(self.seed, 1);
        for word in Self::memory() {
            self.expect("memory", pattern.next(), *word);
        }
    }

    /// Waits, with registers full, until its timer's interrupt has come, and no shorter.
    fn wait_with(&mut self, held: &Held) -> Held {
        // Another vCPU can switch the distributor off, which is the guest's own business.
        gic::write(distributor::CTLR, 1);
        let due = timer::counter() + timer::ticks(WAIT);
        timer::set_compare(due);
        timer::set_control(timer::ENABLE);
        let found = hold::while_waiting(held);
        self.expect("CNTV_CVAL_EL0", due, timer::compare());
        loop {
            let acknowledged = gic::read_interface(cpu_interface::IAR);
            if acknowledged == gic::TIMER_INTID {
                timer::set_control(0);
            }
            if acknowledged & gic::SPURIOUS < 1020 {
                gic::write_interface(cpu_interface::EOIR, acknowledged);
            }
            if acknowledged == gic::TIMER_INTID {
                break;
            }
            gic::write(distributor::CTLR, 1);
        }
        let now = timer::counter();
        if now < due {
            self.expect("CNTVCT_EL0", due, now);
        }
        found
    }

    /// Sleeps a little.
    pub(crate) fn rest(&mut self) {
        timer::set_compare(timer::counter() + timer::ticks(REST));
        timer::set_control(timer::ENABLE);
        wait_for_interrupt();
        timer::set_control(0);
        let acknowledged = gic::read_interface(cpu_interface::IAR);
        if acknowledged & gic::SPURIOUS < 1020 {
            gic::write_interface(cpu_interface::EOIR, acknowledged);
        }
    }

    fn expect(&mut self, name: &'static str, expected: u64, found: u64) {
        if expected != found {
            self.mismatches += 1;
            if let Some(free) = self.wrong.iter_mut().find(|wrong| wrong.is_none()) {
                *free = Some((name, expected, found));
            }
        }
    }

    /// Says what was wrong.
    pub(crate) fn report(&self) {
        for (name, expected, found) in self.wrong.iter().flatten() {
            println!("attacker: MISMATCH {name} expected={expected:#x} found={found:#x}");
        }
    }

    /// Sets the console up, and forgets what vCPU 0 made it receive.
    pub(crate) fn take_back_the_console(&mut self) {
        mmio::write(INTERRUPT_MASK, 0);
        mmio::write(CONTROL, CONTROL_AT_RESET);
        mmio::write(LINE_CONTROL, EIGHT_BITS_AND_FIFOS);
        while Console::receive().is_some() {}
        println!("");
    }

    /// How often it has looked since [`Self::begin`].
    pub(crate) const fn beats(&self) -> u64 {
        self.beats
    }

    /// How often something was not as it should be.
    pub(crate) const fn mismatches(&self) -> u64 {
        self.mismatches
    }

    fn memory() -> &'static mut [u64; WORDS] {
        // SAFETY: only vCPU 1 comes here, and keeps no reference.
        unsafe { &mut *MEMORY.0.get() }
    }
}
