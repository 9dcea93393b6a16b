// SPDX-License-Identifier: BSD-2-Clause
//! Images for the embedded kernel: physical addresses, mappings and capabilities, as Microkit's tool chooses them for
//! seL4.
//!
//! Responsible for: giving each region, program, stack and IPC buffer its own memory, each domain what the description
//! grants it at Microkit's slots, and nothing else. Never: writes the image's bytes itself (`kernel-image` does, and
//! applies the kernel's own checks).
//!
//! Slots and badges follow Microkit 2.3.0 (`libmicrokit/include/microkit.h`), addresses of stack and IPC buffer its
//! tool.

use std::ops::Range;

use kernel_image::builder::ImageBuilder;
use kernel_image::{Capability, KERNEL_BASE, Mapping, Object, PAGE_SIZE, Space, Vcpu, Vm, slot};

use super::ImageError;
use super::elf::Program;
use super::layout::{Layout, Piece};
use super::memory::Memory;
use super::symbols;
use super::system::{
    self, Domain, IPC_BUFFER, LARGE_PAGE, PAGE, Rights, STACK_TOP, System, Trigger,
};

/// Bit of a badge that marks a protected call (Microkit's `PPC_BADGE`).
const CALL_BADGE: u64 = 1 << 63;

/// More than the tables of an image for [`system::MAX_DOMAINS`] domains take; kept free behind the payload.
const TABLES: u64 = 0x10_0000;

const READ_WRITE: Rights = Rights {
    read: true,
    write: true,
    execute: false,
};

/// An image and how it came out.
#[derive(Debug)]
pub struct Assembled {
    /// The bytes to load at [`KERNEL_BASE`].
    pub bytes: Vec<u8>,
    /// What lies where.
    pub layout: Layout,
}

/// Puts an image together from a description, a program for each of its domains in order, the kernel, and the board's
/// memory.
///
/// # Errors
///
/// A program does not fit its description, or the board's memory is too small.
pub fn assemble(
    system: &System,
    programs: &[Program],
    kernel: &Program,
    ram: Range<u64>,
) -> Result<Assembled, ImageError> {
    let kernel = flat(kernel)?;
    let mut assembly = Assembly {
        system,
        builder: ImageBuilder::new(),
        memory: Memory::new(ram.clone()),
        regions: Vec::new(),
        layout: Layout::default(),
    };
    let contents = programs
        .iter()
        .flat_map(Program::segments)
        .map(|segment| segment.data.len());
    let prefilled = system
        .regions
        .iter()
        .filter_map(|region| region.prefill.as_ref())
        .map(Vec::len);
    let payload: usize = contents
        .chain(prefilled)
        .map(|length| length.next_multiple_of(0x1000))
        .sum();
    let reserved = (kernel.len() + payload) as u64 + TABLES;
    assembly.memory.take(
        "the image",
        KERNEL_BASE..KERNEL_BASE + reserved.next_multiple_of(PAGE_SIZE),
    )?;

    assembly.place_regions()?;
    for (index, program) in programs.iter().enumerate() {
        assembly.domain(index, program.clone())?;
    }
    for (index, domain) in system.domains.iter().enumerate() {
        assembly.capabilities(index, domain);
        assembly.machine(index, domain)?;
    }
    let pool_length = assembly.builder.pool_length();
    let pool = assembly
        .memory
        .allocate("translation tables", pool_length, LARGE_PAGE)?;
    let pool = pool..pool + pool_length;
    let bytes = assembly.builder.finish(&kernel, ram, pool.clone())?;
    let mut layout = assembly.layout;
    layout.image = KERNEL_BASE..KERNEL_BASE + (bytes.len() as u64).next_multiple_of(PAGE_SIZE);
    layout.pool = pool;
    Ok(Assembled { bytes, layout })
}

/// The kernel as it lies in memory from [`KERNEL_BASE`] on, as the `kernel-image` crate wants it.
fn flat(kernel: &Program) -> Result<Vec<u8>, ImageError> {
    let mut bytes: Vec<u8> = Vec::new();
    for segment in kernel.segments() {
        let wrong = || ImageError::KernelAddress {
            paddr: segment.paddr,
            base: KERNEL_BASE,
        };
        let offset = segment
            .paddr
            .checked_sub(KERNEL_BASE)
            .filter(|offset| *offset < 1 << 30)
            .ok_or_else(wrong)?;
        let offset = usize::try_from(offset).map_err(|_| wrong())?;
        let end = offset + segment.data.len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[offset..end].copy_from_slice(&segment.data);
    }
    bytes.resize(bytes.len().next_multiple_of(0x1000), 0);
    Ok(bytes)
}

