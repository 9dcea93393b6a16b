// SPDX-License-Identifier: BSD-2-Clause
//! What the kernel tells the operator about a domain.
//!
//! Responsible for the wording: who, what and where, in one line. Must never be reached on a path
//! that a healthy system takes.

use core::fmt;

use crate::identifier::DomainId;
use crate::object::Fault;

/// What happened to a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It did something that it has no right to and does not run any more.
    Stopped {
        /// Which.
        domain: DomainId,
        /// What it did.
        fault: Fault,
        /// At which instruction.
        pc: u64,
    },
    /// It sent the monitor something that the monitor does not understand.
    UnknownRequest {
        /// Which.
        domain: DomainId,
        /// The message's label.
        label: u64,
    },
}

impl Report {
    /// The domain that it is about.
    #[must_use]
    pub fn domain(&self) -> DomainId {
        match *self {
            Self::Stopped { domain, .. } | Self::UnknownRequest { domain, .. } => domain,
        }
    }

    /// The report as a line of text, given the domain's name.
    #[must_use]
    pub fn line<'a>(&'a self, name: &'a str) -> Line<'a> {
        Line { report: self, name }
    }
}

/// A report as a line of text.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    report: &'a Report,
    name: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        write!(formatter, "godwit kernel: domain '{name}' ")?;
        match *self.report {
            Report::Stopped { fault, pc, .. } => {
                formatter.write_str("stopped: ")?;
                describe(formatter, &fault, pc)
            }
            Report::UnknownRequest { label, .. } => {
                write!(
                    formatter,
                    "sent the monitor a message with label {label:#x}"
                )
            }
        }
    }
}

fn describe(formatter: &mut fmt::Formatter<'_>, fault: &Fault, pc: u64) -> fmt::Result {
    match *fault {
        Fault::Memory {
            address,
            syndrome,
            fetch,
        } => {
            let (kind, access) = match (fetch, is_write(syndrome)) {
                (true, _) => ("instruction", "fetch from"),
                (false, true) => ("data", "write to"),
                (false, false) => ("data", "read from"),
            };
            let reason = reason(syndrome);
            write!(
                formatter,
                "{kind} abort, {access} {address:#x} at pc {pc:#x} ({reason})"
            )
        }
        Fault::Capability {
            address, receiving, ..
        } => {
            let phase = if receiving { "receive from" } else { "use of" };
            write!(
                formatter,
                "{phase} capability {address:#x} at pc {pc:#x} (it has none there)"
            )
        }
        Fault::UnknownSyscall { number } => {
            let number = number.cast_signed();
            write!(
                formatter,
                "system call {number} at pc {pc:#x} (there is none of that number)"
            )
        }
        Fault::UserException { syndrome } => {
            write!(
                formatter,
                "undefined instruction at pc {pc:#x} (syndrome {syndrome:#x})"
            )
        }
        Fault::Trap { syndrome } => {
            let class = class(syndrome);
            write!(formatter, "{class} at pc {pc:#x} (syndrome {syndrome:#x})")
        }
        Fault::Maintenance { .. } | Fault::PrivateInterrupt { .. } => {
            write!(formatter, "interrupt of a virtual CPU at pc {pc:#x}")
        }
    }
}

/// `ESR_EL2.ISS.WnR` of a data abort (DDI 0487, D17.2.37, "ISS encoding for an exception from a
/// Data Abort").
fn is_write(syndrome: u32) -> bool {
    syndrome & 1 << 6 != 0
}

/// `ESR_EL2.ISS.DFSC` or `IFSC` in words (the same section).
fn reason(syndrome: u32) -> &'static str {
    match syndrome & 0x3f {
        0x00..=0x03 => "address size",
        0x04..=0x07 => "not mapped",
        0x09..=0x0b => "access flag",
        0x0d..=0x0f => "not permitted",
        0x10 => "external abort",
        0x21 => "not aligned",
        _ => "other cause",
    }
}

/// `ESR_EL2.EC` in words, for the instructions that trap from EL0 (the same section).
fn class(syndrome: u32) -> &'static str {
    match syndrome >> 26 & 0x3f {
        0x01 => "wait for interrupt or event",
        0x07 => "floating-point or SIMD instruction",
        0x17 => "secure monitor call",
        0x18 => "system register access",
        0x22 => "misaligned pc",
        0x26 => "misaligned stack pointer",
        0x2c => "floating-point exception",
        0x3c => "breakpoint instruction",
        _ => "exception",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::LookupFailure;

    fn line(fault: Fault) -> String {
        let domain = DomainId::new(1).unwrap();
        Report::Stopped {
            domain,
            fault,
            pc: 0x20_0abc,
        }
        .line("vgic_pd")
        .to_string()
    }

    #[test]
    fn a_report_names_domain_address_and_cause() {
        let fault = Fault::Memory {
            address: 0x12_3000,
            syndrome: 0x9200_0046,
            fetch: false,
        };
        assert_eq!(
            line(fault),
            "godwit kernel: domain 'vgic_pd' stopped: data abort, write to 0x123000 \
             at pc 0x200abc (not mapped)"
        );
        let fault = Fault::Memory {
            address: 0x1000,
            syndrome: 0x8200_000f,
            fetch: true,
        };
        assert!(line(fault).contains("instruction abort, fetch from 0x1000"));
        assert!(line(fault).ends_with("(not permitted)"));
    }

    #[test]
    fn a_report_of_a_missing_capability_names_its_address() {
        let failure = LookupFailure::MissingCapability;
        let fault = Fault::Capability {
            address: 74,
            receiving: false,
            failure,
        };
        assert!(line(fault).contains("use of capability 0x4a at pc 0x200abc"));
    }

    #[test]
    fn a_report_of_an_unknown_system_call_names_its_number() {
        let fault = Fault::UnknownSyscall {
            number: u64::MAX - 98,
        };
        assert!(line(fault).contains("system call -99"));
    }
}
