// SPDX-License-Identifier: BSD-2-Clause
//! The system description: which domains there are, what each may touch, and whom it may call.
//!
//! Responsible for: reading the part of Microkit 2.3.0's format that Godwit uses, refusing what Microkit's tool would
//! refuse, and naming file, line and element of whatever is wrong. Never: decides a physical address, and never
//! accepts an element or an attribute that it does not act upon: whoever writes one means something by it.
//!
//! Numbers here come from the Microkit manual ("System description file") and from the tool's own limits.

mod check;
mod element;
mod parse;
#[cfg(test)]
mod tests;

pub use check::overlap;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// The smaller page size, in bytes.
pub const PAGE: u64 = 0x1000;
/// The larger page size, in bytes.
pub const LARGE_PAGE: u64 = 0x20_0000;
/// Highest identifier of a channel, an interrupt or a vCPU: a badge has 64 bits, and two are taken.
pub const MAX_ID: u64 = 61;
/// Highest priority of a domain; 255 is Microkit's monitor.
pub const MAX_PRIORITY: u64 = 254;
/// Most domains that Microkit supports.
pub const MAX_DOMAINS: usize = 63;
/// Budget and period in microseconds of whoever names none.
pub const DEFAULT_BUDGET: u64 = 1000;
/// Stack of a domain that names no size, in bytes.
pub const DEFAULT_STACK: u64 = 0x2000;
/// Largest stack, in bytes.
pub const MAX_STACK: u64 = 16 << 20;
/// End of user addresses on AArch64 with stage-2 translation and 40-bit physical addresses (`seL4_UserVSpaceTop + 1`).
pub const USER_TOP: u64 = 1 << 40;
/// Where each domain finds its IPC buffer: the last page of its address space.
pub const IPC_BUFFER: u64 = USER_TOP - PAGE;
/// End of each domain's stack: a guard page below the IPC buffer.
pub const STACK_TOP: u64 = IPC_BUFFER - PAGE;

/// What prefilled regions hold, by the path that the description names.
pub type Prefill = BTreeMap<String, Vec<u8>>;

/// A position in the description, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// The whole description.
#[derive(Clone, Debug)]
pub struct System {
    /// Memory, in the order of the description.
    pub regions: Vec<Region>,
    /// Protection domains, in the order of the description.
    pub domains: Vec<Domain>,
    /// Who may call or notify whom.
    pub channels: Vec<Channel>,
}

/// A piece of memory or of a device.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its name.
    pub name: String,
    /// Bytes, a multiple of the page size.
    pub size: u64,
    /// Bytes a page: [`PAGE`] or [`LARGE_PAGE`].
    pub page_size: u64,
    /// Physical address, if the description fixes one.
    pub phys_addr: Option<u64>,
    /// What it holds at start; the rest is zero.
    pub prefill: Option<Vec<u8>>,
    /// Whether some domain asks for its physical address, which must then be one piece of memory.
    pub contiguous: bool,
    /// Where the description declares it.
    pub position: Position,
}

/// What a mapping allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Fetch instructions.
    pub execute: bool,
}

impl fmt::Display for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (allowed, letter) in [(self.read, "r"), (self.write, "w"), (self.execute, "x")] {
            formatter.write_str(if allowed { letter } else { "-" })?;
        }
        Ok(())
    }
}

/// A region in an address space.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Index into [`System::regions`].
    pub region: usize,
    /// First address: virtual in a domain, an IPA in a virtual machine.
    pub vaddr: u64,
    /// What it allows.
    pub rights: Rights,
    /// Normal cacheable memory, or device memory.
    pub cached: bool,
    /// Where the description declares it.
    pub position: Position,
}

/// How an interrupt is signalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// As long as the line is high.
    Level,
    /// By its rising edge.
    Edge,
}

/// An interrupt that a domain handles.
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// The domain's identifier for it, shared with its channels.
    pub id: u8,
    /// INTID at the board's interrupt controller.
    pub intid: u32,
    /// How it is signalled.
    pub trigger: Trigger,
    /// Where the description declares it.
    pub position: Position,
}

/// A value that the image builder writes into a domain's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Known already: an address of a mapping or an identifier.
    Number(u64),
    /// Size in bytes of a region, by its index.
    Size(usize),
    /// Bytes that a region is prefilled with, by its index.
    PrefillSize(usize),
    /// Physical address of a region, by its index.
    PhysicalAddress(usize),
}

