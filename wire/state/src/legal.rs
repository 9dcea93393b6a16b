// SPDX-License-Identifier: BSD-2-Clause
//! Whether a register's value is one that a guest could have.
//!
//! Responsible for: holding everything that comes from a file, from another board or from the operator to the rules of
//! the register table, before any of it is written. Never: looks at what a board captured itself: a guest that was paused
//! continues with what it had.
//!
//! There are two measures. A record may have whatever some core keeps for a guest that writes it; an operator may set
//! what the architecture defines (see [`mod@register_table`], `legal.rs`).

use register_table::legal_values;
use thiserror::Error;

use crate::register::Register;
use crate::{PowerV1, RegisterFile, TimerRecordV1, VcpusRecordV4};

/// A value that no guest can have, or that an operator cannot mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error(
    "{} of vCPU {vcpu} cannot be {value:#x}, because of bits {bits:#x}: legal is {}", register.name(), legal(*register)
)]
pub struct Illegal {
    /// The vCPU.
    pub vcpu: usize,
    /// The register.
    pub register: Register,
    /// Its value.
    pub value: u64,
    /// The bits that are wrong.
    pub bits: u64,
}

/// What a row of the table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Any,
    /// What the architecture defines, and what some core keeps.
    Bits(u64, u64),
    Pc,
    State,
    Saved,
    Control,
    Implementation,
    Cache,
    Access,
    FloatingPointControl,
    Lock,
    MonitorControl,
    Counters,
    EventCounter,
    Identity,
    Constant,
}

macro_rules! rules {
    ([] $($rule:ident $(($($bits:literal),*))? $words:literal { $($register:ident)* })*) => {
        /// A register that has no rule, or two, does not compile.
        #[deny(unreachable_patterns)]
        const fn rule(register: Register) -> (Rule, &'static str) {
            match register {
                $($(Register::$register)|* => (Rule::$rule $(($($bits),*))?, $words),)*
            }
        }
    };
}

legal_values!(rules);

/// What is legal for a register, in words.
pub const fn legal(register: Register) -> &'static str {
    rule(register).1
}

/// What a processor has, as far as the rules ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// Bits of `PSTATE` in AArch64 apart from M.
    state: u64,
    /// Bits of `PSTATE` in AArch32 apart from M, if there is AArch32 at EL0.
    state_of_32_bit: Option<u64>,
    /// Bits of `SCTLR_EL1` that the architecture defines for it.
    control: u64,
    memory_tags: bool,
    vectors: bool,
    matrices: bool,
    half_precision: bool,
    wide_counters: bool,
}

/// `PSTATE`, as `SPSR_EL1` has it from AArch64 (DDI 0487, C5.2.19): NZCV, SS, IL, DAIF.
const STATE: u64 = 0xf030_03c0;
/// From AArch32: NZCVQ, IT, SS, IL, GE, E, A, I, F, T.
const STATE_OF_32_BIT: u64 = 0xfe3f_ffe0;
const DIT: u64 = 1 << 24;
const UAO: u64 = 1 << 23;
const PAN: u64 = 1 << 22;
const ALL_INTERRUPTS: u64 = 1 << 13;
const SSBS: u64 = 1 << 12;
const SSBS_OF_32_BIT: u64 = 1 << 23;
const BRANCH_TYPE: u64 = 3 << 10;
const TAG_CHECK_OVERRIDE: u64 = 1 << 25;
/// M of `PSTATE`: execution state and mode.
const MODE: u64 = 0x1f;
/// A 32-bit program.
const USER: u64 = 0x10;
/// T: a 32-bit program runs instructions of 16 bits.
const THUMB: u64 = 1 << 5;
/// `SCTLR_EL1`: the low half but for bit 17, which is RES0, and for pointer authentication.
const CONTROL: u64 = 0x37fd_dfff;
const CONTROL_OF_AUTHENTICATION: u64 = 0xc800_2000;
const CONTROL_OF_BRANCH_TARGETS: u64 = 3 << 35;
const CONTROL_OF_TAGS: u64 = 0x7f << 37;
const CONTROL_OF_SSBS: u64 = 1 << 44;

