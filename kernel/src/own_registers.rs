// SPDX-License-Identifier: BSD-2-Clause
//! Registers of a virtual CPU that seL4's object for it does not have: reading and writing them.
//!
//! Responsible for [`OwnRegisters`] in the processor, generated from the register table. Must never have a guest's debug
//! state or counters in force when it is not the guest that runs.

use kernel::own::OwnRegisters;

use crate::registers::{read_register, write_register};

/// Saves what stays loaded while domains run.
pub(crate) fn save(own: &mut OwnRegisters) {
    own.cache_selection = read_register!("csselr_el1");
    #[cfg(feature = "guest-debug")]
    debug::save(&mut own.debug);
}

/// Loads it.
pub(crate) fn load(own: &OwnRegisters) {
    // SAFETY: selects what a guest's next read of CCSIDR_EL1 shows.
    unsafe { write_register!("csselr_el1", own.cache_selection) }
    #[cfg(feature = "guest-debug")]
    debug::load(&own.debug);
}

#[cfg(feature = "guest-debug")]
pub(crate) use debug::{arm, disarm};

#[cfg(feature = "guest-debug")]
mod debug {
    use kernel::own::{ROWS, Switches};
    use register_table::{instruction_name, register_table};

    use crate::registers::{read_register, synchronise, write_register};

    /// `PMCR_EL0.{E, P, C}`: enable; the others reset counters when they are written, and read as zero.
    const MONITOR_ENABLE_AND_RESET: u64 = 0b111;
    /// `MDSCR_EL1.TDCC`: the debug communications channel is closed to EL0.
    const CHANNEL_CLOSED: u64 = 1 << 12;

    /// A register of the classes `Debug` and `Pmu` that switches nothing on by itself.
    struct Row {
        source: &'static str,
        /// `op0, op1, CRn, CRm, op2`.
        encoding: [u8; 5],
        read: fn() -> u64,
        write: fn(u64),
    }

    macro_rules! rows {
        ([] $($class:ident $source:ident $policy:ident $reason:literal {
            $($name:ident $kind:ident $identifier:tt;)*
        })*) => {
            [$($(row!($name $class $source $kind $identifier),)*)*]
        };
    }

    // rustfmt moves a macro within a macro further to the right each time.
    #[rustfmt::skip]
    macro_rules! row {
        (MDSCR_EL1 $class:ident $source:ident $kind:ident $identifier:tt) => { None };
        (OSLSR_EL1 $class:ident $source:ident $kind:ident $identifier:tt) => { None };
        (PMCR_EL0 $class:ident $source:ident $kind:ident $identifier:tt) => { None };
        (PMUSERENR_EL0 $class:ident $source:ident $kind:ident $identifier:tt) => { None };
        ($name:ident Debug $source:ident $kind:ident $identifier:tt) => { row!($source $kind $identifier) };
        ($name:ident Pmu $source:ident $kind:ident $identifier:tt) => { row!($source $kind $identifier) };
        ($name:ident $class:ident $source:ident $kind:ident $identifier:tt) => { None };
        ($source:ident system($($field:literal),*)) => {
            Some(Row {
                source: stringify!($source),
                encoding: [$($field),*],
                read: || read_register!(instruction_name!(system($($field),*))),
                // SAFETY: of these registers nothing takes effect while the OS lock is set and the monitor is off.
                write: |value| unsafe { write_register!(instruction_name!(system($($field),*)), value) },
            })
        };
    }

    static TABLE: [Option<Row>; ROWS] = register_table!(rows);

    impl Row {
        /// Whether the processor has it. One that it lacks is undefined at EL2 as well.
        fn is_there(&self) -> bool {
            let [_, _, _, place, last] = self.encoding.map(u64::from);
            let features = read_register!("id_aa64dfr0_el1");
            match self.source {
                "StubBreakpoints" => place <= features >> 12 & 0xf,
                "StubWatchpoints" => place <= features >> 20 & 0xf,
                "StubPmu" => has_monitor(),
                // Counter n has `CRm` 8 or 12 with n / 8, and `op2` n % 8.
                "StubCounters" => {
                    has_monitor()
                        && 8 * (place & 3) + last < read_register!("pmcr_el0") >> 11 & 0x1f
                }
                _ => true,
            }
        }
    }

    /// `ID_AA64DFR0_EL1.PMUVer`: zero is none, all ones is none that the architecture defines.
    fn has_monitor() -> bool {
        !matches!(read_register!("id_aa64dfr0_el1") >> 8 & 0xf, 0 | 0xf)
    }

    pub(super) fn save(values: &mut [u64; ROWS]) {
        for (value, row) in values.iter_mut().zip(&TABLE) {
            if let Some(row) = row.as_ref().filter(|row| row.is_there()) {
                *value = (row.read)();
            }
        }
    }

    pub(super) fn load(values: &[u64; ROWS]) {
        if has_monitor() {
            // SAFETY: the monitor is off. Of what these hold a write only sets more.
            unsafe {
                write_register!("pmcntenclr_el0", u64::MAX);
                write_register!("pmovsclr_el0", u64::MAX);
                write_register!("pmintenclr_el1", u64::MAX);
            }
        }
        for (value, row) in values.iter().zip(&TABLE) {
            if let Some(row) = row.as_ref().filter(|row| row.is_there()) {
                (row.write)(*value);
            }
        }
    }

    /// Takes what the guest has switched on out of force: no debug exception, nothing counts, and EL0 reads no counter.
    pub(crate) fn disarm(switches: &mut Switches) {
        switches.control = read_register!("mdscr_el1");
        switches.lock = read_register!("oslsr_el1") >> 1 & 1;
        // SAFETY: the guest's own; while the lock is set, none of its debug exceptions happens.
        unsafe {
            write_register!("oslar_el1", 1);
            synchronise();
            write_register!("mdscr_el1", CHANNEL_CLOSED);
        }
        if has_monitor() {
            switches.monitor = read_register!("pmcr_el0");
            switches.user = read_register!("pmuserenr_el0");
            // SAFETY: the guest's own.
            unsafe {
                write_register!("pmcr_el0", switches.monitor & !MONITOR_ENABLE_AND_RESET);
                write_register!("pmuserenr_el0", 0);
            }
        }
        synchronise();
    }

    /// Puts it back into force, for the guest that is about to run.
    pub(crate) fn arm(switches: &Switches) {
        if has_monitor() {
            let resets = MONITOR_ENABLE_AND_RESET & !1;
            // SAFETY: the guest's own.
            unsafe {
                write_register!("pmuserenr_el0", switches.user);
                write_register!("pmcr_el0", switches.monitor & !resets);
            }
        }
        // SAFETY: the guest's own. The kernel runs with debug exceptions masked.
        unsafe {
            // All of it can be written while the lock is set (DDI 0487, D24.3.20).
            write_register!("mdscr_el1", switches.control);
            synchronise();
            write_register!("oslar_el1", switches.lock);
        }
        synchronise();
    }
}
