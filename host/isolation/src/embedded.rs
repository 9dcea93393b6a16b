// SPDX-License-Identifier: BSD-2-Clause
//! Facts of the embedded kernel's image: what its loader will really map and grant.
//!
//! Responsible for: reading the boot description back out of the image's bytes. The builder's layout only lends names to
//! physical addresses, so that a wrong mapping shows under the right name. Never: takes a right from the layout.

use std::collections::BTreeMap;
use std::ops::Range;

use kernel_image::{Capability, Description, ImageError, Mapping, Object, Space, layout};

use super::facts::{Access, Fact, Facts, OWN_MEMORY, Source};
use image::layout::{Layout, Piece};
use image::system::overlap;

/// How the builder names a piece that is a region of the description.
const REGION: &str = "region ";

/// Facts of an image; `names` tells what lies at a physical address.
///
/// # Errors
///
/// There is no intact boot description in the image.
pub fn facts(image: &[u8], names: &Layout) -> Result<Facts, ImageError> {
    let description = find(image)?;
    description.verify_payload()?;
    let mut reader = Reader {
        names,
        domains: Vec::new(),
        machines: Vec::new(),
        vcpus: Vec::new(),
        own: BTreeMap::new(),
        regions: BTreeMap::new(),
        facts: Facts::new(Source::EmbeddedImage),
    };
    for domain in description.domains() {
        let domain = domain?;
        reader.domains.push(domain.name.to_owned());
        reader.facts.add(Fact::Priority {
            subject: domain.name.to_owned(),
            priority: domain.priority,
        });
        let (budget, period) = (domain.budget, domain.period);
        reader.facts.budget(domain.name, budget, period);
        if domain.passive {
            reader.facts.add(Fact::Passive {
                subject: domain.name.to_owned(),
            });
        }
        if domain.parent.is_some() {
            reader.other(domain.name, "its faults go to another domain".to_owned());
        }
    }
    for machine in description.vms() {
        let machine = machine?;
        reader
            .machines
            .push((machine.name.to_owned(), machine.owner));
    }
    for vcpu in description.vcpus() {
        let vcpu = vcpu?;
        reader.vcpu(&vcpu);
    }
    for mapping in description.mappings() {
        reader.mapping(&mapping?);
    }
    for capability in description.capabilities() {
        reader.capability(&capability?);
    }
    Ok(reader.facts)
}

/// The boot description lies behind the kernel, at a multiple of 4 KiB.
fn find(image: &[u8]) -> Result<Description<'_>, ImageError> {
    (0..image.len())
        .step_by(4096)
        .map(|offset| &image[offset..])
        .find(|bytes| bytes.starts_with(&layout::MAGIC))
        .map_or(Err(ImageError::NoDescription), Description::parse)
}

struct Reader<'a> {
    names: &'a Layout,
    domains: Vec<String>,
    /// Each with the index of its owner.
    machines: Vec<(String, usize)>,
    /// Machine and identifier of each vCPU.
    vcpus: Vec<(String, u8)>,
    /// All rights that a subject has to what is its own, by the piece: two mappings of one piece count together.
    own: BTreeMap<(String, String), Access>,
    /// What a subject has mapped of regions already.
    regions: BTreeMap<(String, String), Vec<Range<u64>>>,
    facts: Facts,
}

