// SPDX-License-Identifier: BSD-2-Clause
//! Writing an image on the host.
//!
//! Responsible for the layout and the checksums; applies the kernel's own checks to the result, so
//! that no image leaves the host that the kernel would refuse. Must never choose an address, a
//! priority or a capability.

use core::ops::Range;
use std::vec::Vec;

use zerocopy::{Immutable, IntoBytes};

use crate::check::MachineLimits;
use crate::description::{Description, checksum, checksummed};
use crate::error::{ImageError, Table};
use crate::layout::{
    self, CapabilityEntry, DomainEntry, Header, LoadEntry, MappingEntry, NAME_LENGTH, VcpuEntry,
    VmEntry,
};
use crate::types::{Capability, Domain, Mapping, Object, Space, Trigger, Vcpu, Vm};
use crate::{BLOCK_SIZE, KERNEL_BASE, KERNEL_TABLES, MAXIMUM_NAME, PAGE_SIZE};

/// [`PAGE_SIZE`] as lengths of byte vectors have it.
const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_SIZE);

/// Collects the entries of a boot description and writes the image.
///
/// Entries refer to each other by index: each `add_*` that has one returns it, in order from zero.
/// References may point forward; [`Self::finish`] checks them.
#[derive(Clone, Debug, Default)]
pub struct ImageBuilder {
    domains: Vec<DomainEntry>,
    vms: Vec<VmEntry>,
    vcpus: Vec<VcpuEntry>,
    mappings: Vec<Mapping>,
    capabilities: Vec<CapabilityEntry>,
    loads: Vec<LoadEntry>,
    payload: Vec<u8>,
}

impl ImageBuilder {
    /// An image without domains.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a domain and returns its index.
    ///
    /// # Errors
    ///
    /// [`ImageError::Invalid`] for a name that does not fit.
    pub fn add_domain(&mut self, domain: &Domain<'_>) -> Result<usize, ImageError> {
        let index = self.domains.len();
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        self.domains.push(DomainEntry {
            name: name(Table::Domains, index, domain.name)?,
            priority: u32::from(domain.priority).into(),
            flags: (flag(domain.passive, layout::DOMAIN_PASSIVE)
                | flag(domain.fpu, layout::DOMAIN_FPU))
            .into(),
            budget: domain.budget.into(),
            period: domain.period.into(),
            entry: domain.entry.into(),
            stack_top: domain.stack_top.into(),
            ipc_buffer: domain.ipc_buffer.into(),
            ipc_buffer_physical: domain.ipc_buffer_physical.into(),
            parent: domain
                .parent
                .map_or(layout::NO_PARENT, |parent| index_field(parent.domain))
                .into(),
            child: domain.parent.map_or(0, |parent| parent.child).into(),
        });
        Ok(index)
    }

    /// Adds a VM and returns its index.
    ///
    /// # Errors
    ///
    /// [`ImageError::Invalid`] for a name that does not fit.
    pub fn add_vm(&mut self, vm: &Vm<'_>) -> Result<usize, ImageError> {
        let index = self.vms.len();
        self.vms.push(VmEntry {
            name: name(Table::Vms, index, vm.name)?,
            owner: index_field(vm.owner).into(),
            reserved: 0.into(),
        });
        Ok(index)
    }

    /// Adds a vCPU and returns its index.
    pub fn add_vcpu(&mut self, vcpu: &Vcpu) -> usize {
        self.vcpus.push(VcpuEntry {
            vm: index_field(vcpu.vm).into(),
            id: vcpu.id.into(),
            priority: u32::from(vcpu.priority).into(),
            reserved: 0.into(),
            budget: vcpu.budget.into(),
            period: vcpu.period.into(),
        });
        self.vcpus.len() - 1
    }

    /// Adds memory to an address space.
    pub fn add_mapping(&mut self, mapping: &Mapping) {
        self.mappings.push(*mapping);
    }

