// SPDX-License-Identifier: BSD-2-Clause
//! The policy: who may touch what, and why.
//!
//! Responsible for: the file that people write (`policy.toml`), and the facts that it permits on a board. Never: reads
//! anything that is built.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::IsolationError;
use super::facts::{Access, Fact, MONITOR};
use image::Board;

/// The policy as it stands in its file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Domains and the machine, by name.
    pub subject: BTreeMap<String, Subject>,
    /// Who may call and notify whom.
    pub channel: Vec<Channel>,
    /// Devices, by name.
    pub device: BTreeMap<String, Device>,
    /// What devices of a kind could reach by themselves.
    pub dma: BTreeMap<String, String>,
    /// Regions that several domains write, with the reason.
    pub two_writers: BTreeMap<String, String>,
    /// Who may both write and execute a region, with the reason.
    pub write_and_execute: BTreeMap<String, String>,
    /// What Microkit grants beyond the description.
    pub granted_by_microkit: GrantedByMicrokit,
    /// Whom each may influence directly.
    pub flows: BTreeMap<String, BTreeSet<String>>,
    /// Who may call the firmware.
    #[serde(default)]
    pub firmware: Vec<Firmware>,
    /// Flows that no capability shows.
    #[serde(default)]
    pub hardware_flow: Vec<HardwareFlow>,
    /// What every path must pass.
    pub barrier: Vec<Barrier>,
    /// What an attacker is after, with the regions that hold it.
    pub assets: BTreeMap<String, Vec<String>>,
    /// Column and row of each box of the picture.
    pub picture: BTreeMap<String, (f64, f64)>,
}

/// What one subject may do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// What it is for.
    pub is: String,
    /// The file's name of its program; a machine has none.
    pub program: Option<String>,
    /// Its priority.
    pub priority: u8,
    /// How many microseconds in how many it may run at most, and the reason; nothing if it may always.
    pub budget: Option<(u64, u64, String)>,
    /// Regions, each with rights and the reason.
    #[serde(default)]
    pub memory: BTreeMap<String, (String, String)>,
    /// Interrupts by its identifiers, each with the reason.
    #[serde(default)]
    pub interrupts: BTreeMap<String, String>,
    /// Regions whose physical address it is told, each with the reason.
    #[serde(default)]
    pub physical_addresses: BTreeMap<String, String>,
    /// Machines whose vCPUs it controls: how many, and the reason.
    #[serde(default)]
    pub machine: BTreeMap<String, (u8, String)>,
    /// What else an attacker could do who has it.
    #[serde(default)]
    pub can: Vec<String>,
    /// What an attacker could not do, each with the test (`path::name`) that shows it.
    #[serde(default)]
    pub cannot: Vec<(String, String)>,
}

/// A channel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Both ends, `domain:identifier`.
    pub ends: [String; 2],
    /// The end that calls, if one does.
    pub calls: Option<String>,
    /// The ends that notify.
    pub notifies: Vec<String>,
    /// What for.
    pub why: String,
}

/// A device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The region that is its registers.
    pub region: String,
    /// The only one that may have it.
    pub owner: String,
}

/// What Microkit's tool grants beyond the description, with the reason why that is bearable.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantedByMicrokit {
    /// Everyone may receive at the monitor's endpoint.
    pub monitor_endpoint: Option<String>,
    /// A caller may receive at the callee's endpoint.
    pub callee_endpoint: Option<String>,
}

/// A flow that no capability shows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardwareFlow {
    /// Who influences.
    pub from: String,
    /// Whom.
    pub to: String,
    /// Boards where it exists.
    pub boards: Vec<String>,
    /// How.
    pub why: String,
}

/// Who may call the firmware, in QEMU's models of some boards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    /// Who.
    pub subjects: Vec<String>,
    /// Where: in QEMU's models of these boards, never on the boards themselves.
    pub qemu_boards: Vec<String>,
    /// Why, and what it costs.
    pub why: String,
}

/// What every path must pass.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Barrier {
    /// Where paths start.
    pub from: String,
    /// Where they end.
    pub to: Vec<String>,
    /// They pass one of these.
    pub through: Vec<String>,
    /// What is gained.
    pub why: String,
}

