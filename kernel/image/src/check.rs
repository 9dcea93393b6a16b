// SPDX-License-Identifier: BSD-2-Clause
//! What a boot description must satisfy before the kernel acts on it.
//!
//! Responsible for every rule that involves more than one field. Must never repair anything: an
//! image that breaks a rule is refused whole. The host's builder applies the same rules, so that a
//! mistake is found before anything is booted.

use core::ops::Range;

use crate::description::Description;
use crate::error::{ImageError, Table};
use crate::types::{Capability, Domain, Load, Mapping, Object, Space, Vcpu, Vm};
use crate::{
    ADDRESS_SPACE_END, MAXIMUM_DOMAINS, MAXIMUM_VCPUS, MAXIMUM_VMS, MINIMUM_BUDGET, PAGE_SIZE, slot,
};

/// Most entries of the tables whose pairs are compared.
const MAXIMUM_ENTRIES: usize = 2048;

/// Bit of the badge that marks a protected call (Microkit's `PPC_BADGE`).
const CALL_BADGE: u64 = 1 << 63;

/// Bits of the badge that carry a channel's identifier.
const CHANNEL_MASK: u64 = 0x3f;

/// What the machine has, and what of it is the kernel's own.
#[derive(Clone, Debug)]
pub struct MachineLimits {
    /// Physical addresses that are memory if anything; all others are devices.
    pub memory: Range<u64>,
    /// The kernel and its boot description.
    pub image: Range<u64>,
    /// Devices that nobody else may touch.
    pub kernel_devices: &'static [Range<u64>],
    /// Interrupts that nobody else may receive.
    pub kernel_interrupts: &'static [u32],
}

impl MachineLimits {
    /// QEMU's `virt` machine (`hw/arm/virt.c`, `base_memmap`) with a GICv2 and EL2.
    ///
    /// The kernel keeps the distributor, the CPU interface and the virtual interface control
    /// block; the virtual CPU interface at `0x0804_0000` is for VMs. Its interrupts are the GIC's
    /// maintenance interrupt, the EL2 timer and the virtual timer.
    #[must_use]
    pub fn qemu_virt(image: Range<u64>) -> Self {
        Self {
            memory: 0x4000_0000..0x40_0000_0000,
            image,
            kernel_devices: &[0x0800_0000..0x0802_0000, 0x0803_0000..0x0804_0000],
            kernel_interrupts: &[25, 26, 27],
        }
    }
}

