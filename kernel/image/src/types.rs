// SPDX-License-Identifier: BSD-2-Clause
//! The boot description's entries as values.
//!
//! Responsible for the meaning of each entry, the same for the host that writes and the kernel that
//! reads. Must never know offsets or padding: that is `layout`.

/// A protection domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain<'a> {
    /// Its name in `system.xml`, for reports; at most [`crate::MAXIMUM_NAME`] bytes.
    pub name: &'a str,
    /// Scheduling priority, 0 (lowest) to 254.
    pub priority: u8,
    /// Runs on its callers' time once it has initialised.
    pub passive: bool,
    /// May use FP and SIMD registers.
    pub fpu: bool,
    /// Microseconds it may run in each period; equal to the period: no limit but round robin.
    pub budget: u64,
    /// Microseconds.
    pub period: u64,
    /// Virtual address of its first instruction.
    pub entry: u64,
    /// Initial stack pointer.
    pub stack_top: u64,
    /// Virtual address of its IPC buffer, one page, which must also be among its mappings.
    pub ipc_buffer: u64,
    /// Physical address of that page.
    pub ipc_buffer_physical: u64,
    /// The domain that handles its faults; without one, a fault stops it and is reported.
    pub parent: Option<Parent>,
}

/// Who handles a domain's faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's index.
    pub domain: usize,
    /// The parent's identifier for this child: arrives in the badge of a fault.
    pub child: u32,
}

/// A virtual machine: an address space that its vCPUs share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm<'a> {
    /// Its name in `system.xml`.
    pub name: &'a str,
    /// Index of the domain that manages it and receives its faults.
    pub owner: usize,
}

/// A virtual CPU and the thread that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu {
    /// Index of its VM.
    pub vm: usize,
    /// The owner's identifier for it: arrives in the badge of a fault.
    pub id: u32,
    /// Scheduling priority, 0 (lowest) to 254.
    pub priority: u8,
    /// Microseconds it may run in each period.
    pub budget: u64,
    /// Microseconds.
    pub period: u64,
}

/// An address space: the index of a domain or of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// A domain's, of virtual addresses.
    Domain(usize),
    /// A VM's, of intermediate physical addresses.
    Vm(usize),
}

/// What a mapping permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Loads.
    pub read: bool,
    /// Stores; seL4 has no write-only mapping, so it implies `read`.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

/// Memory in an address space. Addresses and length are multiples of the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where.
    pub space: Space,
    /// First virtual address in a domain, first intermediate physical address in a VM.
    pub address: u64,
    /// First physical address.
    pub physical: u64,
    /// Bytes.
    pub length: u64,
    /// What is permitted.
    pub rights: Rights,
    /// Normal write-back memory; otherwise Device-nGnRnE.
    pub cached: bool,
}

/// How an interrupt line signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// While the line is high.
    Level,
    /// When the line rises.
    Edge,
}

/// What a capability is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Signals a domain's notification.
    Notification {
        /// Index of the domain.
        domain: usize,
        /// One bit: 1 << the channel's identifier at the receiving end.
        badge: u64,
    },
    /// Calls a domain.
    Endpoint {
        /// Index of the domain.
        domain: usize,
        /// Bit 63, and the channel's identifier at the receiving end in the low six bits.
        badge: u64,
    },
    /// Acknowledges an interrupt that is delivered to the owner's notification.
    Interrupt {
        /// INTID, 16 to 1019.
        intid: u32,
        /// How it signals.
        trigger: Trigger,
        /// One bit: 1 << the owner's identifier for it.
        badge: u64,
    },
    /// Controls the thread of a child domain.
    Child {
        /// Index of the domain.
        domain: usize,
    },
    /// Controls the thread that runs a vCPU.
    VmThread {
        /// Index of the vCPU.
        vcpu: usize,
    },
    /// Controls a vCPU.
    Vcpu {
        /// Index of the vCPU.
        vcpu: usize,
    },
}

/// A capability in a domain's capability space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Index of the domain that holds it.
    pub owner: usize,
    /// Where, as Microkit lays capability spaces out ([`crate::slot`]).
    pub slot: u32,
    /// What for.
    pub object: Object,
}

/// Memory to be filled before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load<'a> {
    /// First physical address; a multiple of the page size.
    pub physical: u64,
    /// Bytes to fill, at least the bytes given; a multiple of the page size.
    pub length: u64,
    /// The bytes; what is left of `length` becomes zero.
    pub bytes: &'a [u8],
}