impl Processor {
    /// The processor with these constants.
    pub fn of(constants: &RegisterFile) -> Self {
        let field = |register, low: u32| constants.word(register).unwrap_or(0) >> low & 0xf;
        let has = |register, low| field(register, low) != 0;
        // Fields of which all ones, and not zero, says that there is nothing.
        let has_signed =
            |register, low| field(register, low) != 0xf && constants.contains(register);
        let if_so = |so: bool, bits: u64| if so { bits } else { 0 };
        let dit = if_so(has(Register::ID_AA64PFR0_EL1, 48), DIT);
        let pan = if_so(has(Register::ID_AA64MMFR1_EL1, 20), PAN);
        let ssbs = has(Register::ID_AA64PFR1_EL1, 4);
        let branch_targets = has(Register::ID_AA64PFR1_EL1, 0);
        let memory_tags = has(Register::ID_AA64PFR1_EL1, 8);
        let authentication = [4, 8, 24, 28]
            .iter()
            .any(|low| has(Register::ID_AA64ISAR1_EL1, *low))
            || [8, 12]
                .iter()
                .any(|low| has(Register::ID_AA64ISAR2_EL1, *low));
        let state_of_32_bit = STATE_OF_32_BIT | dit | pan | if_so(ssbs, SSBS_OF_32_BIT);
        Self {
            state: STATE
                | dit
                | pan
                | if_so(has(Register::ID_AA64MMFR2_EL1, 4), UAO)
                | if_so(ssbs, SSBS)
                | if_so(branch_targets, BRANCH_TYPE)
                | if_so(memory_tags, TAG_CHECK_OVERRIDE)
                | if_so(has(Register::ID_AA64PFR1_EL1, 36), ALL_INTERRUPTS),
            state_of_32_bit: (field(Register::ID_AA64PFR0_EL1, 0) == 2).then_some(state_of_32_bit),
            control: CONTROL
                | if_so(authentication, CONTROL_OF_AUTHENTICATION)
                | if_so(branch_targets, CONTROL_OF_BRANCH_TARGETS)
                | if_so(memory_tags, CONTROL_OF_TAGS)
                | if_so(ssbs, CONTROL_OF_SSBS),
            memory_tags,
            vectors: has(Register::ID_AA64PFR0_EL1, 32),
            matrices: has(Register::ID_AA64PFR1_EL1, 24),
            half_precision: has_signed(Register::ID_AA64PFR0_EL1, 16)
                && has(Register::ID_AA64PFR0_EL1, 16),
            wide_counters: has_signed(Register::ID_AA64DFR0_EL1, 8)
                && field(Register::ID_AA64DFR0_EL1, 8) >= 6,
        }
    }

    /// Drops from a record what this processor has not, and the guest does not rely on: `PSTATE.SSBS`. Linux sets it for every
    /// program (`arch/arm64/kernel/proton-pack.c`, `spectre_v4_enable_task_mitigation`), whether or not there is such a bit:
    /// where there is none it is ignored (RES0), and a guest that came from there to a core that has it comes back with it.
    /// Without it, loads are not speculated past stores: slower, and never wrong.
    pub fn adopt(&self, record: &mut VcpusRecordV4) {
        if record.baseline.constants.is_empty() {
            return;
        }
        let guest = Self::of(&record.baseline.constants);
        for vcpu in &mut record.vcpus {
            let Some(state) = vcpu.registers.word(Register::PSTATE) else {
                continue;
            };
            let bit = match state & MODE {
                USER => SSBS_OF_32_BIT,
                _ => SSBS,
            };
            let dropped = bit & guest.wrong_state(state) & self.wrong_state(state);
            if dropped != 0 {
                // It has room: it was there.
                let _ = vcpu.registers.set_word(Register::PSTATE, state & !dropped);
            }
        }
    }

    /// Whether a guest on this processor could have all of a record's registers.
    ///
    /// # Errors
    ///
    /// The first register that it could not have.
    pub fn check(&self, record: &VcpusRecordV4) -> Result<(), Illegal> {
        for (vcpu, described) in record.vcpus.iter().enumerate() {
            for (register, value) in described.registers.iter() {
                let value = low(value);
                let bits = self.impossible(vcpu, register, value, &described.registers);
                refuse_if(bits, vcpu, register, value)?;
            }
            if let PowerV1::OnPending { entry, .. } = described.power {
                refuse_if(entry & 3, vcpu, Register::PC, entry)?;
            }
        }
        Ok(())
    }