/// A symbol of a domain's program and what to write there.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Name of an eight-byte symbol.
    pub symbol: String,
    /// What to write.
    pub value: Value,
}

/// Priority and share of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// 0 (lowest) to 254.
    pub priority: u8,
    /// Microseconds a period.
    pub budget: u64,
    /// Microseconds.
    pub period: u64,
}

/// A protection domain.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Priority and share.
    pub scheduling: Scheduling,
    /// Runs on its callers' time only, once it has initialised.
    pub passive: bool,
    /// May call the firmware.
    pub firmware: bool,
    /// May use floating-point registers.
    pub fpu: bool,
    /// Bytes of stack.
    pub stack_size: u64,
    /// File name of its program.
    pub program: String,
    /// What it may touch.
    pub mappings: Vec<Mapping>,
    /// Interrupts that it handles.
    pub interrupts: Vec<Interrupt>,
    /// What to write into its program.
    pub variables: Vec<Variable>,
    /// The virtual machine that it runs.
    pub machine: Option<VirtualMachine>,
    /// Where the description declares it.
    pub position: Position,
}

impl Domain {
    /// First address of its stack.
    #[must_use]
    pub const fn stack_bottom(&self) -> u64 {
        STACK_TOP - self.stack_size
    }

    /// Its mappings and those of its virtual machine.
    pub fn all_mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings
            .iter()
            .chain(self.machine.iter().flat_map(|machine| &machine.mappings))
    }

    /// Bit mask of its interrupts' identifiers.
    #[must_use]
    pub fn interrupt_mask(&self) -> u64 {
        self.interrupts
            .iter()
            .fold(0, |mask, interrupt| mask | 1 << interrupt.id)
    }
}

/// A virtual machine: vCPUs that share one stage 2.
#[derive(Clone, Debug)]
pub struct VirtualMachine {
    /// Its name.
    pub name: String,
    /// Priority and share of each vCPU.
    pub scheduling: Scheduling,
    /// Identifiers of its vCPUs, in the order of the description.
    pub vcpus: Vec<u8>,
    /// What its stage 2 holds.
    pub mappings: Vec<Mapping>,
}

/// One end of a channel.
#[derive(Clone, Debug)]
pub struct End {
    /// Index into [`System::domains`].
    pub domain: usize,
    /// The domain's identifier for the channel.
    pub id: u8,
    /// This end may notify the other.
    pub notify: bool,
    /// This end may call the other.
    pub call: bool,
}

/// Two domains that may notify or call each other.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Both ends, in the order of the description.
    pub ends: [End; 2],
    /// Where the description declares it.
    pub position: Position,
}

impl Channel {
    /// Each end together with the opposite one.
    pub fn directions(&self) -> [(&End, &End); 2] {
        let [first, second] = &self.ends;
        [(first, second), (second, first)]
    }
}

impl System {
    /// Reads and checks a description. `file` is its name for messages.
    ///
    /// # Errors
    ///
    /// The first thing wrong, with its place.
    pub fn parse(file: &str, xml: &str, prefill: &Prefill) -> Result<Self, SystemError> {
        let system = parse::parse(file, xml, prefill)?;
        check::check(file, &system)?;
        Ok(system)
    }

    /// A region by name.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.name == name)
    }

    /// A domain by name.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.name == name)
    }

    /// Bit masks of the channels that a domain may notify, and of those that it may call.
    #[must_use]
    pub fn channel_masks(&self, domain: usize) -> (u64, u64) {
        self.ends_of(domain)
            .fold((0, 0), |(notify, call), (end, _)| {
                (
                    notify | u64::from(end.notify) << end.id,
                    call | u64::from(end.call) << end.id,
                )
            })
    }

    /// A domain's ends of its channels, each with the opposite end.
    pub fn ends_of(&self, domain: usize) -> impl Iterator<Item = (&End, &End)> {
        self.channels
            .iter()
            .flat_map(Channel::directions)
            .filter(move |(end, _)| end.domain == domain)
    }

    /// Whether a domain receives calls or faults, and so waits at an endpoint instead of at its notification.
    #[must_use]
    pub fn has_endpoint(&self, domain: usize) -> bool {
        self.domains[domain].machine.is_some() || self.ends_of(domain).any(|(_, other)| other.call)
    }
}

/// What is wrong with a description, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}:{}: <{element}>: {kind}", position.line, position.column)]
pub struct SystemError {
    /// Name of the description.
    pub file: String,
    /// Where.
    pub position: Position,
    /// Name of the element that is wrong.
    pub element: String,
    /// What is wrong with it.
    pub kind: Box<SystemErrorKind>,
}

