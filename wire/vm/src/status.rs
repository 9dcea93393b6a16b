// SPDX-License-Identifier: BSD-2-Clause
//! What is said of a machine as a whole.

use core::fmt;

use crate::codes;

codes! {
    /// What the machine is doing.
    pub enum Phase {
        /// `vmm-pd` reads this board's constants through the capture stub; soon another phase.
        Starting = 0,
        /// No guest; ready to receive one.
        Empty = 1,
        /// The guest runs.
        Running = 2,
        /// On the way to [`Self::Stopped`].
        Stopping = 3,
        /// All vCPUs are paused, captured; time is frozen; records can be exported.
        Stopped = 4,
        /// On the way to [`Self::Running`].
        Resuming = 5,
        /// The guest switched itself off (PSCI `SYSTEM_OFF`).
        Off = 6,
        /// The guest was stopped for a fault; `Status::detail` says which.
        Failed = 7,
        /// Records were imported; `Request::Resume` starts the guest.
        Imported = 8,
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Starting => "starting",
            Self::Empty => "not there",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "paused",
            Self::Resuming => "resuming",
            Self::Off => "off",
            Self::Failed => "stopped for a fault",
            Self::Imported => "arrived and not started",
        })
    }
}

codes! {
    /// Why a guest was stopped ([`Phase::Failed`]).
    pub enum Failure {
        /// No failure.
        None = 0,
        /// The guest bundle is not one or does not fit this machine.
        BadBundle = 1,
        /// The kernel refused an invocation on a vCPU or its thread.
        Kernel = 2,
        /// `vgic-pd` or `timer-pd` gave a malformed reply.
        PeerDomain = 3,
        /// The capture stub did not come back as it should.
        Capture = 4,
        /// The guest asked for a reset and there is no bundle here to start it from.
        NoBundle = 5,
        /// A fault that no guest can cause on this kernel.
        UnexpectedFault = 6,
        /// The guest is promised what this board's processor lacks; the detail is the register's identifier, or 0 if it is the
        /// core itself that the guest is not told of.
        Promise = 7,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "no fault",
            Self::BadBundle => "the guest bundle is not one or does not fit this machine",
            Self::Kernel => "the kernel refused an invocation on one of its vCPUs",
            Self::PeerDomain => "vgic-pd or timer-pd gave a malformed reply",
            Self::Capture => "the capture stub did not come back as it should",
            Self::NoBundle => "it asked for a reset, and what it starts from is not on this board",
            Self::UnexpectedFault => "it caused a fault that no guest should be able to cause",
            Self::Promise => {
                "its image promises what this board's processor lacks, or leaves that processor out"
            }
        })
    }
}

/// Why `vmm-pd` refuses a request that it understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// Not in this phase.
    WrongPhase = 1,
    /// The record to import is not one, or does not fit this machine.
    BadRecord = 2,
    /// The register was not captured, or is not for writing, or the value is too wide for it.
    BadRegister = 3,
    /// A register cannot have that value; the answer says which and why (`Message::illegal_value`).
    IllegalValue = 4,
    /// The guest has firmware, and what this board starts a guest from is not that guest's.
    NoFirmware = 5,
}

/// Exits since start, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// SMC: PSCI and SMCCC calls.
    pub smc: u64,
    /// Stage-2 aborts on the console.
    pub console: u64,
    /// Stage-2 aborts on the distributor.
    pub distributor: u64,
    /// Other stage-2 aborts.
    pub other_aborts: u64,
    /// WFI and WFE.
    pub wait: u64,
    /// Virtual timer events.
    pub timer: u64,
    /// Ends of interrupts.
    pub maintenance: u64,
    /// System register traps and everything else.
    pub other: u64,
}

impl Statistics {
    /// All exits.
    pub fn all(&self) -> u64 {
        self.words().iter().sum()
    }

    /// The counters in the order of the fields.
    pub const fn words(&self) -> [u64; 8] {
        [
            self.smc,
            self.console,
            self.distributor,
            self.other_aborts,
            self.wait,
            self.timer,
            self.maintenance,
            self.other,
        ]
    }

    /// The inverse of [`Self::words`].
    pub const fn from_words(words: [u64; 8]) -> Self {
        let [
            smc,
            console,
            distributor,
            other_aborts,
            wait,
            timer,
            maintenance,
            other,
        ] = words;
        Self {
            smc,
            console,
            distributor,
            other_aborts,
            wait,
            timer,
            maintenance,
            other,
        }
    }
}
