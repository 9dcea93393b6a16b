// SPDX-License-Identifier: BSD-2-Clause
//! What lies where in an image, and who may reach it.
//!
//! Responsible for: the report that people read (`godwit image --report`). Never: decides anything.

use std::fmt;
use std::ops::Range;

use kernel_image::{Capability, Mapping, Object, Space};

/// A piece of physical address space.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What it is for.
    pub name: String,
    /// Physical addresses.
    pub range: Range<u64>,
    /// Memory, or a device.
    pub ram: bool,
}

/// What lies where, and who may reach it.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Kernel, boot description and payload.
    pub image: Range<u64>,
    /// Translation tables.
    pub pool: Range<u64>,
    /// Everything else.
    pub pieces: Vec<Piece>,
    /// Every mapping of every address space.
    pub mappings: Vec<Mapping>,
    /// Every capability besides those that every domain has.
    pub capabilities: Vec<Capability>,
    /// Names of the domains, by index.
    pub domains: Vec<String>,
    /// Names of the virtual machines, by index.
    pub machines: Vec<String>,
}

impl Layout {
    /// The piece at a physical address.
    #[must_use]
    pub fn piece(&self, physical: u64) -> Option<&Piece> {
        self.pieces
            .iter()
            .find(|piece| piece.range.contains(&physical))
    }

    fn space(&self, formatter: &mut fmt::Formatter<'_>, space: Space) -> fmt::Result {
        let mut mappings: Vec<_> = self
            .mappings
            .iter()
            .filter(|mapping| mapping.space == space)
            .collect();
        mappings.sort_by_key(|mapping| mapping.address);
        for mapping in mappings {
            let letter = |allowed, letter| if allowed { letter } else { '-' };
            writeln!(
                formatter,
                "  {:#014x}..{:#014x}  {}{}{} {}  {}",
                mapping.address,
                mapping.address + mapping.length,
                letter(mapping.rights.read, 'r'),
                letter(mapping.rights.write, 'w'),
                letter(mapping.rights.execute, 'x'),
                if mapping.cached { "normal" } else { "device" },
                self.piece(mapping.physical)
                    .map_or("?", |piece| &piece.name),
            )?;
        }
        Ok(())
    }

    fn capability(
        &self,
        formatter: &mut fmt::Formatter<'_>,
        capability: &Capability,
    ) -> fmt::Result {
        write!(formatter, "  slot {:>3}  ", capability.slot)?;
        match capability.object {
            Object::Notification { domain, badge } => {
                writeln!(
                    formatter,
                    "notify {} (channel {} there)",
                    self.domains[domain],
                    badge.trailing_zeros()
                )
            }
            Object::Endpoint { domain, badge } => {
                writeln!(
                    formatter,
                    "call {} (channel {} there)",
                    self.domains[domain],
                    badge & 0x3f
                )
            }
            Object::Interrupt { intid, trigger, .. } => {
                writeln!(formatter, "interrupt {intid} ({trigger:?})")
            }
            Object::Child { domain } => writeln!(formatter, "child {}", self.domains[domain]),
            Object::VmThread { vcpu } => writeln!(formatter, "thread of vCPU {vcpu}"),
            Object::Vcpu { vcpu } => writeln!(formatter, "vCPU {vcpu}"),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "Physical memory")?;
        let mut pieces: Vec<(Range<u64>, &str, bool)> = vec![
            (self.image.clone(), "kernel and payload", true),
            (self.pool.clone(), "translation tables", true),
        ];
        pieces.extend(
            self.pieces
                .iter()
                .map(|piece| (piece.range.clone(), piece.name.as_str(), piece.ram)),
        );
        pieces.sort_by_key(|(range, ..)| range.start);
        for (range, name, ram) in pieces {
            let kind = if ram { "RAM   " } else { "device" };
            writeln!(
                formatter,
                "  {:#012x}..{:#012x}  {kind}  {name}",
                range.start, range.end
            )?;
        }
        for (index, name) in self.domains.iter().enumerate() {
            writeln!(formatter, "\nDomain {name}")?;
            self.space(formatter, Space::Domain(index))?;
            for capability in self
                .capabilities
                .iter()
                .filter(|capability| capability.owner == index)
            {
                self.capability(formatter, capability)?;
            }
        }
        for (index, name) in self.machines.iter().enumerate() {
            writeln!(formatter, "\nVirtual machine {name}")?;
            self.space(formatter, Space::Vm(index))?;
        }
        Ok(())
    }
}
