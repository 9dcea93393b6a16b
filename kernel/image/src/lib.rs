// SPDX-License-Identifier: BSD-2-Clause
//! The image format of the embedded kernel: what its loader maps and grants.
//!
//! Responsible for the layout of the *boot description*, for writing it on the host
//! (`builder`) and for reading and checking it in the kernel ([`Description`]). Must never
//! decide policy: every physical address, capability and priority is chosen by the host's builder
//! from `system.xml`; the kernel only refuses what contradicts itself or reaches for the kernel.
//!
//! # The file
//!
//! ```text
//! KERNEL_BASE (0x7000_0000)  kernel, flat: entry at offset 0, .bss and stack included
//! __image_end (4 KiB aligned) header | domains | VMs | vCPUs | mappings | capabilities | loads
//! + payload_offset (4 KiB aligned) payload: the bytes that the load entries copy
//! ```
//!
//! It is loaded with `-device loader,file=IMAGE,addr=0x70000000,cpu-num=0`; nothing of it is
//! relocated. To make the kernel flat, place each `PT_LOAD` segment of its ELF file at
//! `p_paddr - KERNEL_BASE`, fill with zeros up to the highest `p_paddr + p_memsz`, and round up to
//! 4 KiB: that is the linker symbol `__image_end`, where the kernel looks for the header.
//!
//! All integers are little endian and every table is an array of fixed-size entries in the order
//! above, directly after the header, so that an entry's place follows from the counts alone.
//!
//! # What the kernel does with it
//!
//! 1. check both checksums and every rule in [`Description::check`], and stop with a message on
//!    the console if one does not hold;
//! 2. for every load entry, copy its bytes from the payload and fill the rest with zeros. Memory
//!    that no load entry names keeps what it held: give every region of RAM an entry;
//! 3. build a stage 2 for every domain and VM from the mappings, out of the *pool*, a range of RAM
//!    that the builder reserves for the kernel
//!    (`ImageBuilder::pool_length` says how much; its first [`KERNEL_TABLES`] pages are
//!    for the kernel itself);
//! 4. fill each domain's capability space: its input at slot 1 (an endpoint if it has a VM, a child
//!    or somebody's protected call, else its notification), the endpoint of its parent at 2, its
//!    address space at 3, its reply object at 4, the monitor's endpoint at 5 if it is passive; then
//!    the capabilities listed here;
//! 5. start every domain at its entry point. Threads of VMs wait for their owner.
#![cfg_attr(not(any(test, feature = "builder")), no_std)]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "builder"))]
pub mod builder;
mod check;
mod description;
mod error;
pub mod layout;
mod types;

pub use check::MachineLimits;
pub use description::Description;
pub use error::{ImageError, Table};
pub use types::{
    Capability, Domain, Load, Mapping, Object, Parent, Rights, Space, Trigger, Vcpu, Vm,
};

/// Where the kernel is linked and the image is loaded: the load address of Microkit's
/// `qemu_virt_aarch64` board, so that one QEMU command line serves both kernels.
pub const KERNEL_BASE: u64 = 0x7000_0000;

/// The granule of every address and length here: AArch64's smallest translation granule.
pub const PAGE_SIZE: u64 = 4096;

/// The size that the kernel maps with one block descriptor where addresses permit.
pub const BLOCK_SIZE: u64 = 0x20_0000;

/// First address above a domain's or VM's address space: 40 bits, as on seL4 for a Cortex-A53.
pub const ADDRESS_SPACE_END: u64 = 1 << 40;

/// Pages at the start of the pool that hold the kernel's own translation tables.
pub const KERNEL_TABLES: usize = 8;

/// Longest name of a domain or VM, in bytes: its field also holds a terminating zero.
pub const MAXIMUM_NAME: usize = layout::NAME_LENGTH - 1;

/// Least budget in microseconds: twice the kernel's worst case, which is 10 on seL4's
/// `qemu_virt_aarch64` (`KERNEL_WCET`, `MIN_BUDGET_US`).
pub const MINIMUM_BUDGET: u64 = 20;

/// Most domains in an image: the size of the kernel's table of them.
pub const MAXIMUM_DOMAINS: usize = 16;

/// Most VMs in an image.
pub const MAXIMUM_VMS: usize = 4;

/// Most vCPUs in an image, over all VMs.
pub const MAXIMUM_VCPUS: usize = 16;

/// First capability slots of Microkit's layout, and the number of slots in each range.
pub mod slot {
    use sel4_sys::microkit;

    /// Slots in a domain's capability space (Microkit's `PD_CAP_SIZE`).
    pub const COUNT: usize = 512;
    /// Channel, child and vCPU identifiers are below this.
    pub const IDENTIFIERS: u32 = number(microkit::MAX_CHANNELS as u64);
    /// Where a domain receives.
    pub const INPUT: u32 = number(microkit::INPUT_SLOT);
    /// The capability to the fault handler's endpoint.
    pub const FAULT_ENDPOINT: u32 = number(microkit::FAULT_ENDPOINT_SLOT);
    /// The domain's own address space.
    pub const ADDRESS_SPACE: u32 = number(microkit::VSPACE_SLOT);
    /// The reply object.
    pub const REPLY: u32 = number(microkit::REPLY_SLOT);
    /// The monitor's endpoint, in passive domains.
    pub const MONITOR: u32 = number(microkit::MONITOR_ENDPOINT_SLOT);
    /// What channels notify with.
    pub const NOTIFICATIONS: u32 = number(microkit::NOTIFICATION_BASE_SLOT);
    /// What channels call with.
    pub const ENDPOINTS: u32 = number(microkit::ENDPOINT_BASE_SLOT);
    /// Interrupts.
    pub const INTERRUPTS: u32 = number(microkit::IRQ_BASE_SLOT);
    /// Children's threads.
    pub const CHILDREN: u32 = number(microkit::TCB_BASE_SLOT);
    /// vCPUs' threads.
    pub const VM_THREADS: u32 = number(microkit::VM_TCB_BASE_SLOT);
    /// vCPUs.
    pub const VCPUS: u32 = number(microkit::VCPU_BASE_SLOT);

    /// A slot as images have it.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "checked in the line before"
    )]
    const fn number(slot: u64) -> u32 {
        assert!(slot < COUNT as u64);
        slot as u32
    }
}

#[cfg(test)]
mod tests;