struct Assembly<'a> {
    system: &'a System,
    builder: ImageBuilder,
    memory: Memory,
    /// Physical addresses of the description's regions.
    regions: Vec<u64>,
    layout: Layout,
}

impl Assembly<'_> {
    fn place_regions(&mut self) -> Result<(), ImageError> {
        // Those with a fixed place first, so that no other takes it.
        for region in &self.system.regions {
            let Some(start) = region.phys_addr else {
                continue;
            };
            let range = start..start + region.size;
            if self.memory.contains_any(&range) {
                self.memory
                    .take(&format!("region {}", region.name), range)?;
            }
        }
        for region in &self.system.regions {
            let name = format!("region {}", region.name);
            let start = match region.phys_addr {
                Some(start) => start,
                None => {
                    let large = region.page_size == LARGE_PAGE || region.size >= LARGE_PAGE;
                    let alignment = if large { LARGE_PAGE } else { PAGE };
                    self.memory.allocate(&name, region.size, alignment)?
                }
            };
            let range = start..start + region.size;
            let ram = self.memory.contains_any(&range);
            if ram {
                self.builder.add_load(
                    start,
                    region.size,
                    region.prefill.as_deref().unwrap_or_default(),
                );
            }
            self.layout.pieces.push(Piece { name, range, ram });
            self.regions.push(start);
        }
        Ok(())
    }

    /// Fresh memory with some content, mapped into a domain's address space.
    fn private(
        &mut self,
        index: usize,
        name: &str,
        at: Range<u64>,
        rights: Rights,
        content: &[u8],
    ) -> Result<u64, ImageError> {
        let length = at.end - at.start;
        let name = format!("{}: {name}", self.system.domains[index].name);
        let physical = self.memory.allocate(&name, length, PAGE)?;
        self.builder.add_load(physical, length, content);
        self.layout.pieces.push(Piece {
            name,
            range: physical..physical + length,
            ram: true,
        });
        self.map(
            Space::Domain(index),
            at.start,
            physical,
            length,
            rights,
            true,
        );
        Ok(physical)
    }

    fn map(
        &mut self,
        space: Space,
        address: u64,
        physical: u64,
        length: u64,
        rights: Rights,
        cached: bool,
    ) {
        let Rights {
            read,
            write,
            execute,
        } = rights;
        let rights = kernel_image::Rights {
            read,
            write,
            execute,
        };
        let mapping = Mapping {
            space,
            address,
            physical,
            length,
            rights,
            cached,
        };
        self.builder.add_mapping(&mapping);
        self.layout.mappings.push(mapping);
    }

    fn map_region(&mut self, space: Space, mapping: &system::Mapping) {
        let (physical, length) = (
            self.regions[mapping.region],
            self.system.regions[mapping.region].size,
        );
        self.map(
            space,
            mapping.vaddr,
            physical,
            length,
            mapping.rights,
            mapping.cached,
        );
    }

    fn domain(&mut self, index: usize, mut program: Program) -> Result<(), ImageError> {
        let system = self.system;
        let domain = &system.domains[index];
        symbols::patch(&mut program, system, index, |region| self.regions[region])?;
        check_address_space(system, domain, &program)?;
        for segment in program.segments() {
            let pages = segment.pages(PAGE);
            // Pages begin with zeros up to the segment's first byte.
            let mut content =
                vec![0; usize::try_from(segment.vaddr - pages.start).unwrap_or_default()];
            content.extend_from_slice(&segment.data);
            let name = format!("{} at {:#x}", program.name(), segment.vaddr);
            self.private(index, &name, pages, segment.rights, &content)?;
        }
        self.private(
            index,
            "stack",
            domain.stack_bottom()..STACK_TOP,
            READ_WRITE,
            &[],
        )?;
        let buffer = self.private(
            index,
            "IPC buffer",
            IPC_BUFFER..IPC_BUFFER + PAGE,
            READ_WRITE,
            &[],
        )?;
        for mapping in &domain.mappings {
            self.map_region(Space::Domain(index), mapping);
        }
        self.layout.domains.push(domain.name.clone());
        self.builder.add_domain(&kernel_image::Domain {
            name: &domain.name,
            priority: domain.scheduling.priority,
            passive: domain.passive,
            fpu: domain.fpu,
            budget: domain.scheduling.budget,
            period: domain.scheduling.period,
            entry: program.entry(),
            stack_top: STACK_TOP,
            ipc_buffer: IPC_BUFFER,
            ipc_buffer_physical: buffer,
            parent: None,
        })?;
        Ok(())
    }

    fn grant(&mut self, owner: usize, base: u32, id: u8, object: Object) {
        let capability = Capability {
            owner,
            slot: base + u32::from(id),
            object,
        };
        self.builder.add_capability(&capability);
        self.layout.capabilities.push(capability);
    }

    fn capabilities(&mut self, index: usize, domain: &Domain) {
        for (end, other) in self.system.ends_of(index) {
            if end.notify {
                let object = Object::Notification {
                    domain: other.domain,
                    badge: 1 << other.id,
                };
                self.grant(index, slot::NOTIFICATIONS, end.id, object);
            }
            if end.call {
                let object = Object::Endpoint {
                    domain: other.domain,
                    badge: CALL_BADGE | u64::from(other.id),
                };
                self.grant(index, slot::ENDPOINTS, end.id, object);
            }
        }
        for interrupt in &domain.interrupts {
            let trigger = match interrupt.trigger {
                Trigger::Level => kernel_image::Trigger::Level,
                Trigger::Edge => kernel_image::Trigger::Edge,
            };
            let object = Object::Interrupt {
                intid: interrupt.intid,
                trigger,
                badge: 1 << interrupt.id,
            };
            self.grant(index, slot::INTERRUPTS, interrupt.id, object);
        }
    }

    fn machine(&mut self, owner: usize, domain: &Domain) -> Result<(), ImageError> {
        let Some(machine) = &domain.machine else {
            return Ok(());
        };
        let vm = self.builder.add_vm(&Vm {
            name: &machine.name,
            owner,
        })?;
        self.layout.machines.push(machine.name.clone());
        for mapping in &machine.mappings {
            self.map_region(Space::Vm(vm), mapping);
        }
        for &id in &machine.vcpus {
            let vcpu = self.builder.add_vcpu(&Vcpu {
                vm,
                id: id.into(),
                priority: machine.scheduling.priority,
                budget: machine.scheduling.budget,
                period: machine.scheduling.period,
            });
            self.grant(owner, slot::VM_THREADS, id, Object::VmThread { vcpu });
            self.grant(owner, slot::VCPUS, id, Object::Vcpu { vcpu });
        }
        Ok(())
    }
}