/// What is wrong with an element.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SystemErrorKind {
    /// Not well-formed.
    #[error("not XML: {0}")]
    Xml(roxmltree::Error),
    /// Not an element that may stand here.
    #[error("unknown element")]
    UnknownElement,
    /// Microkit knows it, Godwit's system has none.
    #[error("Microkit knows this, Godwit's image builder does not")]
    Unsupported,
    /// Text where only elements may stand.
    #[error("unexpected text")]
    Text,
    /// Not an attribute of this element.
    #[error("unknown attribute '{0}'")]
    UnknownAttribute(String),
    /// A required attribute is absent.
    #[error("attribute '{0}' is missing")]
    MissingAttribute(&'static str),
    /// A required child is absent.
    #[error("needs a <{0}>")]
    MissingElement(&'static str),
    /// A child that may stand once stands twice.
    #[error("only one <{0}> is possible")]
    Repeated(&'static str),
    /// An attribute has a value that it cannot have.
    #[error("{attribute}=\"{value}\": expected {expected}")]
    Value {
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        value: String,
        /// What it could be.
        expected: &'static str,
    },
    /// A number is out of range.
    #[error("{attribute} is {value:#x}, must be within {low:#x} and {high:#x}")]
    Range {
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        value: u64,
        /// Lowest that it may be.
        low: u64,
        /// Highest that it may be.
        high: u64,
    },
    /// A number is not a multiple of what it must be.
    #[error("{attribute} is {value:#x}, must be a multiple of {unit:#x}")]
    Alignment {
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        value: u64,
        /// What it must be a multiple of.
        unit: u64,
    },
    /// The budget does not fit its period.
    #[error("budget of {budget} us exceeds the period of {period} us")]
    Budget {
        /// Microseconds.
        budget: u64,
        /// Microseconds.
        period: u64,
    },
    /// Something is declared twice.
    #[error("duplicate {what} '{name}'")]
    Duplicate {
        /// What kind of thing.
        what: &'static str,
        /// Its name or number.
        name: String,
    },
    /// Something is named that does not exist.
    #[error("there is no {what} '{name}'")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Nobody gave the content of a prefilled region.
    #[error("nothing to prefill from '{0}'")]
    Prefill(String),
    /// The content of a prefilled region does not fit.
    #[error("'{path}' has {length:#x} bytes, the region {size:#x}")]
    PrefillSize {
        /// What it is filled from.
        path: String,
        /// Bytes.
        length: u64,
        /// Bytes.
        size: u64,
    },
    /// Two things share addresses.
    #[error("'{name}' at {:#x}..{:#x} overlaps '{other}' at {:#x}..{:#x} in {space}",
        range.start, range.end, other_range.start, other_range.end)]
    Overlap {
        /// One of them.
        name: String,
        /// Its addresses.
        range: Range<u64>,
        /// The other.
        other: String,
        /// Its addresses.
        other_range: Range<u64>,
        /// In which address space.
        space: String,
    },
    /// A mapping leaves its address space.
    #[error(
        "'{name}' at {start:#x} with {size:#x} bytes exceeds the address space of {space}, which ends at {end:#x}"
    )]
    AddressSpace {
        /// The region.
        name: String,
        /// First address.
        start: u64,
        /// Bytes.
        size: u64,
        /// Which address space.
        space: String,
        /// First address that does not belong to it.
        end: u64,
    },
    /// A call could wait for somebody who waits for the caller.
    #[error(
        "'{caller}' ({caller_priority}) calls '{callee}' ({callee_priority}): calls must go to a higher priority"
    )]
    CallDownwards {
        /// Who calls.
        caller: String,
        /// Its priority.
        caller_priority: u8,
        /// Who is called.
        callee: String,
        /// Its priority.
        callee_priority: u8,
    },
    /// A virtual machine as urgent as its monitor keeps it from running (with several vCPUs: for good).
    #[error(
        "virtual machine '{machine}' ({machine_priority}) must have a lower priority than its domain ({priority})"
    )]
    MachinePriority {
        /// The virtual machine.
        machine: String,
        /// Its priority.
        machine_priority: u8,
        /// Its domain's priority.
        priority: u8,
    },
    /// A region that nobody maps: Microkit warns, and it is always a mistake.
    #[error("region '{0}' is never mapped")]
    Unused(String),
}
