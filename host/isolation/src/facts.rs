// SPDX-License-Identifier: BSD-2-Clause
//! Facts: what one domain, or the virtual machine, may do.
//!
//! Responsible for: one vocabulary for all sources, so that facts can be compared as sets. Never: judges a fact.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// The region that stands for a domain's own program, stack and IPC buffer.
pub const OWN_MEMORY: &str = "own memory";
/// Microkit's monitor, which receives the faults of domains.
pub const MONITOR: &str = "monitor";

/// Where facts come from, in rising strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// What `system.xml` asks for.
    Description,
    /// What the loader of the embedded kernel maps and grants, read back from the image.
    EmbeddedImage,
    /// What Microkit's tool put into the image for seL4, from its capDL description.
    Sel4Image,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Description => "system.xml",
            Self::EmbeddedImage => "embedded image",
            Self::Sel4Image => "seL4 image",
        })
    }
}

/// What a mapping allows; reading is always part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// Stores.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
    /// Normal cacheable memory, or device memory.
    pub cached: bool,
}

impl Access {
    /// Reads `r`, `rw`, `rx` or `rwx`, then ` uncached` for device memory.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rights, cached) = match text.strip_suffix(" uncached") {
            Some(rights) => (rights, false),
            None => (text, true),
        };
        let (write, execute) = match rights {
            "r" => (false, false),
            "rw" => (true, false),
            "rx" => (false, true),
            "rwx" => (true, true),
            _ => return None,
        };
        Some(Self {
            write,
            execute,
            cached,
        })
    }

    /// The letters only.
    #[must_use]
    pub const fn letters(self) -> &'static str {
        match (self.write, self.execute) {
            (false, false) => "r",
            (true, false) => "rw",
            (false, true) => "rx",
            (true, true) => "rwx",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uncached = if self.cached { "" } else { " uncached" };
        write!(formatter, "{}{uncached}", self.letters())
    }
}

impl Serialize for Access {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One right of one subject: a domain, or the virtual machine, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// May touch a region.
    Memory {
        /// Who.
        subject: String,
        /// Which; [`OWN_MEMORY`] for what nobody else has.
        region: String,
        /// How.
        access: Access,
    },
    /// Has a region, or a part of it, at more than one address.
    Again {
        /// Who.
        subject: String,
        /// Which.
        region: String,
    },
    /// May notify another.
    Notify {
        /// Who.
        subject: String,
        /// Its identifier of the channel.
        channel: u8,
        /// Whom.
        peer: String,
        /// The identifier at the other end.
        peer_channel: u8,
    },
    /// May call another.
    Call {
        /// Who.
        subject: String,
        /// Its identifier of the channel.
        channel: u8,
        /// Whom.
        peer: String,
        /// The identifier at the other end.
        peer_channel: u8,
    },
    /// May receive at another's endpoint: take what was meant for it.
    ReceiveAt {
        /// Who.
        subject: String,
        /// Whose endpoint; [`MONITOR`] for Microkit's monitor.
        peer: String,
    },
    /// Handles an interrupt.
    Interrupt {
        /// Who.
        subject: String,
        /// Its identifier of the interrupt.
        channel: u8,
        /// INTID.
        intid: u32,
    },
    /// Controls the thread of a vCPU: stops it, reads and writes its general registers.
    Thread {
        /// Who.
        subject: String,
        /// Of which machine.
        machine: String,
        /// Which vCPU.
        vcpu: u8,
    },
    /// Controls a vCPU: reads and writes its system registers, injects interrupts.
    Vcpu {
        /// Who.
        subject: String,
        /// Of which machine.
        machine: String,
        /// Which vCPU.
        vcpu: u8,
    },
    /// Receives the faults of a vCPU.
    Faults {
        /// Who.
        subject: String,
        /// Of which machine.
        machine: String,
        /// Which vCPU.
        vcpu: u8,
    },
    /// Is told the physical address of a region, as drivers of devices with DMA are.
    PhysicalAddress {
        /// Who.
        subject: String,
        /// Of which region.
        region: String,
    },
    /// May call the firmware by SMC, whatever function it names.
    Firmware {
        /// Who.
        subject: String,
    },
    /// Runs with a priority; for a machine, each of its vCPUs.
    Priority {
        /// Who.
        subject: String,
        /// 0 to 254.
        priority: u8,
    },
    /// May use so much of the processor in each period, and no more; who has no such limit has no such fact.
    Budget {
        /// Who.
        subject: String,
        /// Microseconds.
        budget: u64,
        /// In so many microseconds.
        period: u64,
    },
    /// Runs on its callers' time only, once it has initialised.
    Passive {
        /// Who.
        subject: String,
    },
    /// Runs a program.
    Program {
        /// Who.
        subject: String,
        /// The file's name.
        program: String,
    },
    /// A region has a fixed physical address, not all of it RAM: a device.
    Device {
        /// Which region.
        region: String,
        /// Physical address.
        physical: u64,
        /// Bytes.
        size: u64,
    },
    /// Holds something that no rule knows.
    Other {
        /// Who.
        subject: String,
        /// What.
        what: String,
    },
}

