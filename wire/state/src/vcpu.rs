// SPDX-License-Identifier: BSD-2-Clause
//! The record of `vmm-pd`: the vCPUs, the console device, and the clock.
//!
//! Responsible for: what a vCPU is while it is paused. Never: its interrupts (`vgic-pd`'s record) or its timer
//! (`timer-pd`'s).

use crate::record::{Kind, Record, RecordError, sealed};
use crate::register::{Class, Policy, Register};
use crate::{BaselineV1, ClockRecordV1, ConsoleRecordV2, MAX_VCPUS, RegisterFile};
use hang::translate::Regime;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// What `vmm-pd` exports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VcpusRecordV4 {
    /// The vCPUs in the order of their numbers, which are their `MPIDR_EL1.Aff0`.
    pub vcpus: Vec<VcpuV1, MAX_VCPUS>,
    /// The console device, with what waits to be read and to be sent.
    pub console: ConsoleRecordV2,
    /// The identity of the guest bundle that the guest was started from; zero if it is not known. Only a board that has
    /// that bundle starts the guest again.
    pub bundle: u64,
    /// The clock of the day.
    pub clock: ClockRecordV1,
    /// What the guest may rely on of its processor, wherever it goes.
    pub baseline: BaselineV1,
}

/// One vCPU.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VcpuV1 {
    /// Whether it runs, as PSCI sees it (DEN 0022).
    pub power: PowerV1,
    /// It waits for an interrupt: the program counter is past the `WFI`, which may end at any time.
    pub waiting: bool,
    /// An exception that it has still to take.
    pub pending_exception: PendingExceptionV1,
    /// Its registers; none if it is off, apart from what it was last.
    pub registers: RegisterFile,
}

/// Whether a vCPU runs (DEN 0022, `AFFINITY_INFO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "PowerWire", try_from = "PowerWire")]
pub enum PowerV1 {
    /// Off.
    #[default]
    Off,
    /// `CPU_ON` was accepted for it, and it has not executed an instruction since.
    OnPending {
        /// Where it is to start, an IPA.
        entry: u64,
        /// What it is to find in `x0`.
        context: u64,
    },
    /// On.
    On,
}

/// An exception that a vCPU has still to take.
///
/// `vmm-pd` injects synchronous exceptions by changing registers at once, and the kernel offers no virtual SError:
/// nothing can be pending. The place in the record says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum PendingExceptionV1 {
    /// None.
    #[default]
    None,
}

/// A power state as bytes: a number that never changes its meaning, entry point, context.
type PowerWire = (u8, u64, u64);

impl From<PowerV1> for PowerWire {
    fn from(power: PowerV1) -> Self {
        match power {
            PowerV1::Off => (0, 0, 0),
            PowerV1::On => (1, 0, 0),
            PowerV1::OnPending { entry, context } => (2, entry, context),
        }
    }
}

impl TryFrom<PowerWire> for PowerV1 {
    type Error = &'static str;

    fn try_from(wire: PowerWire) -> Result<Self, &'static str> {
        match wire {
            (0, 0, 0) => Ok(Self::Off),
            (1, 0, 0) => Ok(Self::On),
            (2, entry, context) => Ok(Self::OnPending { entry, context }),
            _ => Err("power state"),
        }
    }
}

impl From<PendingExceptionV1> for u8 {
    fn from(PendingExceptionV1::None: PendingExceptionV1) -> Self {
        0
    }
}

impl TryFrom<u8> for PendingExceptionV1 {
    type Error = &'static str;

    fn try_from(wire: u8) -> Result<Self, &'static str> {
        match wire {
            0 => Ok(Self::None),
            _ => Err("pending exception"),
        }
    }
}

impl VcpuV1 {
    /// Gives a register that was captured another value. False, and nothing changed, if it was not, if a restore does not
    /// write it, if it belongs into another record, or if the value is too wide.
    #[must_use]
    pub fn amend(&mut self, register: Register, value: u128) -> bool {
        self.takes(register, value) && self.registers.set(register, value)
    }

    /// Whether [`Self::amend`] would give a register this value.
    pub fn takes(&self, register: Register, value: u128) -> bool {
        let state = register.policy() == Policy::Write && register.class() != Class::Timer;
        state && self.registers.contains(register) && register.width().holds(value)
    }

    /// What says whether it hangs; None of one that is off.
    pub fn hang_registers(&self) -> Option<hang::Registers> {
        let word = |register| self.registers.word(register);
        let regime = Regime {
            control: word(Register::SCTLR_EL1)?,
            translation_control: word(Register::TCR_EL1)?,
            tables: [word(Register::TTBR0_EL1)?, word(Register::TTBR1_EL1)?],
        };
        (self.power == PowerV1::On).then_some(hang::Registers {
            program_counter: word(Register::PC)?,
            state: word(Register::PSTATE)?,
            vectors: word(Register::VBAR_EL1)?,
            return_address: word(Register::ELR_EL1)?,
            saved_state: word(Register::SPSR_EL1)?,
            syndrome: word(Register::ESR_EL1)?,
            regime,
        })
    }

    /// Whether it has every register that a vCPU has on any board; one that is off has none.
    pub fn is_complete(&self) -> bool {
        let everywhere = |register: &Register| {
            let own = matches!(
                register.class(),
                Class::Core | Class::System | Class::FloatingPoint
            );
            own && register.policy() == Policy::Write
        };
        let mut needed = Register::ALL.into_iter().filter(everywhere);
        self.power != PowerV1::On || needed.all(|register| self.registers.contains(register))
    }

    fn check(&self) -> Result<(), RecordError> {
        if let Some(defect) = self.registers.defect() {
            return Err(defect.into());
        }
        for (register, _) in self.registers.iter() {
            let identity = register == Register::MPIDR_EL1;
            let state = register.policy() == Policy::Write && register.class() != Class::Timer;
            if !identity && !state {
                return Err(RecordError::Misplaced {
                    register: register.name(),
                });
            }
        }
        Ok(())
    }
}

impl sealed::Sealed for VcpusRecordV4 {}

impl Record for VcpusRecordV4 {
    const KIND: Kind = Kind::Vcpus;
    const VERSION: u16 = 4;

    fn check(&self) -> Result<(), RecordError> {
        if self.vcpus.is_empty() {
            return Err(RecordError::Range {
                field: "vcpus",
                value: 0,
            });
        }
        self.vcpus.iter().try_for_each(VcpuV1::check)?;
        self.console.device.check()?;
        self.baseline.check()
    }

    /// Version 2 added what waits at the console, and the bundle; 3 the clock; 4 the baseline.
    fn added_since(version: u16) -> Option<usize> {
        const BASELINE: usize = 3;
        const CLOCK: usize = 6;
        const WAITING_AND_BUNDLE: usize = 3;
        match version {
            1 => Some(WAITING_AND_BUNDLE + CLOCK + BASELINE),
            2 => Some(CLOCK + BASELINE),
            3 => Some(BASELINE),
            _ => None,
        }
    }

    /// Nothing waits, no bundle is known, the clock begins in 1970 and nobody knows what the guest was started on.
    fn upgrade(self, version: u16) -> Option<Self> {
        let nothing_waits = self.console.unsent.is_empty() && self.console.waiting.is_empty();
        let as_then = self.baseline == BaselineV1::default()
            && (version >= 3 || self.clock == ClockRecordV1::default())
            && (version >= 2 || nothing_waits && self.bundle == 0);
        as_then.then_some(self)
    }
}
