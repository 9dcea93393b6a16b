// SPDX-License-Identifier: BSD-2-Clause
//! Sequences that mean something: what single random instructions would hardly ever come to.

use crate::Level;
use crate::encoding::{
    self, BRK, DSB, ERET, HLT, HVC, ISB, NOP, SMC, SVC, WFE, WFI, ZERO, register,
};
use crate::places::{Places, STUB};
use crate::program::Program;
use crate::restraint;

/// Ticks of the counter that a program sleeps at most: a fraction of a millisecond.
const LONGEST_SLEEP: u64 = 0x2000;

/// `SPSR_EL1.SS`: a step is active.
const STEP: u64 = 1 << 21;
/// `SPSR_EL1.IL`.
const ILLEGAL: u64 = 1 << 20;
/// `SPSR_EL1.M` bit 4: AArch32.
const AARCH32: u64 = 1 << 4;

/// `MDSCR_EL1`: `SS`, `ERR`, `TDCC`, `KDE`, `HDE`, `MDE`.
const MDSCR: [u64; 6] = [1 << 0, 1 << 6, 1 << 12, 1 << 13, 1 << 14, 1 << 15];
/// `DBGBCRn_EL1` and `DBGWCRn_EL1`: enabled, at EL0 and EL1, all bytes, loads and stores.
const MATCH: u64 = 1 | 3 << 1 | 3 << 3 | 0xff << 5;

impl Program {
    /// What takes an exception by itself.
    pub(crate) fn call_exception(&mut self) {
        let kind = self.one_of([
            SVC,
            HVC,
            SMC,
            BRK,
            HLT,
            0xd4a0_0001,
            0xd4a0_0002,
            0xd4a0_0003,
        ]);
        // An SMC with 0 is a call.
        let immediate = self.field(0x1_0000).max(1);
        self.push(encoding::with_immediate(kind, immediate));
    }

    /// A call of a random function, most of them of a range that somebody could have.
    pub(crate) fn secure_monitor_call(&mut self) {
        let base = self.one_of([
            0x8400_0000,
            0xc400_0000,
            0x8000_0000,
            0x8600_0000,
            0xc600_0000,
            0x0400_0000,
        ]);
        let function = match self.below(4) {
            0 => self.random.next() & 0xffff_ffff,
            _ => base + self.below(0x60),
        };
        if !(self.restrained && restraint::ends_or_waits(function)) {
            self.constant(0, function);
            self.push(SMC);
        }
    }

    /// Anywhere but to the stub.
    pub(crate) fn jump(&mut self) {
        let target = match self.below(4) {
            0 => self.places.scratch(&mut self.random),
            1 => self.device_to_jump_to(),
            2 => Places::nowhere(&mut self.random),
            _ => self.end() + self.below(4),
        };
        self.constant(17, target);
        self.push(encoding::branch_to(17));
    }

    fn device_to_jump_to(&mut self) -> u64 {
        // The distributor, the CPU interface, the console.
        let base = self.one_of([0x0800_0000, 0x0801_0000, 0x0900_0000]);
        base + (self.below(0x1000) & !3)
    }

    /// Returns from an exception that was none, to EL0 or EL1, perhaps with a step, perhaps into an illegal state.
    pub(crate) fn return_to(&mut self) {
        let mode = self.one_of([0, 4, 5, 1, 9, 13]);
        let flags = self.below(16) << 28 | self.below(16) << 6;
        let odd = self.one_of([0, STEP, ILLEGAL, STEP | ILLEGAL]);
        let target = match self.below(3) {
            0 => self.places.scratch(&mut self.random),
            1 => Places::nowhere(&mut self.random),
            _ => self.end(),
        };
        self.set(register::SPSR, flags | odd | mode);
        self.set(register::ELR, target);
        self.push(ERET);
    }

    /// The same into any state, AArch32 among them.
    pub(crate) fn return_anywhere(&mut self) {
        let state = match self.below(2) {
            0 => self.random.next() & 0xffff_ffff,
            _ => AARCH32 | self.below(0x400) & !0xf,
        };
        self.set(register::SPSR, state);
        let target = self.end();
        self.set(register::ELR, target);
        self.push(ERET);
    }

