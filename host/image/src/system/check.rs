// SPDX-License-Identifier: BSD-2-Clause
//! What has to hold between elements of a description.
//!
//! Responsible for: names and identifiers that are unique, addresses that do not overlap, calls that cannot deadlock.
//! Never: changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{
    Channel, Domain, MAX_DOMAINS, Mapping, Position, Region, System, SystemError, SystemErrorKind,
    USER_TOP,
};

type Result<T = (), E = SystemError> = std::result::Result<T, E>;

pub(super) fn check(file: &str, system: &System) -> Result {
    let check = Check { file, system };
    check.names()?;
    check.interrupts()?;
    check.identifiers()?;
    check.calls()?;
    check.machine_priorities()?;
    check.address_spaces()?;
    check.physical_addresses()?;
    check.every_region_is_used()
}

struct Check<'a> {
    file: &'a str,
    system: &'a System,
}

impl Check<'_> {
    fn error(&self, element: &str, position: Position, kind: SystemErrorKind) -> SystemError {
        SystemError {
            file: self.file.to_owned(),
            position,
            element: element.to_owned(),
            kind: Box::new(kind),
        }
    }

    fn duplicate(
        &self,
        element: &str,
        position: Position,
        what: &'static str,
        name: &str,
    ) -> SystemError {
        self.error(
            element,
            position,
            SystemErrorKind::Duplicate {
                what,
                name: name.to_owned(),
            },
        )
    }

    fn names(&self) -> Result {
        let System {
            regions, domains, ..
        } = self.system;
        for (index, region) in regions.iter().enumerate() {
            if regions[..index]
                .iter()
                .any(|other| other.name == region.name)
            {
                return Err(self.duplicate(
                    "memory_region",
                    region.position,
                    "memory region",
                    &region.name,
                ));
            }
        }
        // Whoever has rights is known by its name, machine or domain; Microkit's own monitor has one already.
        let mut machines = BTreeSet::from(["monitor"]);
        for (domain, machine) in domains.iter().filter_map(|domain| {
            let machine = domain.machine.as_ref()?;
            Some((domain, machine.name.as_str()))
        }) {
            if !machines.insert(machine) {
                let (element, what) = ("protection_domain", "virtual machine");
                return Err(self.duplicate(element, domain.position, what, machine));
            }
        }
        let mut names = machines;
        for domain in domains {
            if !names.insert(&domain.name) {
                let (element, what) = ("protection_domain", "protection domain");
                return Err(self.duplicate(element, domain.position, what, &domain.name));
            }
        }
        match domains.get(MAX_DOMAINS) {
            Some(domain) => Err(self.error(
                "protection_domain",
                domain.position,
                too_many(domains.len()),
            )),
            None => Ok(()),
        }
    }

    fn interrupts(&self) -> Result {
        let mut seen = BTreeMap::new();
        for interrupt in self
            .system
            .domains
            .iter()
            .flat_map(|domain| &domain.interrupts)
        {
            if seen.insert(interrupt.intid, ()).is_some() {
                return Err(self.duplicate(
                    "irq",
                    interrupt.position,
                    "interrupt",
                    &interrupt.intid.to_string(),
                ));
            }
        }
        Ok(())
    }

    /// Channels and interrupts of a domain share one set of identifiers.
    fn identifiers(&self) -> Result {
        let mut used: Vec<u64> = self
            .system
            .domains
            .iter()
            .map(Domain::interrupt_mask)
            .collect();
        for domain in &self.system.domains {
            let mut mask = 0u64;
            for interrupt in &domain.interrupts {
                if mask & 1 << interrupt.id != 0 {
                    return Err(self.duplicate(
                        "irq",
                        interrupt.position,
                        "identifier",
                        &interrupt.id.to_string(),
                    ));
                }
                mask |= 1 << interrupt.id;
            }
        }
        for channel in &self.system.channels {
            for end in &channel.ends {
                if used[end.domain] & 1 << end.id != 0 {
                    let name = format!("{} of {}", end.id, self.system.domains[end.domain].name);
                    return Err(self.duplicate("channel", channel.position, "identifier", &name));
                }
                used[end.domain] |= 1 << end.id;
            }
        }
        Ok(())
    }

    fn calls(&self) -> Result {
        for channel in &self.system.channels {
            for (end, other) in channel.directions() {
                let (caller, callee) = (
                    &self.system.domains[end.domain],
                    &self.system.domains[other.domain],
                );
                if end.call && caller.scheduling.priority >= callee.scheduling.priority {
                    return Err(self.call_downwards(channel, caller, callee));
                }
            }
        }
        Ok(())
    }

    fn call_downwards(&self, channel: &Channel, caller: &Domain, callee: &Domain) -> SystemError {
        let kind = SystemErrorKind::CallDownwards {
            caller: caller.name.clone(),
            caller_priority: caller.scheduling.priority,
            callee: callee.name.clone(),
            callee_priority: callee.scheduling.priority,
        };
        self.error("channel", channel.position, kind)
    }

    fn machine_priorities(&self) -> Result {
        for domain in &self.system.domains {
            let Some(machine) = &domain.machine else {
                continue;
            };
            if machine.scheduling.priority >= domain.scheduling.priority {
                let kind = SystemErrorKind::MachinePriority {
                    machine: machine.name.clone(),
                    machine_priority: machine.scheduling.priority,
                    priority: domain.scheduling.priority,
                };
                return Err(self.error("protection_domain", domain.position, kind));
            }
        }
        Ok(())
    }

    fn address_spaces(&self) -> Result {
        for domain in &self.system.domains {
            let space = format!("protection domain '{}'", domain.name);
            self.address_space(&domain.mappings, &space, domain.stack_bottom())?;
            if let Some(machine) = &domain.machine {
                self.address_space(
                    &machine.mappings,
                    &format!("virtual machine '{}'", machine.name),
                    USER_TOP,
                )?;
            }
        }
        Ok(())
    }

    fn address_space(&self, mappings: &[Mapping], space: &str, end: u64) -> Result {
        let mut taken: Vec<(&Region, Range<u64>)> = Vec::new();
        for mapping in mappings {
            let region = &self.system.regions[mapping.region];
            let error = |kind| Err(self.error("map", mapping.position, kind));
            if !mapping.vaddr.is_multiple_of(region.page_size) {
                let kind = SystemErrorKind::Alignment {
                    attribute: "vaddr",
                    value: mapping.vaddr,
                    unit: region.page_size,
                };
                return error(kind);
            }
            // Neither exceeds 2^40.
            let range = mapping.vaddr..mapping.vaddr + region.size;
            if range.end > end {
                return error(SystemErrorKind::AddressSpace {
                    name: region.name.clone(),
                    start: mapping.vaddr,
                    size: region.size,
                    space: space.to_owned(),
                    end,
                });
            }
            if let Some((other, other_range)) =
                taken.iter().find(|(_, other)| overlap(&range, other))
            {
                return error(overlapping(region, range, other, other_range, space));
            }
            taken.push((region, range));
        }
        Ok(())
    }

    fn physical_addresses(&self) -> Result {
        let mut taken: Vec<(&Region, Range<u64>)> = Vec::new();
        for region in &self.system.regions {
            let Some(start) = region.phys_addr else {
                continue;
            };
            let range = start..start + region.size;
            if let Some((other, other_range)) =
                taken.iter().find(|(_, other)| overlap(&range, other))
            {
                let kind = overlapping(region, range, other, other_range, "physical memory");
                return Err(self.error("memory_region", region.position, kind));
            }
            taken.push((region, range));
        }
        Ok(())
    }

    fn every_region_is_used(&self) -> Result {
        let System {
            regions, domains, ..
        } = self.system;
        for (index, region) in regions.iter().enumerate() {
            if !domains
                .iter()
                .flat_map(Domain::all_mappings)
                .any(|mapping| mapping.region == index)
            {
                let kind = SystemErrorKind::Unused(region.name.clone());
                return Err(self.error("memory_region", region.position, kind));
            }
        }
        Ok(())
    }
}

fn too_many(domains: usize) -> SystemErrorKind {
    SystemErrorKind::Range {
        attribute: "number of protection domains",
        value: domains as u64,
        low: 1,
        high: MAX_DOMAINS as u64,
    }
}

/// Whether two ranges share an address.
#[must_use]
pub fn overlap(first: &Range<u64>, second: &Range<u64>) -> bool {
    first.start < second.end && second.start < first.end
}

fn overlapping(
    region: &Region,
    range: Range<u64>,
    other: &Region,
    other_range: &Range<u64>,
    space: &str,
) -> SystemErrorKind {
    SystemErrorKind::Overlap {
        name: region.name.clone(),
        range,
        other: other.name.clone(),
        other_range: other_range.clone(),
        space: space.to_owned(),
    }
}
