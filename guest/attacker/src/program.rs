// SPDX-License-Identifier: BSD-2-Clause
//! A round: a program of random instructions, most of them one at a time, some in sequences that mean something.

use guest_runtime::pattern::Pattern;

use crate::encoding::{self, REGISTERS, Register, SVC, ZERO, register};
use crate::places::Places;
use crate::restraint::{self, SCTLR_KEPT};
use crate::{Level, Plan};

/// Words of a program. Those behind its last instruction end it.
pub const LONGEST: usize = 64;
/// General registers.
const GENERAL: usize = 31;
/// Words that the longest sequence takes.
const ROOM: usize = 32;
/// A round in so many prepares what EL0 may do, where programs run at EL0.
const PREPARED: u64 = 16;

/// `SPSR_EL1`: everything masked, and the level.
const MASKED: u64 = 0xf << 6;
/// `SPSR_EL1.M` of EL1 with its own stack pointer.
const EL1H: u64 = 5;

/// What vCPU 0 does in a round.
#[derive(Debug, Clone)]
pub struct Round {
    /// The program.
    pub words: [u32; LONGEST],
    /// Where it is executed.
    pub at: u64,
    /// The level that it starts at.
    pub level: Level,
    /// `SPSR_EL1` that it is entered with.
    pub state: u64,
    /// `x0`–`x30`.
    pub registers: [u64; GENERAL],
    /// Both stack pointers.
    pub stack: u64,
}

impl Round {
    /// What a guest's kernel does for its programs, before any of them runs.
    #[must_use]
    pub fn that_opens_el0() -> Self {
        let plan = Plan {
            seed: 0,
            level: Level::El1,
            translated: false,
            deadly: false,
        };
        let places = Places::new(Level::El1, false);
        let mut program = Program::new(&plan, true, places, 0, Pattern::new(0, 0));
        program.open_el0();
        Self {
            words: program.words,
            at: places.code(),
            level: Level::El1,
            state: MASKED | EL1H,
            registers: [0; GENERAL],
            stack: places.stack(),
        }
    }

    pub(crate) fn new(
        plan: &Plan,
        restrained: bool,
        places: Places,
        vectors: u64,
        mut random: Pattern,
        known: impl Fn(usize) -> bool,
    ) -> Self {
        let prepares = plan.level == Level::El0 && random.below(PREPARED) == 0;
        let level = if prepares { Level::El1 } else { plan.level };
        // Where EL1 runs, RAM is where it is.
        let places = if prepares {
            Places::new(Level::El1, plan.translated)
        } else {
            places
        };
        let registers = core::array::from_fn(|_| places.value(&mut random));
        let flags = random.below(16) << 28;
        let mode = if level == Level::El1 { EL1H } else { 0 };
        let plan = Plan { level, ..*plan };
        let mut program = Program::new(&plan, restrained, places, vectors, random);
        if prepares {
            program.open_el0();
        } else {
            program.fill(&known);
        }
        Self {
            words: program.words,
            at: places.code(),
            level,
            state: flags | MASKED | mode,
            registers,
            stack: places.stack(),
        }
    }
}

/// A program that is being written.
pub(crate) struct Program {
    words: [u32; LONGEST],
    length: usize,
    pub(crate) level: Level,
    translated: bool,
    pub(crate) restrained: bool,
    pub(crate) places: Places,
    vectors: u64,
    pub(crate) random: Pattern,
}

impl Program {
    const fn new(
        plan: &Plan,
        restrained: bool,
        places: Places,
        vectors: u64,
        random: Pattern,
    ) -> Self {
        Self {
            words: [SVC; LONGEST],
            length: 0,
            level: plan.level,
            translated: plan.translated,
            restrained,
            places,
            vectors,
            random,
        }
    }

    pub(crate) fn push(&mut self, word: u32) {
        // The last word stays what ends the program.
        if self.length < LONGEST - 1 {
            self.words[self.length] = word;
            self.length += 1;
        }
    }

    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    /// A random number below `limit`, for a field of an instruction.
    #[expect(clippy::cast_possible_truncation, reason = "below a limit of 32 bits")]
    pub(crate) const fn field(&mut self, limit: u32) -> u32 {
        self.random.below(limit as u64) as u32
    }

    /// A random word.
    #[expect(clippy::cast_possible_truncation, reason = "half of it")]
    pub(crate) const fn word(&mut self) -> u32 {
        self.random.next() as u32
    }