/// The facts that a policy permits, each with its reason.
pub type Permitted = BTreeMap<Fact, String>;

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    ///
    /// It is malformed; the message has the place.
    pub fn parse(file: &str, text: &str) -> Result<Self, IsolationError> {
        let policy: Self = toml::from_str(text).map_err(|error| IsolationError::Policy {
            file: file.to_owned(),
            reason: error.to_string(),
        })?;
        // Whatever is wrong with a right, an end or a name is wrong on every board.
        let wrong = |reason| IsolationError::Policy {
            file: file.to_owned(),
            reason,
        };
        policy.rights().map_err(wrong)?;
        match policy.mismatch() {
            Some(name) => Err(wrong(format!("there is no subject or region '{name}'"))),
            None => Ok(policy),
        }
    }

    /// A name that the policy says something of and that is nobody's: what it says would hold of nothing, unnoticed.
    fn mismatch(&self) -> Option<&str> {
        let flows = self.flows.iter();
        let ends = flows.flat_map(|(from, to)| std::iter::once(from).chain(to));
        let barriers = self.barrier.iter().flat_map(|barrier| {
            let others = barrier.to.iter().chain(&barrier.through);
            std::iter::once(&barrier.from).chain(others)
        });
        let hardware = self.hardware_flow.iter();
        let mut subjects = ends
            .chain(barriers)
            .chain(hardware.flat_map(|flow| [&flow.from, &flow.to]))
            .chain(self.firmware.iter().flat_map(|firmware| &firmware.subjects))
            .chain(self.device.values().map(|device| &device.owner))
            .chain(self.write_and_execute.keys());
        let mut regions = (self.assets.values().flatten())
            .chain(self.two_writers.keys())
            .chain(self.device.values().map(|device| &device.region));
        let held = |region: &str| {
            let mut subjects = self.subject.values();
            subjects.any(|subject| subject.memory.contains_key(region))
        };
        let nobody = subjects.find(|name| !self.subject.contains_key(*name));
        nobody
            .or_else(|| regions.find(|region| !held(region)))
            .map(String::as_str)
    }

    /// What is permitted on a board, without what Microkit adds.
    #[must_use]
    pub fn permitted(&self, board: &Board) -> Permitted {
        let mut permitted = self.rights().unwrap_or_default();
        for (subject, rights) in &self.subject {
            for (id, why) in &rights.interrupts {
                let number = board
                    .interrupts
                    .iter()
                    .find(|number| number.domain == *subject && number.id.to_string() == *id);
                if let Some(number) = number {
                    let fact = Fact::Interrupt {
                        subject: subject.clone(),
                        channel: number.id,
                        intid: number.irq,
                    };
                    permitted.insert(fact, why.clone());
                }
            }
        }
        for firmware in &self.firmware {
            if board.qemu.is_some() && firmware.qemu_boards.contains(&board.name) {
                let facts = firmware.subjects.iter().map(|subject| Fact::Firmware {
                    subject: subject.clone(),
                });
                permitted.extend(facts.map(|fact| (fact, firmware.why.clone())));
            }
        }
        for (name, device) in &self.device {
            if let Some(numbers) = board.regions.get(&device.region) {
                let fact = Fact::Device {
                    region: device.region.clone(),
                    physical: numbers.phys_addr,
                    size: numbers.size,
                };
                permitted.insert(fact, format!("the board's {name}"));
            }
        }
        permitted
    }

    /// What Microkit adds to [`Self::permitted`], as far as the policy accepts it.
    #[must_use]
    pub fn permitted_by_microkit(&self) -> Permitted {
        let mut permitted = Permitted::new();
        let granted = &self.granted_by_microkit;
        if let Some(why) = &granted.monitor_endpoint {
            // Machines have empty capability spaces.
            for subject in self.domains() {
                let fact = Fact::ReceiveAt {
                    subject: subject.to_owned(),
                    peer: MONITOR.to_owned(),
                };
                permitted.insert(fact, why.clone());
            }
        }
        if let Some(why) = &granted.callee_endpoint {
            for fact in self.rights().unwrap_or_default().into_keys() {
                if let Fact::Call { subject, peer, .. } = fact {
                    permitted.insert(Fact::ReceiveAt { subject, peer }, why.clone());
                }
            }
        }
        permitted
    }

    /// Everyone who is not a machine.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.subject
            .keys()
            .map(String::as_str)
            .filter(|name| self.owner_of_machine(name).is_none())
    }

    /// Who controls the vCPUs of a machine, if it is one.
    #[must_use]
    pub fn owner_of_machine(&self, name: &str) -> Option<&str> {
        self.subject
            .iter()
            .find(|(_, subject)| subject.machine.contains_key(name))
            .map(|(owner, _)| owner.as_str())
    }

    /// What is permitted on every board.
    fn rights(&self) -> Result<Permitted, String> {
        let mut permitted = Permitted::new();
        for (name, subject) in &self.subject {
            permitted.insert(
                Fact::Priority {
                    subject: name.clone(),
                    priority: subject.priority,
                },
                subject.is.clone(),
            );
            if let Some(program) = &subject.program {
                let fact = Fact::Program {
                    subject: name.clone(),
                    program: program.clone(),
                };
                permitted.insert(fact, subject.is.clone());
            }
            if let Some((budget, period, why)) = &subject.budget {
                let fact = Fact::Budget {
                    subject: name.clone(),
                    budget: *budget,
                    period: *period,
                };
                permitted.insert(fact, why.clone());
            }
            for (region, (rights, why)) in &subject.memory {
                let access = Access::parse(rights)
                    .ok_or_else(|| format!("{name}: '{rights}' is no right to '{region}'"))?;
                let fact = Fact::Memory {
                    subject: name.clone(),
                    region: region.clone(),
                    access,
                };
                permitted.insert(fact, why.clone());
            }
            for (region, why) in &subject.physical_addresses {
                let fact = Fact::PhysicalAddress {
                    subject: name.clone(),
                    region: region.clone(),
                };
                permitted.insert(fact, why.clone());
            }
            for (machine, (vcpus, why)) in &subject.machine {
                let mut controls = super::facts::Facts::new(super::Source::Description);
                (0..*vcpus).for_each(|vcpu| controls.controls(name, machine, vcpu));
                permitted.extend(controls.facts.into_keys().map(|fact| (fact, why.clone())));
            }
        }
        for channel in &self.channel {
            channel.rights(&mut permitted)?;
        }
        Ok(permitted)
    }
}