impl Description<'_> {
    /// Applies every rule: counts, ranges, references, badges, and that nothing overlaps.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check(&self, machine: &MachineLimits) -> Result<(), ImageError> {
        self.check_counts()?;
        self.check_ranges(machine)?;
        self.check_domains()?;
        self.check_vms()?;
        self.check_vcpus()?;
        self.check_mappings(machine)?;
        self.check_loads(machine)?;
        self.check_capabilities(machine)
    }

    fn check_counts(&self) -> Result<(), ImageError> {
        let counts = [
            (Table::Domains, self.domains().len(), MAXIMUM_DOMAINS),
            (Table::Vms, self.vms().len(), MAXIMUM_VMS),
            (Table::Vcpus, self.vcpus().len(), MAXIMUM_VCPUS),
            (Table::Mappings, self.mappings().len(), MAXIMUM_ENTRIES),
            (
                Table::Capabilities,
                self.capabilities().len(),
                MAXIMUM_ENTRIES,
            ),
            (Table::Loads, self.loads().len(), MAXIMUM_ENTRIES),
        ];
        match counts.into_iter().find(|(_, found, limit)| found > limit) {
            Some((table, found, limit)) => Err(ImageError::TooMany {
                table,
                found,
                limit,
            }),
            None => Ok(()),
        }
    }

    fn check_ranges(&self, machine: &MachineLimits) -> Result<(), ImageError> {
        let (ram, pool) = (self.ram(), self.pool());
        let aligned = [ram.start, ram.end, pool.start, pool.end]
            .iter()
            .all(|address| address.is_multiple_of(PAGE_SIZE));
        let good = aligned
            && !ram.is_empty()
            && !pool.is_empty()
            && within(&ram, &machine.memory)
            && within(&pool, &ram)
            && !overlap(&pool, &machine.image);
        if good {
            Ok(())
        } else {
            Err(ImageError::Ranges)
        }
    }

    fn check_domains(&self) -> Result<(), ImageError> {
        for (index, domain) in self.domains().enumerate() {
            let rule = Rule {
                table: Table::Domains,
                index,
            };
            let domain = domain?;
            rule.budget(domain.budget, domain.period)?;
            if let Some(parent) = domain.parent {
                // Microkit orders parents before their children, which also rules out circles.
                if parent.domain >= index {
                    return Err(rule.no_such("parent", parent.domain));
                }
                rule.identifier("child", parent.child)?;
            }
            self.check_ipc_buffer(rule, &domain)?;
            for (other, earlier) in self.domains().take(index).enumerate() {
                let earlier = earlier?;
                if earlier.name == domain.name {
                    return Err(rule.conflict("name", other));
                }
                if domain.parent.is_some() && earlier.parent == domain.parent {
                    return Err(rule.conflict("child", other));
                }
            }
        }
        Ok(())
    }

    /// The kernel writes the IPC buffer by its physical address: it must be the domain's own page.
    fn check_ipc_buffer(&self, rule: Rule, domain: &Domain<'_>) -> Result<(), ImageError> {
        if !domain.ipc_buffer.is_multiple_of(PAGE_SIZE) {
            return Err(rule.address("ipc_buffer", domain.ipc_buffer));
        }
        for mapping in self.mappings() {
            let mapping = mapping?;
            let offset = domain.ipc_buffer.wrapping_sub(mapping.address);
            let covers = mapping.space == Space::Domain(rule.index)
                && offset < mapping.length
                && mapping.rights.write
                && mapping.physical.wrapping_add(offset) == domain.ipc_buffer_physical;
            if covers {
                return Ok(());
            }
        }
        Err(rule.address("ipc_buffer_physical", domain.ipc_buffer_physical))
    }

    fn check_vms(&self) -> Result<(), ImageError> {
        for (index, vm) in self.vms().enumerate() {
            let rule = Rule {
                table: Table::Vms,
                index,
            };
            let vm: Vm<'_> = vm?;
            rule.exists("owner", vm.owner, self.domains().len())?;
            for (other, earlier) in self.vms().take(index).enumerate() {
                let earlier = earlier?;
                if earlier.owner == vm.owner {
                    return Err(rule.conflict("owner", other));
                }
                if earlier.name == vm.name {
                    return Err(rule.conflict("name", other));
                }
            }
        }
        Ok(())
    }

    fn check_vcpus(&self) -> Result<(), ImageError> {
        for (index, vcpu) in self.vcpus().enumerate() {
            let rule = Rule {
                table: Table::Vcpus,
                index,
            };
            let vcpu: Vcpu = vcpu?;
            rule.exists("vm", vcpu.vm, self.vms().len())?;
            rule.identifier("id", vcpu.id)?;
            rule.budget(vcpu.budget, vcpu.period)?;
            for (other, earlier) in self.vcpus().take(index).enumerate() {
                let earlier = earlier?;
                if (earlier.vm, earlier.id) == (vcpu.vm, vcpu.id) {
                    return Err(rule.conflict("id", other));
                }
            }
        }
        Ok(())
    }

    fn check_mappings(&self, machine: &MachineLimits) -> Result<(), ImageError> {
        for (index, mapping) in self.mappings().enumerate() {
            let rule = Rule {
                table: Table::Mappings,
                index,
            };
            let mapping: Mapping = mapping?;
            match mapping.space {
                Space::Domain(domain) => rule.exists("space", domain, self.domains().len())?,
                Space::Vm(vm) => rule.exists("space", vm, self.vms().len())?,
            }
            if !mapping.rights.read {
                return Err(rule.invalid("rights"));
            }
            let range = rule.range("address", mapping.address, mapping.length)?;
            if range.end > ADDRESS_SPACE_END {
                return Err(rule.address("address", mapping.address));
            }
            let physical = rule.range("physical", mapping.physical, mapping.length)?;
            if overlap(&physical, &machine.memory) {
                self.check_memory(rule, &physical, machine)?;
            } else if machine
                .kernel_devices
                .iter()
                .any(|device| overlap(device, &physical))
            {
                return Err(rule.kernel_only(mapping.physical));
            }
            for (other, earlier) in self.mappings().take(index).enumerate() {
                let earlier = earlier?;
                let earlier_range = earlier.address..earlier.address.saturating_add(earlier.length);
                if earlier.space == mapping.space && overlap(&earlier_range, &range) {
                    return Err(rule.conflict("address", other));
                }
            }
        }
        Ok(())
    }

    /// Memory for domains is inside the RAM range and outside the kernel.
    fn check_memory(
        &self,
        rule: Rule,
        physical: &Range<u64>,
        machine: &MachineLimits,
    ) -> Result<(), ImageError> {
        if !within(physical, &self.ram()) {
            return Err(rule.address("physical", physical.start));
        }
        if overlap(physical, &machine.image) || overlap(physical, &self.pool()) {
            return Err(rule.kernel_only(physical.start));
        }
        Ok(())
    }

    fn check_loads(&self, machine: &MachineLimits) -> Result<(), ImageError> {
        for (index, load) in self.loads().enumerate() {
            let rule = Rule {
                table: Table::Loads,
                index,
            };
            let load: Load<'_> = load?;
            let physical = rule.range("physical", load.physical, load.length)?;
            self.check_memory(rule, &physical, machine)?;
            if u64::try_from(load.bytes.len()).is_ok_and(|length| length > load.length) {
                return Err(rule.address("source_length", load.length));
            }
            for (other, earlier) in self.loads().take(index).enumerate() {
                let earlier = earlier?;
                let earlier_range =
                    earlier.physical..earlier.physical.saturating_add(earlier.length);
                if overlap(&earlier_range, &physical) {
                    return Err(rule.conflict("physical", other));
                }
            }
        }
        Ok(())
    }

    fn check_capabilities(&self, machine: &MachineLimits) -> Result<(), ImageError> {
        for (index, capability) in self.capabilities().enumerate() {
            let rule = Rule {
                table: Table::Capabilities,
                index,
            };
            let capability = capability?;
            rule.exists("owner", capability.owner, self.domains().len())?;
            self.check_object(rule, &capability, machine)?;
            for (other, earlier) in self.capabilities().take(index).enumerate() {
                let earlier = earlier?;
                if (earlier.owner, earlier.slot) == (capability.owner, capability.slot) {
                    return Err(rule.conflict("slot", other));
                }
                if let (Object::Interrupt { intid, .. }, Object::Interrupt { intid: taken, .. }) =
                    (capability.object, earlier.object)
                    && intid == taken
                {
                    return Err(rule.conflict("target", other));
                }
            }
        }
        Ok(())
    }

    fn check_object(
        &self,
        rule: Rule,
        capability: &Capability,
        machine: &MachineLimits,
    ) -> Result<(), ImageError> {
        let domains = self.domains().len();
        match capability.object {
            Object::Notification { domain, badge } => {
                rule.slot(capability.slot, slot::NOTIFICATIONS)?;
                rule.exists("target", domain, domains)?;
                rule.channel_bit(badge)
            }
            Object::Endpoint { domain, badge } => {
                rule.slot(capability.slot, slot::ENDPOINTS)?;
                rule.exists("target", domain, domains)?;
                let channel = badge & CHANNEL_MASK;
                let good = badge == CALL_BADGE | channel && channel < u64::from(slot::IDENTIFIERS);
                if good {
                    Ok(())
                } else {
                    Err(rule.invalid("badge"))
                }
            }
            Object::Interrupt { intid, badge, .. } => {
                let id = rule.slot(capability.slot, slot::INTERRUPTS)?;
                if !(16..1020).contains(&intid) {
                    return Err(rule.invalid("target"));
                }
                if machine.kernel_interrupts.contains(&intid) {
                    return Err(rule.kernel_only(u64::from(intid)));
                }
                if badge == 1 << id {
                    Ok(())
                } else {
                    Err(rule.invalid("badge"))
                }
            }
            Object::Child { domain } => {
                let id = rule.slot(capability.slot, slot::CHILDREN)?;
                let child = self
                    .domains()
                    .nth(domain)
                    .ok_or(rule.no_such("target", domain))??;
                let parent = child.parent.map(|parent| (parent.domain, parent.child));
                let good = parent == Some((capability.owner, id));
                if good {
                    Ok(())
                } else {
                    Err(rule.invalid("target"))
                }
            }
            Object::VmThread { vcpu } => self.check_vcpu(rule, capability, slot::VM_THREADS, vcpu),
            Object::Vcpu { vcpu } => self.check_vcpu(rule, capability, slot::VCPUS, vcpu),
        }
    }

    /// A vCPU's capabilities belong to the owner of its VM, at the vCPU's identifier.
    fn check_vcpu(
        &self,
        rule: Rule,
        capability: &Capability,
        base: u32,
        vcpu: usize,
    ) -> Result<(), ImageError> {
        let id = rule.slot(capability.slot, base)?;
        let target = self
            .vcpus()
            .nth(vcpu)
            .ok_or(rule.no_such("target", vcpu))??;
        let vm = self
            .vms()
            .nth(target.vm)
            .ok_or(rule.no_such("target", target.vm))??;
        let good = vm.owner == capability.owner && target.id == id;
        if good {
            Ok(())
        } else {
            Err(rule.invalid("target"))
        }
    }
}