    /// One of these.
    #[expect(clippy::cast_possible_truncation, reason = "below a length")]
    pub(crate) const fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N as u64) as usize]
    }

    /// The number of any system register.
    #[expect(clippy::cast_possible_truncation, reason = "below a length")]
    const fn number(&mut self) -> usize {
        self.below(REGISTERS as u64) as usize
    }

    /// A general register, or the zero register.
    pub(crate) const fn general(&mut self) -> u32 {
        self.field(32)
    }

    /// Loads a constant, which no instruction before can have changed.
    pub(crate) fn constant(&mut self, general: u32, value: u64) {
        for (position, shift) in (0..4).zip([0, 16, 32, 48]) {
            let part = (value >> shift & 0xffff) as u32;
            if position == 0 {
                self.push(encoding::move_number(general, part));
            } else if part != 0 {
                // MOVK
                self.push(0xf280_0000 | position << 21 | part << 5 | general);
            }
        }
    }

    /// Writes a constant to a system register, by way of `x9`.
    pub(crate) fn set(&mut self, register: Register, value: u64) {
        self.constant(9, value);
        self.push(register.write(9));
    }

    /// What ends the program, as an address.
    pub(crate) const fn end(&self) -> u64 {
        self.places.code() + 4 * (LONGEST as u64 - 1)
    }

    fn fill(&mut self, known: &impl Fn(usize) -> bool) {
        for _ in 0..=self.below(5) {
            if self.length + ROOM > LONGEST {
                break;
            }
            if self.restrained {
                self.something(known);
            } else {
                self.something_deadly(known);
            }
        }
    }

    fn something(&mut self, known: &impl Fn(usize) -> bool) {
        match self.below(40) {
            0..=13 => self.access(known),
            14 | 15 => self.system_instruction(),
            16 => self.hint(),
            17..=21 => self.load_or_store(),
            22 => self.free_word(0x0e00_0000, 0x0e00_0000),
            23 => self.free_word(0, 0),
            24 | 25 => self.call_exception(),
            26 => self.secure_monitor_call(),
            27 => self.jump(),
            28 => self.return_to(),
            29 | 30 => self.wait(),
            31..=33 => self.debug(),
            34 => self.performance_monitor(),
            35 | 36 => self.physical_timer(),
            37 => self.device(),
            38 => self.own_vectors(),
            _ => self.storm(),
        }
    }

    fn something_deadly(&mut self, known: &impl Fn(usize) -> bool) {
        match self.below(8) {
            0 => {
                let word = self.word();
                if restraint::stops_the_emulator(Register::decode(word)).is_none() {
                    self.push(word);
                }
            }
            1 => {
                let general = self.general();
                let write = self.one_of([
                    register::SCTLR,
                    register::VBAR,
                    register::TTBR0,
                    register::TCR,
                ]);
                self.push(write.write(general));
            }
            2 => self.wait_for_ever(),
            3 => self.enter_stub(),
            4 => self.return_anywhere(),
            _ => self.something(known),
        }
    }

    /// `MSR` or `MRS`: half of them of registers that exist, the others of any.
    fn access(&mut self, known: &impl Fn(usize) -> bool) {
        let mut number = self.number();
        if self.below(2) == 0 {
            // The next that exists, wherever one begins to look.
            let all = (0..REGISTERS).map(|further| (number + further) % REGISTERS);
            number = all
                .into_iter()
                .find(|number| known(*number))
                .unwrap_or(number);
        }
        let mut register = Register::numbered(number);
        if self.level == Level::El0 && self.below(4) != 0 {
            register.op1 = 3;
        }
        let general = self.general();
        if self.below(3) == 0 {
            let names_own_memory = self.restrained && restraint::names_own_memory(register);
            let general = if names_own_memory { ZERO } else { general };
            self.push(register.read(general));
        } else if let Some(harmless) = restraint::stops_the_emulator(register) {
            let value = self.random.next() & harmless;
            self.set(register, value);
        } else if !(self.restrained && restraint::loses_the_way_back(register, self.translated)) {
            self.push(register.write(general));
        }
    }

    /// `SYS` and `SYSL`: cache and translation maintenance, address translation, and what nobody implements.
    fn system_instruction(&mut self) {
        const LIKELY: [(u32, u32, u32); 8] = [
            (0, 7, 1),
            (0, 7, 5),
            (0, 7, 6),
            (0, 7, 8),
            (0, 8, 3),
            (0, 8, 7),
            (3, 7, 4),
            (3, 7, 10),
        ];
        let mut register = Register::decode(self.word());
        register.op0 = 1;
        if self.below(4) != 0 {
            let (op1, crn, crm) = self.one_of(LIKELY);
            register = Register::new(1, op1, crn, crm, register.op2);
        }
        let general = self.general();
        if self.below(8) == 0 {
            self.push(register.read(general));
        } else {
            self.push(register.write(general));
        }
    }

    /// `op0` 0: hints, barriers, and fields of `PSTATE`.
    fn hint(&mut self) {
        let word = 0xd500_001f | self.word() & 0x0007_ffe0;
        let word = match self.below(3) {
            // MSR (immediate).
            0 => word & !0xf000 | 0x4000,
            // Barriers.
            1 => word & !0x7_f000 | 0x3_3000,
            // Hints.
            _ => word & !0x7_f000 | 0x3_2000,
        };
        if !(self.restrained && restraint::waits(word)) {
            self.push(word);
        }
    }

    /// Any load or store but of a literal: the addresses are what the registers hold.
    fn load_or_store(&mut self) {
        self.free_word(0x0a00_0000, 0x0800_0000);
    }

    /// Any word with these bits among `mask`, of those that may be executed as they are.
    pub(crate) fn free_word(&mut self, mask: u32, bits: u32) {
        let word = self.word() & !mask | bits;
        if restraint::is_free(word) {
            self.push(word);
        }
    }

    /// `SCTLR_EL1` and `VBAR_EL1`, which are put right before anything can need them.
    fn own_vectors(&mut self) {
        // MSR DAIFSet, #15
        self.push(0xd503_4fdf);
        let value = Places::number(&mut self.random);
        if self.below(2) == 0 {
            let kept = if self.translated { 1 } else { 0 };
            self.set(register::SCTLR, value & !SCTLR_KEPT | kept);
        } else {
            self.constant(10, self.vectors);
            self.constant(9, value);
            self.push(register::VBAR.write(9));
            self.push(register::VBAR.write(10));
        }
    }
}
