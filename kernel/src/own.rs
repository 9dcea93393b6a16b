// SPDX-License-Identifier: BSD-2-Clause
//! Registers of a virtual CPU that seL4's object for it does not have.
//!
//! Responsible for what the kernel keeps of them: cache selection always; self-hosted debug and the performance monitor
//! with the feature `guest-debug`, in a kernel for a guest that is trusted with them. Without it they trap, and there is
//! nothing to keep. Must never leave debug state or counters of a guest in force while domains run.

use register_table::register_table;

/// The values of a virtual CPU's registers that seL4's object lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRegisters {
    /// `CSSELR_EL1`.
    pub cache_selection: u64,
    /// What takes effect: read when the guest is left, put back when it is entered.
    #[cfg(feature = "guest-debug")]
    pub switches: Switches,
    /// Every other register of the classes `Debug` and `Pmu`, by its row in the register table.
    #[cfg(feature = "guest-debug")]
    pub debug: [u64; ROWS],
}

impl OwnRegisters {
    /// As after a reset.
    pub const INITIAL: Self = Self {
        cache_selection: 0,
        #[cfg(feature = "guest-debug")]
        switches: Switches::INITIAL,
        #[cfg(feature = "guest-debug")]
        debug: [0; ROWS],
    };
}

/// What switches debug exceptions and counters on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// `MDSCR_EL1`.
    pub control: u64,
    /// `OSLSR_EL1.OSLK`.
    pub lock: u64,
    /// `PMCR_EL0`.
    pub monitor: u64,
    /// `PMUSERENR_EL0`.
    pub user: u64,
}

impl Switches {
    /// As after a reset.
    pub const INITIAL: Self = Self {
        control: 0,
        lock: 1,
        monitor: 0,
        user: 0,
    };
}

macro_rules! count {
    ([] $($class:ident $source:ident $policy:ident $reason:literal {
        $($name:ident $kind:ident $identifier:tt;)*
    })*) => {
        [$($(stringify!($name),)*)*].len()
    };
}

/// How many rows the register table has.
pub const ROWS: usize = register_table!(count);