impl Reader<'_> {
    fn other(&mut self, subject: &str, what: String) {
        let subject = subject.to_owned();
        self.facts.add(Fact::Other { subject, what });
    }

    fn domain(&self, index: usize) -> String {
        let name = self.domains.get(index).cloned();
        name.unwrap_or_else(|| format!("domain {index}"))
    }

    fn vcpu(&mut self, vcpu: &kernel_image::Vcpu) {
        let (vm, priority) = (vcpu.vm, vcpu.priority);
        let (machine, owner) = self
            .machines
            .get(vm)
            .cloned()
            .unwrap_or_else(|| (format!("machine {vm}"), usize::MAX));
        self.facts.budget(&machine, vcpu.budget, vcpu.period);
        let vcpu = u8::try_from(vcpu.id).unwrap_or(u8::MAX);
        self.facts.add(Fact::Priority {
            subject: machine.clone(),
            priority,
        });
        self.facts.add(Fact::Faults {
            subject: self.domain(owner),
            machine: machine.clone(),
            vcpu,
        });
        self.vcpus.push((machine, vcpu));
    }

    fn mapping(&mut self, mapping: &Mapping) {
        let subject = match mapping.space {
            Space::Domain(index) => self.domain(index),
            Space::Vm(index) => match self.machines.get(index) {
                Some((name, _)) => name.clone(),
                None => format!("machine {index}"),
            },
        };
        let access = Access {
            write: mapping.rights.write,
            execute: mapping.rights.execute,
            cached: mapping.cached,
        };
        let end = mapping.physical + mapping.length;
        let pieces: Vec<&Piece> = self
            .names
            .pieces
            .iter()
            .filter(|piece| piece.range.start < end && mapping.physical < piece.range.end)
            .collect();
        let named: u64 = pieces
            .iter()
            .map(|piece| piece.range.end.min(end) - piece.range.start.max(mapping.physical))
            .sum();
        if named != mapping.length {
            let start = mapping.physical;
            self.other(
                &subject,
                format!("maps {start:#x}..{end:#x}, which is not all something known"),
            );
        }
        let object = format!("{:#x} -> {:#x}", mapping.address, mapping.physical);
        for piece in &pieces {
            let region = region(piece, &subject);
            let mut access = access;
            if region == OWN_MEMORY {
                let key = (subject.clone(), piece.name.clone());
                let all = self.own.entry(key).or_insert(access);
                all.write |= access.write;
                all.execute |= access.execute;
                access = *all;
            }
            let fact = Fact::Memory {
                subject: subject.clone(),
                region,
                access,
            };
            self.facts.add_from(fact, &object);
        }
        for piece in pieces {
            let mapped = piece.range.start.max(mapping.physical)..piece.range.end.min(end);
            self.region(piece, &subject, mapped);
        }
    }

    /// What of a region is mapped: whether some of it is for the second time, and what device it is.
    fn region(&mut self, piece: &Piece, subject: &str, mapped: Range<u64>) {
        let Some(region) = piece.name.strip_prefix(REGION) else {
            return;
        };
        if !piece.ram {
            self.facts.add(Fact::Device {
                region: region.to_owned(),
                physical: piece.range.start,
                size: piece.range.end - piece.range.start,
            });
        }
        let (subject, region) = (subject.to_owned(), region.to_owned());
        let before = self
            .regions
            .entry((subject.clone(), region.clone()))
            .or_default();
        let again = before.iter().any(|other| overlap(other, &mapped));
        before.push(mapped);
        if again {
            self.facts.add(Fact::Again { subject, region });
        }
    }

    fn capability(&mut self, capability: &Capability) {
        let subject = self.domain(capability.owner);
        let base = |base: u32| u8::try_from(capability.slot.wrapping_sub(base)).unwrap_or(u8::MAX);
        let fact = match capability.object {
            Object::Notification { domain, badge } => Fact::Notify {
                subject,
                channel: base(kernel_image::slot::NOTIFICATIONS),
                peer: self.domain(domain),
                peer_channel: bit(badge),
            },
            Object::Endpoint { domain, badge } => Fact::Call {
                subject,
                channel: base(kernel_image::slot::ENDPOINTS),
                peer: self.domain(domain),
                peer_channel: u8::try_from(badge & 0x3f).unwrap_or(u8::MAX),
            },
            Object::Interrupt { intid, .. } => Fact::Interrupt {
                subject,
                channel: base(kernel_image::slot::INTERRUPTS),
                intid,
            },
            Object::Child { domain } => Fact::Other {
                subject,
                what: format!("controls the thread of {}", self.domain(domain)),
            },
            Object::VmThread { vcpu } | Object::Vcpu { vcpu } => {
                let unknown = || (format!("vCPU {vcpu}"), u8::MAX);
                let (machine, vcpu) = self.vcpus.get(vcpu).cloned().unwrap_or_else(unknown);
                if matches!(capability.object, Object::Vcpu { .. }) {
                    Fact::Vcpu {
                        subject,
                        machine,
                        vcpu,
                    }
                } else {
                    Fact::Thread {
                        subject,
                        machine,
                        vcpu,
                    }
                }
            }
        };
        self.facts
            .add_from(fact, &format!("slot {}", capability.slot));
    }
}

/// A badge's only bit.
fn bit(badge: u64) -> u8 {
    u8::try_from(badge.trailing_zeros()).unwrap_or(u8::MAX)
}

/// What a piece is to a subject: a region, its own, or somebody else's own.
fn region(piece: &Piece, subject: &str) -> String {
    if let Some(region) = piece.name.strip_prefix(REGION) {
        return region.to_owned();
    }
    match piece.name.split_once(": ") {
        Some((owner, _)) if owner == subject => OWN_MEMORY.to_owned(),
        _ => piece.name.clone(),
    }
}
