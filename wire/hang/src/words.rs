// SPDX-License-Identifier: BSD-2-Clause
//! What a vCPU hangs in, for people.
//!
//! Exception classes: DDI 0487, table D24-18; of system registers, `op1` says whose they are (D23.1, and C5.1.3 for
//! instructions).

use core::fmt::{Display, Formatter, Result};

use crate::{Hang, Taken};

impl Display for Hang {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        match self {
            Self::Loop { at, after } => {
                write!(
                    formatter,
                    "endless loop at {at:#x}, with all interrupts masked"
                )?;
                after.map_or(Ok(()), |taken| {
                    write!(formatter, "; it is the vector of an exception: {taken}")
                })
            }
            Self::Vector { taken, first } => {
                write!(
                    formatter,
                    "takes the same exception over and over, from its own vector: {taken}"
                )?;
                first.map_or(Ok(()), |first| {
                    write!(formatter, "; the first was: {first}")
                })
            }
        }
    }
}

impl Display for Taken {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> Result {
        let (at, class) = (self.at, self.syndrome >> 26 & 0x3f);
        match class_name(class) {
            Some(name) => write!(formatter, "{name} at {at:#x}")?,
            None => write!(formatter, "exception of class {class:#x} at {at:#x}")?,
        }
        let Some(word) = self.instruction.filter(|_| class == UNDEFINED) else {
            return Ok(());
        };
        write!(formatter, " ({word:#010x}")?;
        if let Some(wants) = wants(word) {
            write!(formatter, ": {wants}")?;
        }
        formatter.write_str(")")
    }
}

/// `ESR_ELx.EC` of an instruction that is undefined.
const UNDEFINED: u64 = 0;

const fn class_name(class: u64) -> Option<&'static str> {
    Some(match class {
        UNDEFINED => "undefined instruction",
        0x07 => "vector instruction while they are off",
        0x0e => {
            "illegal execution state, as after a return to an exception level that is not there,"
        }
        0x15 => "SVC",
        0x18 => "system register access that is trapped",
        0x20 | 0x21 => "instruction abort",
        0x22 => "misaligned program counter",
        0x24 | 0x25 => "data abort",
        0x26 => "misaligned stack pointer",
        0x2f => "SError",
        0x3c => "BRK",
        _ => return None,
    })
}

/// What a guest wanted with an instruction that is undefined here.
const fn wants(word: u32) -> Option<&'static str> {
    if word == 0 {
        return Some("memory that is zero");
    }
    if word & 0xffe0_001f == 0xd400_0002 {
        return Some("HVC, which is not answered here");
    }
    // MSR, MRS, SYS: op1 is 4 or 5 for EL2, and 6 for EL3.
    let is_system = word & 0xffc0_0000 == 0xd500_0000 && word >> 19 & 0b11 != 0;
    match word >> 16 & 0b111 {
        4 | 5 if is_system => Some("EL2 is asked for, and guests run at EL1"),
        6 if is_system => Some("EL3 is asked for, and guests run at EL1"),
        _ => None,
    }
}
