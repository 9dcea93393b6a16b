// SPDX-License-Identifier: BSD-2-Clause
//! Why an image is refused.

/// A table of the boot description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Domains.
    Domains,
    /// VMs.
    Vms,
    /// vCPUs.
    Vcpus,
    /// Mappings.
    Mappings,
    /// Capabilities.
    Capabilities,
    /// Loads.
    Loads,
}

impl core::fmt::Display for Table {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Domains => "domain",
            Self::Vms => "VM",
            Self::Vcpus => "vCPU",
            Self::Mappings => "mapping",
            Self::Capabilities => "capability",
            Self::Loads => "load",
        })
    }
}

/// Why an image is refused. All of them are mistakes of the builder or damage on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is no boot description behind the kernel.
    #[error("no boot description behind the kernel")]
    NoDescription,
    /// Written by another version of the builder.
    #[error("layout version {found}, this kernel reads version {expected}", expected = crate::layout::VERSION)]
    Version {
        /// The header's version.
        found: u32,
    },
    /// The lengths and counts in the header contradict each other or the memory that is there.
    #[error("the boot description is cut short")]
    Truncated,
    /// The tables are damaged.
    #[error("the tables' checksum is {found:#010x}, not {expected:#010x}")]
    TablesChecksum {
        /// Computed.
        found: u32,
        /// In the header.
        expected: u32,
    },
    /// The payload is damaged.
    #[error("the payload's checksum is {found:#010x}, not {expected:#010x}")]
    PayloadChecksum {
        /// Computed.
        found: u32,
        /// In the header.
        expected: u32,
    },
    /// The range of RAM or the pool makes no sense, or they leave the machine's memory.
    #[error("the RAM or pool range is not inside the machine's memory, or touches the image")]
    Ranges,
    /// More entries than this kernel has room for.
    #[error("{found} {table} entries, at most {limit}")]
    TooMany {
        /// In which table.
        table: Table,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A field has a value that means nothing.
    #[error("{table} {index}: {field} has no meaning")]
    Invalid {
        /// In which table.
        table: Table,
        /// Which entry.
        index: usize,
        /// Which field.
        field: &'static str,
    },
    /// An address or length is not page aligned, is empty, or leaves its range.
    #[error("{table} {index}: {field} {value:#x} is out of range or not page aligned")]
    Address {
        /// In which table.
        table: Table,
        /// Which entry.
        index: usize,
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// An entry refers to one that does not exist.
    #[error("{table} {index}: {field} refers to entry {target}, which does not exist")]
    NoSuchEntry {
        /// In which table.
        table: Table,
        /// Which entry.
        index: usize,
        /// Which field.
        field: &'static str,
        /// The entry it names.
        target: usize,
    },
    /// Two entries claim the same thing.
    #[error("{table} {index} claims what {table} {other} has already: {field}")]
    Conflict {
        /// In which table.
        table: Table,
        /// The later entry.
        index: usize,
        /// The earlier entry.
        other: usize,
        /// What both claim.
        field: &'static str,
    },
    /// An entry reaches for memory or devices of the kernel.
    #[error("{table} {index} reaches for the kernel: {value:#x}")]
    KernelOnly {
        /// In which table.
        table: Table,
        /// Which entry.
        index: usize,
        /// The address or INTID.
        value: u64,
    },
}