impl Channel {
    /// Domain and identifier of both ends.
    fn parsed(&self) -> Result<[(&str, u8); 2], String> {
        let end = |end: &'_ str| -> Option<(usize, u8)> {
            let (name, id) = end.split_once(':')?;
            Some((name.len(), id.parse().ok()?))
        };
        let parse = |text: &'static str, whole: &str| format!("channel: '{whole}' {text}");
        let mut ends = [("", 0); 2];
        for (parsed, whole) in ends.iter_mut().zip(&self.ends) {
            let (length, id) = end(whole).ok_or_else(|| parse("is no domain:identifier", whole))?;
            *parsed = (&whole[..length], id);
        }
        let named = |name: &String| ends.iter().any(|(end, _)| end == name);
        match self
            .calls
            .iter()
            .chain(&self.notifies)
            .find(|name| !named(name))
        {
            Some(mismatch) => Err(parse("has no such end", mismatch)),
            None => Ok(ends),
        }
    }

    fn rights(&self, permitted: &mut Permitted) -> Result<(), String> {
        let [first, second] = self.parsed()?;
        for ((subject, channel), (peer, peer_channel)) in [(first, second), (second, first)] {
            let names = || (subject.to_owned(), peer.to_owned());
            if self.calls.as_deref() == Some(subject) {
                let (subject, peer) = names();
                let fact = Fact::Call {
                    subject,
                    channel,
                    peer,
                    peer_channel,
                };
                permitted.insert(fact, self.why.clone());
            }
            if self.notifies.iter().any(|name| name == subject) {
                let (subject, peer) = names();
                let fact = Fact::Notify {
                    subject,
                    channel,
                    peer,
                    peer_channel,
                };
                permitted.insert(fact, self.why.clone());
            }
        }
        Ok(())
    }
}