    /// Whether an operator may give a register of these another value.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn check_change(
        &self,
        vcpu: usize,
        register: Register,
        value: u128,
        registers: &RegisterFile,
    ) -> Result<(), Illegal> {
        let (before, value) = (low(registers.get(register).unwrap_or(0)), low(value));
        let impossible = self.impossible(vcpu, register, value, registers);
        let undefined = value & !before & !self.defined(register, value);
        let constant = (value ^ before) & self.constant(register);
        if register == Register::PSTATE {
            let counter = registers.word(Register::PC).unwrap_or(0);
            let there = out_of_place(counter, value);
            refuse_if(there, vcpu, Register::PC, counter)?;
        }
        refuse_if(impossible | undefined | constant, vcpu, register, value)
    }

    /// The bits that no core like this one has for any guest.
    fn impossible(&self, vcpu: usize, register: Register, value: u64, all: &RegisterFile) -> u64 {
        match rule(register).0 {
            Rule::Bits(_, kept) => value & !kept,
            Rule::Pc => out_of_place(value, all.word(Register::PSTATE).unwrap_or(0)),
            Rule::State => self.wrong_state(value),
            Rule::Control => value & CONTROL_OF_TAGS & !self.control,
            Rule::Cache => value & !(0xf | self.if_tags(1 << 4)),
            Rule::FloatingPointControl => value & !0x07ff_9f00,
            Rule::Lock => value & !0xa,
            Rule::MonitorControl => value & 0b110,
            Rule::Counters => value & !counters(all),
            Rule::Identity => value ^ (1 << 31 | vcpu as u64),
            Rule::Any
            | Rule::Saved
            | Rule::Implementation
            | Rule::Access
            | Rule::EventCounter
            | Rule::Constant => 0,
        }
    }

    /// The bits that the architecture defines.
    fn defined(&self, register: Register, value: u64) -> u64 {
        match rule(register).0 {
            Rule::Bits(defined, _) => defined,
            Rule::Saved => !self.wrong_state(value),
            Rule::Control => self.control,
            Rule::Implementation => 0,
            // There is no level 7.
            Rule::Cache if value >> 1 & 7 == 7 => 0,
            Rule::Access if self.vectors && self.matrices => 0x1333_0000,
            Rule::Access if self.vectors => 0x1033_0000,
            Rule::Access if self.matrices => 0x1330_0000,
            Rule::Access => 0x1030_0000,
            Rule::FloatingPointControl if self.half_precision => 0x07c8_0000,
            Rule::FloatingPointControl => 0x07c0_0000,
            Rule::MonitorControl => 0xffff_fbf9,
            Rule::EventCounter if !self.wide_counters => 0xffff_ffff,
            _ => u64::MAX,
        }
    }

    /// The bits that are as the board has them.
    fn constant(&self, register: Register) -> u64 {
        match rule(register).0 {
            // IMP, IDCODE and N.
            Rule::MonitorControl => 0xffff_f800,
            // OSLM.
            Rule::Lock => 1 << 3,
            Rule::Identity | Rule::Constant => u64::MAX,
            _ => 0,
        }
    }

    const fn if_tags(&self, bits: u64) -> u64 {
        if self.memory_tags { bits } else { 0 }
    }

    /// The bits of a `PSTATE` that a guest cannot be in.
    const fn wrong_state(&self, value: u64) -> u64 {
        let beyond = match (value & MODE, self.state_of_32_bit) {
            // EL0t, EL1t, EL1h.
            (0 | 4 | 5, _) => !(self.state | MODE),
            (USER, Some(state)) => !(state | MODE),
            // No mode of a guest's: another exception level or execution state.
            _ => !self.state,
        };
        value & beyond
    }
}

/// The bits of a program counter that cannot be there in this state.
const fn out_of_place(value: u64, state: u64) -> u64 {
    match state & MODE {
        USER if state & THUMB == 0 => value & !0xffff_fffc,
        USER => value & !0xffff_fffe,
        // What is not aligned faults at the guest's own vector.
        _ => 0,
    }
}

/// One bit for each counter of a performance monitor, as its control says; all that there can be if that is not there.
fn counters(all: &RegisterFile) -> u64 {
    let number = all
        .word(Register::PMCR_EL0)
        .map_or(31, |control| control >> 11 & 0x1f);
    ((1 << number) - 1) | 1 << 31
}

/// Whether an operator may give a register of a timer another value.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_timer_change(
    record: &TimerRecordV1,
    vcpu: usize,
    register: Register,
    value: u128,
) -> Result<(), Illegal> {
    let (before, value) = (record.register(vcpu, register).unwrap_or(0), low(value));
    match rule(register).0 {
        Rule::Bits(defined, _) => refuse_if(value & !before & !defined, vcpu, register, value),
        _ => Ok(()),
    }
}

const fn refuse_if(bits: u64, vcpu: usize, register: Register, value: u64) -> Result<(), Illegal> {
    if bits == 0 {
        return Ok(());
    }
    Err(Illegal {
        vcpu,
        register,
        value,
        bits,
    })
}

/// The low 64 bits: of wider registers any value is legal.
const fn low(value: u128) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the rest is legal")]
    let low = value as u64;
    low
}