impl Fact {
    /// Who has the right; for a device, the region.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Memory { subject, .. }
            | Self::Again { subject, .. }
            | Self::Notify { subject, .. }
            | Self::Call { subject, .. }
            | Self::ReceiveAt { subject, .. }
            | Self::Interrupt { subject, .. }
            | Self::Thread { subject, .. }
            | Self::Vcpu { subject, .. }
            | Self::Faults { subject, .. }
            | Self::PhysicalAddress { subject, .. }
            | Self::Firmware { subject }
            | Self::Priority { subject, .. }
            | Self::Budget { subject, .. }
            | Self::Passive { subject }
            | Self::Program { subject, .. }
            | Self::Other { subject, .. } => subject,
            Self::Device { region, .. } => region,
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory {
                subject,
                region,
                access,
            } => write!(formatter, "{subject} has '{region}' {access}"),
            Self::Again { subject, region } => {
                write!(
                    formatter,
                    "{subject} has '{region}' at more than one address"
                )
            }
            Self::Notify {
                subject,
                channel,
                peer,
                peer_channel,
            } => write!(
                formatter,
                "{subject} (channel {channel}) may notify {peer} (channel {peer_channel})"
            ),
            Self::Call {
                subject,
                channel,
                peer,
                peer_channel,
            } => write!(
                formatter,
                "{subject} (channel {channel}) may call {peer} (channel {peer_channel})"
            ),
            Self::ReceiveAt { subject, peer } => {
                write!(formatter, "{subject} may receive at the endpoint of {peer}")
            }
            Self::Interrupt {
                subject,
                channel,
                intid,
            } => write!(
                formatter,
                "{subject} handles interrupt {intid} (id {channel})"
            ),
            Self::Thread {
                subject,
                machine,
                vcpu,
            } => write!(
                formatter,
                "{subject} controls the thread of {machine}'s vCPU {vcpu}"
            ),
            Self::Vcpu {
                subject,
                machine,
                vcpu,
            } => write!(formatter, "{subject} controls {machine}'s vCPU {vcpu}"),
            Self::Faults {
                subject,
                machine,
                vcpu,
            } => write!(
                formatter,
                "{subject} receives the faults of {machine}'s vCPU {vcpu}"
            ),
            Self::PhysicalAddress { subject, region } => {
                write!(
                    formatter,
                    "{subject} is told the physical address of '{region}'"
                )
            }
            Self::Firmware { subject } => write!(formatter, "{subject} may call the firmware"),
            Self::Priority { subject, priority } => {
                write!(formatter, "{subject} runs with priority {priority}")
            }
            Self::Budget {
                subject,
                budget,
                period,
            } => {
                write!(
                    formatter,
                    "{subject} has the processor for {budget} us in {period} us at most"
                )
            }
            Self::Passive { subject } => write!(formatter, "{subject} runs on its callers' time"),
            Self::Program { subject, program } => {
                write!(formatter, "{subject} runs the program '{program}'")
            }
            Self::Device {
                region,
                physical,
                size,
            } => write!(
                formatter,
                "'{region}' is the device at {physical:#x} with {size:#x} bytes"
            ),
            Self::Other { subject, what } => write!(formatter, "{subject}: {what}"),
        }
    }
}

/// Everything that one source says.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which source.
    pub source: Source,
    /// The facts, each with the object of the source that shows it, where it has a name of its own.
    pub facts: BTreeMap<Fact, Option<String>>,
}

impl Facts {
    /// Nothing yet.
    #[must_use]
    pub const fn new(source: Source) -> Self {
        Self {
            source,
            facts: BTreeMap::new(),
        }
    }

    /// Adds a fact that needs no further object to be found.
    pub fn add(&mut self, fact: Fact) {
        self.facts.entry(fact).or_default();
    }

    /// Adds a fact with the object that shows it.
    pub fn add_from(&mut self, fact: Fact, object: &str) {
        self.facts
            .entry(fact)
            .or_insert_with(|| Some(object.to_owned()));
    }

    /// Adds how much somebody may run, if that is limited.
    pub fn budget(&mut self, subject: &str, budget: u64, period: u64) {
        if budget < period {
            self.add(Fact::Budget {
                subject: subject.to_owned(),
                budget,
                period,
            });
        }
    }

    /// All facts, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.facts.keys()
    }

    /// Who maps a region, and how.
    pub fn holders<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = (&'a str, Access)> {
        self.iter().filter_map(move |fact| match fact {
            Fact::Memory {
                subject,
                region,
                access,
            } if region == wanted => Some((subject.as_str(), *access)),
            _ => None,
        })
    }

    /// A domain controls a vCPU and receives its faults.
    pub fn controls(&mut self, subject: &str, machine: &str, vcpu: u8) {
        let (subject, machine) = (subject.to_owned(), machine.to_owned());
        self.add(Fact::Thread {
            subject: subject.clone(),
            machine: machine.clone(),
            vcpu,
        });
        self.add(Fact::Vcpu {
            subject: subject.clone(),
            machine: machine.clone(),
            vcpu,
        });
        self.add(Fact::Faults {
            subject,
            machine,
            vcpu,
        });
    }
}
