// SPDX-License-Identifier: BSD-2-Clause
//! The boot description byte for byte.
//!
//! Responsible for the layout only; nothing here is checked. Fields have the meaning of the types
//! of the same name in the crate's root. An entry that changes its layout changes [`VERSION`].

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header's first bytes.
pub const MAGIC: [u8; 8] = *b"GODWITK\0";

/// The version of this layout.
pub const VERSION: u32 = 1;

/// Bytes of a name field: Microkit's `MICROKIT_PD_NAME_LENGTH`.
pub const NAME_LENGTH: usize = 64;

/// A domain that has no parent.
pub const NO_PARENT: u32 = u32::MAX;

/// [`DomainEntry::flags`]: runs on its callers' time once it has initialised.
pub const DOMAIN_PASSIVE: u32 = 1 << 0;
/// [`DomainEntry::flags`]: may use FP and SIMD registers.
pub const DOMAIN_FPU: u32 = 1 << 1;

/// [`MappingEntry::space_kind`]: `space` is a domain's index.
pub const SPACE_DOMAIN: u32 = 0;
/// [`MappingEntry::space_kind`]: `space` is a VM's index.
pub const SPACE_VM: u32 = 1;

/// [`MappingEntry::flags`]: readable.
pub const MAPPING_READ: u32 = 1 << 0;
/// [`MappingEntry::flags`]: writable.
pub const MAPPING_WRITE: u32 = 1 << 1;
/// [`MappingEntry::flags`]: executable.
pub const MAPPING_EXECUTE: u32 = 1 << 2;
/// [`MappingEntry::flags`]: normal write-back memory; without it, Device-nGnRnE.
pub const MAPPING_CACHED: u32 = 1 << 3;

/// [`CapabilityEntry::kind`]: `target` is a domain's index.
pub const CAPABILITY_NOTIFICATION: u32 = 1;
/// [`CapabilityEntry::kind`]: `target` is a domain's index.
pub const CAPABILITY_ENDPOINT: u32 = 2;
/// [`CapabilityEntry::kind`]: `target` is an INTID, `detail` a trigger.
pub const CAPABILITY_INTERRUPT: u32 = 3;
/// [`CapabilityEntry::kind`]: `target` is a domain's index.
pub const CAPABILITY_CHILD: u32 = 4;
/// [`CapabilityEntry::kind`]: `target` is a vCPU's index.
pub const CAPABILITY_VM_THREAD: u32 = 5;
/// [`CapabilityEntry::kind`]: `target` is a vCPU's index.
pub const CAPABILITY_VCPU: u32 = 6;

/// [`CapabilityEntry::detail`] of an interrupt: level triggered.
pub const TRIGGER_LEVEL: u32 = 0;
/// [`CapabilityEntry::detail`] of an interrupt: edge triggered.
pub const TRIGGER_EDGE: u32 = 1;

/// The start of the boot description.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// Number of [`DomainEntry`].
    pub domains: U32,
    /// Number of [`VmEntry`].
    pub vms: U32,
    /// Number of [`VcpuEntry`].
    pub vcpus: U32,
    /// Number of [`MappingEntry`].
    pub mappings: U32,
    /// Number of [`CapabilityEntry`].
    pub capabilities: U32,
    /// Number of [`LoadEntry`].
    pub loads: U32,
    /// Zero.
    pub reserved: U32,
    /// Bytes from the header's start to the payload's end.
    pub total_length: U64,
    /// Bytes from the header's start to the payload's start; a multiple of the page size.
    pub payload_offset: U64,
    /// First physical address of the RAM that the image may use.
    pub ram_start: U64,
    /// First physical address above it.
    pub ram_end: U64,
    /// First physical address of the kernel's pool for translation tables.
    pub pool_start: U64,
    /// First physical address above it.
    pub pool_end: U64,
    /// CRC-32 (ISO-HDLC) of the payload.
    pub payload_crc: U32,
    /// CRC-32 (ISO-HDLC) of this header up to this field, followed by the tables.
    pub tables_crc: U32,
}

/// A protection domain.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DomainEntry {
    /// UTF-8, filled up with zeros.
    pub name: [u8; NAME_LENGTH],
    /// 0 to 254.
    pub priority: U32,
    /// `DOMAIN_*`.
    pub flags: U32,
    /// Microseconds in each period.
    pub budget: U64,
    /// Microseconds.
    pub period: U64,
    /// Virtual address.
    pub entry: U64,
    /// Virtual address.
    pub stack_top: U64,
    /// Virtual address of a page.
    pub ipc_buffer: U64,
    /// Physical address of the same page.
    pub ipc_buffer_physical: U64,
    /// Index of the parent, or [`NO_PARENT`].
    pub parent: U32,
    /// The parent's identifier for this child.
    pub child: U32,
}

/// A virtual machine.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VmEntry {
    /// UTF-8, filled up with zeros.
    pub name: [u8; NAME_LENGTH],
    /// Index of the domain that manages it.
    pub owner: U32,
    /// Zero.
    pub reserved: U32,
}

/// A virtual CPU and the thread that runs it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VcpuEntry {
    /// Index of its VM.
    pub vm: U32,
    /// The owner's identifier for it.
    pub id: U32,
    /// 0 to 254.
    pub priority: U32,
    /// Zero.
    pub reserved: U32,
    /// Microseconds in each period.
    pub budget: U64,
    /// Microseconds.
    pub period: U64,
}

/// Memory in an address space.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MappingEntry {
    /// `SPACE_*`.
    pub space_kind: U32,
    /// Index of the domain or VM.
    pub space: U32,
    /// Virtual address in a domain, intermediate physical address in a VM.
    pub address: U64,
    /// Physical address.
    pub physical: U64,
    /// Bytes.
    pub length: U64,
    /// `MAPPING_*`.
    pub flags: U32,
    /// Zero.
    pub reserved: U32,
}

/// A capability in a domain's capability space.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CapabilityEntry {
    /// Index of the domain.
    pub owner: U32,
    /// Slot in its capability space.
    pub slot: U32,
    /// `CAPABILITY_*`.
    pub kind: U32,
    /// What it refers to, by kind.
    pub target: U32,
    /// The badge that its use delivers; zero where the kind has none.
    pub badge: U64,
    /// By kind; zero where the kind needs none.
    pub detail: U32,
    /// Zero.
    pub reserved: U32,
}

/// Memory to be filled before anything runs.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LoadEntry {
    /// First physical address.
    pub physical: U64,
    /// Bytes to fill.
    pub length: U64,
    /// Offset in the payload of the bytes to copy.
    pub source: U64,
    /// Bytes to copy; the rest of `length` becomes zero.
    pub source_length: U64,
}
