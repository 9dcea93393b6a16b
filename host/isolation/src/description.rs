// SPDX-License-Identifier: BSD-2-Clause
//! Facts of the description: what `system.xml` asks for.
//!
//! Responsible for: every right that the elements of a description give. Never: judges one, or knows a board but for where
//! its memory is.

use std::collections::BTreeSet;
use std::ops::Range;

use super::facts::{Access, Fact, Facts, Source};
use image::system::{Domain, End, Interrupt, Mapping, Scheduling, System, Value};

/// Facts of a description; `ram` tells memory from devices.
#[must_use]
pub fn facts(system: &System, ram: &Range<u64>) -> Facts {
    let mut reader = Reader {
        system,
        facts: Facts::new(Source::Description),
    };
    for region in &system.regions {
        let Some(physical) = region.phys_addr else {
            continue;
        };
        // What begins in RAM and ends elsewhere is no memory.
        if !ram.contains(&physical) || physical + region.size > ram.end {
            reader.facts.add(Fact::Device {
                region: region.name.clone(),
                physical,
                size: region.size,
            });
        }
    }
    for (index, domain) in system.domains.iter().enumerate() {
        reader.domain(index, domain);
    }
    reader.facts
}

struct Reader<'a> {
    system: &'a System,
    facts: Facts,
}

impl Reader<'_> {
    fn domain(&mut self, index: usize, domain: &Domain) {
        let subject = || domain.name.clone();
        self.mappings(&domain.name, &domain.mappings);
        self.scheduling(&domain.name, domain.scheduling);
        self.facts.add(Fact::Program {
            subject: subject(),
            program: domain.program.clone(),
        });
        if domain.passive {
            self.facts.add(Fact::Passive { subject: subject() });
        }
        if domain.firmware {
            self.facts.add(Fact::Firmware { subject: subject() });
        }
        for &Interrupt { id, intid, .. } in &domain.interrupts {
            self.facts.add(Fact::Interrupt {
                subject: subject(),
                channel: id,
                intid,
            });
        }
        for variable in &domain.variables {
            if let Value::PhysicalAddress(region) = variable.value {
                let region = self.system.regions[region].name.clone();
                self.facts.add(Fact::PhysicalAddress {
                    subject: subject(),
                    region,
                });
            }
        }
        for (end, other) in self.system.ends_of(index) {
            self.channel(&domain.name, end, other);
        }
        let Some(machine) = &domain.machine else {
            return;
        };
        self.mappings(&machine.name, &machine.mappings);
        self.scheduling(&machine.name, machine.scheduling);
        for &vcpu in &machine.vcpus {
            self.facts.controls(&domain.name, &machine.name, vcpu);
        }
    }

    fn scheduling(&mut self, subject: &str, scheduling: Scheduling) {
        let Scheduling {
            priority,
            budget,
            period,
        } = scheduling;
        self.facts.add(Fact::Priority {
            subject: subject.to_owned(),
            priority,
        });
        self.facts.budget(subject, budget, period);
    }

    fn channel(&mut self, subject: &str, end: &End, other: &End) {
        let names = || {
            (
                subject.to_owned(),
                self.system.domains[other.domain].name.clone(),
            )
        };
        let (channel, peer_channel) = (end.id, other.id);
        if end.notify {
            let (subject, peer) = names();
            self.facts.add(Fact::Notify {
                subject,
                channel,
                peer,
                peer_channel,
            });
        }
        if end.call {
            let (subject, peer) = names();
            self.facts.add(Fact::Call {
                subject,
                channel,
                peer,
                peer_channel,
            });
        }
    }

    fn mappings(&mut self, subject: &str, mappings: &[Mapping]) {
        let mut seen = BTreeSet::new();
        for mapping in mappings {
            let region = || self.system.regions[mapping.region].name.clone();
            if !seen.insert(mapping.region) {
                self.facts.add(Fact::Again {
                    subject: subject.to_owned(),
                    region: region(),
                });
            }
            self.facts.add(Fact::Memory {
                subject: subject.to_owned(),
                region: region(),
                access: Access {
                    write: mapping.rights.write,
                    execute: mapping.rights.execute,
                    cached: mapping.cached,
                },
            });
        }
    }
}