    /// Adds a capability to a domain's capability space.
    pub fn add_capability(&mut self, capability: &Capability) {
        let (kind, target, badge, detail) = match capability.object {
            Object::Notification { domain, badge } => (
                layout::CAPABILITY_NOTIFICATION,
                index_field(domain),
                badge,
                0,
            ),
            Object::Endpoint { domain, badge } => {
                (layout::CAPABILITY_ENDPOINT, index_field(domain), badge, 0)
            }
            Object::Interrupt {
                intid,
                trigger,
                badge,
            } => {
                let trigger = match trigger {
                    Trigger::Level => layout::TRIGGER_LEVEL,
                    Trigger::Edge => layout::TRIGGER_EDGE,
                };
                (layout::CAPABILITY_INTERRUPT, intid, badge, trigger)
            }
            Object::Child { domain } => (layout::CAPABILITY_CHILD, index_field(domain), 0, 0),
            Object::VmThread { vcpu } => (layout::CAPABILITY_VM_THREAD, index_field(vcpu), 0, 0),
            Object::Vcpu { vcpu } => (layout::CAPABILITY_VCPU, index_field(vcpu), 0, 0),
        };
        self.capabilities.push(CapabilityEntry {
            owner: index_field(capability.owner).into(),
            slot: capability.slot.into(),
            kind: kind.into(),
            target: target.into(),
            badge: badge.into(),
            detail: detail.into(),
            reserved: 0.into(),
        });
    }

    /// Has the kernel fill `length` bytes of memory with `bytes` and then zeros.
    ///
    /// Trailing zeros of `bytes` take no space in the image.
    pub fn add_load(&mut self, physical: u64, length: u64, bytes: &[u8]) {
        let used = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        // Aligned, so that the kernel copies whole words.
        self.payload
            .resize(self.payload.len().next_multiple_of(16), 0);
        let source = self.payload.len();
        self.payload.extend_from_slice(&bytes[..used]);
        self.loads.push(LoadEntry {
            physical: physical.into(),
            length: length.into(),
            source: (source as u64).into(),
            source_length: (used as u64).into(),
        });
    }

    /// Bytes that the pool must have: the kernel's own tables, and one for every part of an address
    /// space that the mappings added so far touch. An upper bound, a multiple of the page size.
    #[must_use]
    pub fn pool_length(&self) -> u64 {
        let spaces = (self.domains.len() + self.vms.len()) as u64;
        // Two concatenated level 1 tables a space, and one page so that they can be aligned.
        let roots = spaces * 2 + 1;
        let mut tables: Vec<(bool, usize, u32, u64)> = Vec::new();
        for mapping in &self.mappings {
            let (vm, index) = match mapping.space {
                Space::Domain(index) => (false, index),
                Space::Vm(index) => (true, index),
            };
            let last = mapping
                .address
                .saturating_add(mapping.length.saturating_sub(1));
            for shift in [30, 21] {
                for table in mapping.address >> shift..=last >> shift {
                    let block = table << shift;
                    let whole = shift == 21
                        && (mapping.address ^ mapping.physical).is_multiple_of(BLOCK_SIZE)
                        && mapping.address <= block
                        && block + (BLOCK_SIZE - 1) <= last;
                    if !whole {
                        tables.push((vm, index, shift, table));
                    }
                }
            }
        }
        tables.sort_unstable();
        tables.dedup();
        (KERNEL_TABLES as u64 + roots + tables.len() as u64) * PAGE_SIZE
    }

    /// Bytes that the finished image will have, so that memory can be placed around it.
    #[must_use]
    pub fn image_length(&self, kernel: &[u8]) -> u64 {
        let length = self.description_offset(kernel) + self.payload_offset() + self.payload.len();
        (length as u64).next_multiple_of(PAGE_SIZE)
    }