/// Whether two ranges share an address.
fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Whether `inner` lies in `outer`.
fn within(inner: &Range<u64>, outer: &Range<u64>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Rules about one entry, whose errors name it.
#[derive(Clone, Copy)]
struct Rule {
    table: Table,
    index: usize,
}

impl Rule {
    fn invalid(self, field: &'static str) -> ImageError {
        ImageError::Invalid {
            table: self.table,
            index: self.index,
            field,
        }
    }

    fn address(self, field: &'static str, value: u64) -> ImageError {
        ImageError::Address {
            table: self.table,
            index: self.index,
            field,
            value,
        }
    }

    fn no_such(self, field: &'static str, target: usize) -> ImageError {
        ImageError::NoSuchEntry {
            table: self.table,
            index: self.index,
            field,
            target,
        }
    }

    fn conflict(self, field: &'static str, other: usize) -> ImageError {
        ImageError::Conflict {
            table: self.table,
            index: self.index,
            other,
            field,
        }
    }

    fn kernel_only(self, value: u64) -> ImageError {
        ImageError::KernelOnly {
            table: self.table,
            index: self.index,
            value,
        }
    }

    fn exists(self, field: &'static str, target: usize, count: usize) -> Result<(), ImageError> {
        if target < count {
            Ok(())
        } else {
            Err(self.no_such(field, target))
        }
    }

    fn identifier(self, field: &'static str, value: u32) -> Result<(), ImageError> {
        if value < slot::IDENTIFIERS {
            Ok(())
        } else {
            Err(self.invalid(field))
        }
    }

    fn budget(self, budget: u64, period: u64) -> Result<(), ImageError> {
        // An hour is far above any sensible period and keeps sums of ticks far from overflowing.
        let good = MINIMUM_BUDGET <= budget && budget <= period && period <= 3_600_000_000;
        if good {
            Ok(())
        } else {
            Err(self.invalid("budget"))
        }
    }

    /// A non-empty, page-aligned range that does not wrap around.
    fn range(self, field: &'static str, start: u64, length: u64) -> Result<Range<u64>, ImageError> {
        let end = start
            .checked_add(length)
            .ok_or(self.address(field, start))?;
        if !start.is_multiple_of(PAGE_SIZE) {
            return Err(self.address(field, start));
        }
        if length == 0 || !length.is_multiple_of(PAGE_SIZE) {
            return Err(self.address("length", length));
        }
        Ok(start..end)
    }

    /// The identifier that a slot stands for in the range of slots that starts at `base`.
    fn slot(self, slot: u32, base: u32) -> Result<u32, ImageError> {
        slot.checked_sub(base)
            .filter(|&id| id < slot::IDENTIFIERS)
            .ok_or(self.invalid("slot"))
    }

    fn channel_bit(self, badge: u64) -> Result<(), ImageError> {
        let good = badge.is_power_of_two() && badge < 1 << slot::IDENTIFIERS;
        if good {
            Ok(())
        } else {
            Err(self.invalid("badge"))
        }
    }
}