    /// Into the stub that saves a stopped vCPU's registers.
    pub(crate) fn enter_stub(&mut self) {
        let target = STUB + (self.below(0x1000) & !3);
        self.constant(17, target);
        self.push(encoding::branch_to(17));
    }

    /// Sets the virtual timer and waits for it, in one of the ways that there are.
    pub(crate) fn wait(&mut self) {
        let ticks = self.below(LONGEST_SLEEP);
        self.set(register::CNTV_TVAL, ticks);
        self.set(register::CNTV_CTL, 1);
        match self.below(4) {
            0 => self.push(WFE),
            1 => {
                // CPU_SUSPEND
                self.constant(0, 0xc400_0001);
                self.push(SMC);
            }
            _ => self.push(WFI),
        }
    }

    pub(crate) fn wait_for_ever(&mut self) {
        self.set(register::CNTV_CTL, 0);
        self.push(WFI);
    }

    /// Debug state that would stop whoever runs next, and an exit.
    pub(crate) fn debug(&mut self) {
        self.push(register::OSLAR.write(ZERO));
        if self.below(4) == 0 {
            self.push(register::OSDLR.write(ZERO));
        }
        let number = self.field(6);
        let (value, control) = if self.below(2) == 0 {
            let value = register::breakpoint_value(number);
            (value, register::breakpoint_control(number))
        } else {
            let value = register::watchpoint_value(number);
            (value, register::watchpoint_control(number))
        };
        let aimed = match self.below(3) {
            0 => self.places.value(&mut self.random),
            _ => Places::domain(&mut self.random),
        };
        self.set(value, aimed);
        self.set(control, MATCH);
        let mut enabled = MDSCR.iter().fold(0, |all, bit| {
            if self.random.below(2) == 0 {
                all | bit
            } else {
                all
            }
        });
        if self.below(2) == 0 {
            enabled |= 1;
        }
        self.set(register::MDSCR, enabled);
        self.push(ISB);
        match self.below(5) {
            0 => self.push(encoding::with_immediate(SMC, 1)),
            1 => self.push(HLT),
            2 => self.push(BRK),
            3 if self.level == Level::El1 => self.return_to(),
            _ => self.push(WFE),
        }
    }

    /// Counters that overflow at once, counting everything that they can, with their interrupt enabled.
    pub(crate) fn performance_monitor(&mut self) {
        self.set(register::PMCCNTR, u64::MAX - 50);
        self.set(register::PMCCFILTR, 1 << 27);
        self.constant(9, u64::MAX);
        self.push(register::PMINTENSET.write(9));
        self.push(register::PMOVSSET.write(9));
        self.push(register::PMCNTENSET.write(9));
        let control = 1 | self.below(0x80);
        self.set(register::PMCR, control);
        self.push(ISB);
        self.push(encoding::with_immediate(SMC, 1));
    }

    /// The physical timer, which the board may share with the guest.
    pub(crate) fn physical_timer(&mut self) {
        let compare = match self.below(3) {
            0 => 0,
            1 => u64::MAX,
            _ => self.random.next(),
        };
        self.set(register::CNTP_CVAL, compare);
        let control = self.below(4);
        self.set(register::CNTP_CTL, control);
    }

    /// An access of one register to a device, as drivers make it.
    pub(crate) fn device(&mut self) {
        let address = self.places.device(&mut self.random);
        let (size, load, value) = (self.field(4), self.field(2), self.general());
        self.constant(17, address);
        self.push(0x3900_0000 | size << 30 | load << 22 | 17 << 5 | value);
    }

    /// What a guest's kernel does for its programs: caches, counters, waiting and the performance monitor are theirs.
    pub(crate) fn open_el0(&mut self) {
        let counters = 0x303 | self.below(0x400);
        self.set(register::CNTKCTL, counters);
        self.set(register::MDSCR, 0);
        self.push(DSB);
        self.push(NOP);
        self.set(register::PMUSERENR, 0xf);
    }
}
