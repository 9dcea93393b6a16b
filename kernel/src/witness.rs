// SPDX-License-Identifier: BSD-2-Clause
//! What the processor holds of a guest, for a test to compare with what the domains make of it.
//!
//! Only in a kernel that is built with the feature `witness`, which no image has but that of the test: seL4 cannot read
//! most of these registers, and no domain may. Responsible for reading the registers themselves, when a guest is left
//! and before anything is saved, and the virtual interface control registers when its thread is suspended, and for
//! printing both. Must never read what the kernel or a domain has saved: it would then bear witness for itself.

use core::fmt::Write;

use kernel::machine::FloatingPoint;
use register_table::{instruction_name, register_table};

use crate::console::Console;
use crate::floating_point;
use crate::gic::Gic;
use crate::registers::read_register;

/// A register of the table that is state and that an instruction of EL2 can read.
struct Row {
    name: &'static str,
    source: &'static str,
    /// `op0, op1, CRn, CRm, op2`.
    encoding: [u8; 5],
    read: fn() -> u64,
}

macro_rules! rows {
    ([] $($class:ident $source:ident $policy:ident $reason:literal {
        $($name:ident $kind:ident $identifier:tt;)*
    })*) => {
        [$($(row!($name $source $policy $kind $identifier),)*)*]
    };
}

macro_rules! row {
    (SP_EL1 $source:ident Write core $identifier:tt) => {
        Some(Row {
            name: "SP_EL1",
            source: stringify!($source),
            encoding: [3, 4, 4, 1, 0],
            read: || read_register!("sp_el1"),
        })
    };
    ($name:ident $source:ident Write core $identifier:tt) => { None };
    ($name:ident $source:ident Write vector $identifier:tt) => { None };
    ($name:ident $source:ident Write $kind:ident $identifier:tt) => {
        Some(Row {
            name: stringify!($name),
            source: stringify!($source),
            encoding: encoding!($kind $identifier),
            read: || {
                // Zero for one that is not there and does not trap: it leaves the instruction's target as it was.
                let value: u64;
                // SAFETY: reading the register has no side effects and touches no memory.
                unsafe {
                    core::arch::asm!(
                        concat!("mrs {}, ", instruction_name!($kind $identifier)),
                        inout(reg) 0_u64 => value,
                        options(nomem, nostack, preserves_flags),
                    );
                }
                value
            },
        })
    };
    ($name:ident $source:ident $policy:ident $kind:ident $identifier:tt) => { None };
}

macro_rules! encoding {
    (system($($field:literal),*)) => { [$($field),*] };
    (alias($($known:literal),*; $($field:literal),*)) => { [$($field),*] };
    ($kind:ident($offset:literal, $($field:literal),*)) => { [$($field),*] };
}

static ROWS: [Option<Row>; COUNT] = register_table!(rows);

macro_rules! count {
    ([] $($class:ident $source:ident $policy:ident $reason:literal {
        $($name:ident $kind:ident $identifier:tt;)*
    })*) => {
        [$($(stringify!($name),)*)*].len()
    };
}

const COUNT: usize = register_table!(count);

impl Row {
    /// Whether the processor has it. One that it lacks is undefined at EL2 as well.
    fn is_there(&self) -> bool {
        let [_, _, _, place, last] = self.encoding.map(u64::from);
        let debug = read_register!("id_aa64dfr0_el1");
        match self.source {
            "StubBreakpoints" => place <= debug >> 12 & 0xf,
            "StubWatchpoints" => place <= debug >> 20 & 0xf,
            // Counter n has `CRm` 8 or 12 with n / 8, and `op2` n % 8.
            "StubCounters" => 8 * (place & 3) + last < read_register!("pmcr_el0") >> 11 & 0x1f,
            _ => true,
        }
    }
}

/// What the last guest left in the processor.
pub(crate) struct Witness {
    values: [u64; COUNT],
    /// Where it was: tells a guest from the capture stub, which runs in the same way.
    program_counter: u64,
    vectors: FloatingPoint,
}

impl Witness {
    pub(crate) const fn new() -> Self {
        Self {
            values: [0; COUNT],
            program_counter: 0,
            vectors: FloatingPoint::ZERO,
        }
    }

    /// A guest is about to be left: nothing is saved yet, and its FP registers do not trap.
    pub(crate) fn look(&mut self) {
        for (value, row) in self.values.iter_mut().zip(&ROWS) {
            if let Some(row) = row.as_ref().filter(|row| row.is_there()) {
                *value = (row.read)();
            }
        }
        self.program_counter = read_register!("elr_el2");
        floating_point::save(&mut self.vectors);
    }

    /// Its thread is suspended: what was seen then, and what the list registers are now. A line each.
    pub(crate) fn tell(&self, gic: &mut Gic, console: &mut Console) {
        // The console's write never fails.
        let mut line = |name: core::fmt::Arguments<'_>, value: u128| {
            let _ = writeln!(console, "witness: {name}={value:#x}");
        };
        for (value, row) in self.values.iter().zip(&ROWS) {
            if let Some(row) = row.as_ref().filter(|row| row.is_there()) {
                line(format_args!("{}", row.name), (*value).into());
            }
        }
        line(format_args!("PC"), self.program_counter.into());
        for (number, [low, high]) in self.vectors.vectors.into_iter().enumerate() {
            let value = u128::from(low) | u128::from(high) << 64;
            line(format_args!("V{number}"), value);
        }
        let (control, active_priorities) = gic.interface_state();
        line(format_args!("GICH_VMCR"), control.into());
        line(format_args!("GICH_APR"), active_priorities.into());
        for index in 0..gic.list_registers() {
            let value = gic.list_register(index);
            line(format_args!("GICH_LR{index}"), value.into());
        }
        let _ = writeln!(console, "witness: end");
    }
}