    /// Writes the image for QEMU's `virt` machine: `kernel`, made flat as the crate describes,
    /// followed by the boot description.
    ///
    /// `ram` is the memory that the mappings and loads may use (the image itself may lie inside),
    /// `pool` the part of it that the kernel gets for translation tables.
    ///
    /// # Errors
    ///
    /// Whatever [`Description::check`] finds.
    pub fn finish(
        &self,
        kernel: &[u8],
        ram: Range<u64>,
        pool: Range<u64>,
    ) -> Result<Vec<u8>, ImageError> {
        let description_offset = self.description_offset(kernel);
        let payload_offset = self.payload_offset();
        let mut image = Vec::with_capacity(description_offset + payload_offset);
        image.extend_from_slice(kernel);
        image.resize(description_offset, 0);

        let tables = self.tables();
        let mut header = Header {
            magic: layout::MAGIC,
            version: layout::VERSION.into(),
            domains: index_field(self.domains.len()).into(),
            vms: index_field(self.vms.len()).into(),
            vcpus: index_field(self.vcpus.len()).into(),
            mappings: index_field(self.mappings.len()).into(),
            capabilities: index_field(self.capabilities.len()).into(),
            loads: index_field(self.loads.len()).into(),
            reserved: 0.into(),
            total_length: ((payload_offset + self.payload.len()) as u64).into(),
            payload_offset: (payload_offset as u64).into(),
            ram_start: ram.start.into(),
            ram_end: ram.end.into(),
            pool_start: pool.start.into(),
            pool_end: pool.end.into(),
            payload_crc: checksum(&[&self.payload]).into(),
            tables_crc: 0.into(),
        };
        header.tables_crc = checksum(&[checksummed(header.as_bytes()), &tables]).into();

        image.extend_from_slice(header.as_bytes());
        image.extend_from_slice(&tables);
        image.resize(description_offset + payload_offset, 0);
        image.extend_from_slice(&self.payload);

        let end = KERNEL_BASE + self.image_length(kernel);
        let description = Description::parse(&image[description_offset..])?;
        description.check(&MachineLimits::qemu_virt(KERNEL_BASE..end))?;
        if pool.end - pool.start < self.pool_length() {
            return Err(ImageError::Ranges);
        }
        Ok(image)
    }

    fn tables(&self) -> Vec<u8> {
        let mappings: Vec<MappingEntry> = self.mappings.iter().map(mapping).collect();
        let mut tables = Vec::new();
        append(&mut tables, &self.domains);
        append(&mut tables, &self.vms);
        append(&mut tables, &self.vcpus);
        append(&mut tables, &mappings);
        append(&mut tables, &self.capabilities);
        append(&mut tables, &self.loads);
        tables
    }

    fn description_offset(&self, kernel: &[u8]) -> usize {
        kernel.len().next_multiple_of(PAGE)
    }

    fn payload_offset(&self) -> usize {
        (size_of::<Header>() + self.tables().len()).next_multiple_of(PAGE)
    }
}

fn append<Entry: IntoBytes + Immutable>(bytes: &mut Vec<u8>, entries: &[Entry]) {
    for entry in entries {
        bytes.extend_from_slice(entry.as_bytes());
    }
}

/// An index as its field holds it. What does not fit refers to nothing, which the check finds.
fn index_field(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn name(table: Table, index: usize, name: &str) -> Result<[u8; NAME_LENGTH], ImageError> {
    let mut field = [0; NAME_LENGTH];
    if name.is_empty() || name.len() > MAXIMUM_NAME || name.contains('\0') {
        return Err(ImageError::Invalid {
            table,
            index,
            field: "name",
        });
    }
    field[..name.len()].copy_from_slice(name.as_bytes());
    Ok(field)
}

fn mapping(mapping: &Mapping) -> MappingEntry {
    let (space_kind, space) = match mapping.space {
        Space::Domain(index) => (layout::SPACE_DOMAIN, index),
        Space::Vm(index) => (layout::SPACE_VM, index),
    };
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    let flags = flag(mapping.rights.read, layout::MAPPING_READ)
        | flag(mapping.rights.write, layout::MAPPING_WRITE)
        | flag(mapping.rights.execute, layout::MAPPING_EXECUTE)
        | flag(mapping.cached, layout::MAPPING_CACHED);
    MappingEntry {
        space_kind: space_kind.into(),
        space: index_field(space).into(),
        address: mapping.address.into(),
        physical: mapping.physical.into(),
        length: mapping.length.into(),
        flags: flags.into(),
        reserved: 0.into(),
    }
}