/// Whether a program's segments, stack and IPC buffer leave each other and the description's mappings alone.
fn check_address_space(
    system: &System,
    domain: &Domain,
    program: &Program,
) -> Result<(), ImageError> {
    let mut taken: Vec<(String, Range<u64>)> = vec![
        ("the stack".to_owned(), domain.stack_bottom()..STACK_TOP),
        ("the IPC buffer".to_owned(), IPC_BUFFER..IPC_BUFFER + PAGE),
    ];
    for mapping in &domain.mappings {
        let region = &system.regions[mapping.region];
        taken.push((
            format!("region {}", region.name),
            mapping.vaddr..mapping.vaddr + region.size,
        ));
    }
    for segment in program.segments() {
        if !segment.rights.read {
            return Err(ImageError::Unreadable {
                program: program.name().to_owned(),
                vaddr: segment.vaddr,
            });
        }
        let first = format!("the segment of {} at {:#x}", program.name(), segment.vaddr);
        let pages = segment.pages(PAGE);
        if let Some((second, _)) = taken
            .iter()
            .find(|(_, other)| system::overlap(&pages, other))
        {
            return Err(ImageError::SharedPages {
                domain: domain.name.clone(),
                first,
                second: second.clone(),
            });
        }
        taken.push((first, pages));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
