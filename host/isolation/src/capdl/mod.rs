// SPDX-License-Identifier: BSD-2-Clause
//! Facts of the image for seL4: every frame, mapping and capability that Microkit's tool puts into it.
//!
//! Responsible for: reading the tool's capDL description (`--capdl-json`) and following it from each thread: its address
//! space down to the frames, its capability space down to the slots. A capability that is not understood becomes a fact
//! that no policy permits. Never: believes the name of an object where authority can be followed instead; names only tell
//! which region a frame belongs to.
//!
//! Slots follow Microkit 2.3.0 (`libmicrokit/include/microkit.h`), slots of a thread seL4's capDL (`cteVTable` and so on).

mod capability;
mod space;
mod spec;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use kernel_image::slot;

use self::spec::{Cap, Object, SchedContextExtra, Spec, Tcb, tcb};
use super::IsolationError;
use super::facts::{Access, Fact, Facts, MONITOR, Source};
use image::system::System;

/// Bit of a badge that marks a protected call (Microkit's `PPC_BADGE`).
const CALL_BADGE: u64 = 1 << 63;
/// The slot of the capability to call the firmware (`ARM_SMC_CAP`).
const SMC: u32 = 7;
/// Bit of a badge that marks a fault (Microkit's `FAULT_BADGE`).
const FAULT_BADGE: u64 = 1 << 62;

/// Facts of an image, by the names of the domains and machines of the description. `memory` tells RAM from devices.
///
/// # Errors
///
/// The text is no capDL description of the kind that Microkit 2.3.0 emits.
pub fn facts(json: &str, system: &System, memory: &[Range<u64>]) -> Result<Facts, IsolationError> {
    let spec: Spec = serde_json::from_str(json)?;
    let mut reader = Reader {
        spec: &spec,
        memory,
        regions: system
            .regions
            .iter()
            .map(|region| region.name.clone())
            .collect(),
        threads: Vec::new(),
        endpoints: BTreeMap::new(),
        notifications: BTreeMap::new(),
        owned: BTreeMap::new(),
        walked: BTreeSet::new(),
        mapped: BTreeMap::new(),
        facts: Facts::new(Source::Sel4Image),
    };
    reader.threads(system);
    reader.own_objects();
    for thread in reader.threads.clone() {
        reader.thread(&thread);
    }
    reader.interrupts();
    reader.memory();
    Ok(reader.facts)
}

/// What a thread is.
#[derive(Clone, PartialEq, Eq)]
enum Role {
    /// With the badge that the monitor knows it by.
    Domain(u64),
    Vcpu(u8),
    Monitor,
    /// Not of the description.
    Unknown,
}

#[derive(Clone)]
struct Thread<'a> {
    /// The domain, the machine, or the object's name.
    subject: String,
    role: Role,
    name: &'a str,
    tcb: &'a Tcb,
    object: usize,
}

impl Thread<'_> {
    /// The owner of what no other thread may have, not even one of the same subject.
    fn alone(&self) -> Owner {
        Owner {
            subject: self.subject.clone(),
            thread: Some(self.name.to_owned()),
        }
    }
}

/// Whose an object is.
#[derive(Clone, PartialEq, Eq)]
struct Owner {
    subject: String,
    /// The thread that has it for itself alone; none where all of a subject's have it together.
    thread: Option<String>,
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.thread.as_ref().unwrap_or(&self.subject))
    }
}

/// What somebody may do with a frame.
struct Mapped {
    access: Access,
    /// In how many places it has it.
    places: usize,
}

struct Reader<'a> {
    spec: &'a Spec,
    memory: &'a [Range<u64>],
    regions: BTreeSet<String>,
    threads: Vec<Thread<'a>>,
    /// Whose endpoint an endpoint is: who receives there with its input capability.
    endpoints: BTreeMap<usize, String>,
    /// Whose notification a notification is: to whose thread it is bound.
    notifications: BTreeMap<usize, String>,
    /// Objects that one thread only may have, or one subject.
    owned: BTreeMap<usize, Owner>,
    /// Page tables that were followed, for whom.
    walked: BTreeSet<(usize, String)>,
    /// Frames, by who maps them, with all rights that it has to them.
    mapped: BTreeMap<(usize, String), Mapped>,
    facts: Facts,
}

impl<'a> Reader<'a> {
    fn other(&mut self, subject: &str, object: &str, what: String) {
        let subject = subject.to_owned();
        self.facts.add_from(Fact::Other { subject, what }, object);
    }

    fn name(&self, object: usize) -> &'a str {
        self.spec.name(object)
    }

    fn threads(&mut self, system: &System) {
        for (object, name, tcb) in self.spec.threads() {
            let short = name.strip_prefix("tcb_").unwrap_or(name);
            let machine = system.domains.iter().find_map(|domain| {
                let machine = domain.machine.as_ref()?;
                let id = short.strip_prefix(&machine.name)?.strip_prefix('_')?;
                Some((machine.name.clone(), id.parse().ok()?))
            });
            let domain = system
                .domains
                .iter()
                .position(|domain| domain.name == short);
            let (subject, role) = if let Some(index) = domain {
                // Microkit's tool counts from 1, in the order of the description.
                (short.to_owned(), Role::Domain(index as u64 + 1))
            } else if let Some((machine, vcpu)) = machine {
                (machine, Role::Vcpu(vcpu))
            } else if short == MONITOR {
                (MONITOR.to_owned(), Role::Monitor)
            } else {
                (name.to_owned(), Role::Unknown)
            };
            let twin = |other: &&Thread<'_>| (&other.subject, &other.role) == (&subject, &role);
            if let Some(twin) = self.threads.iter().find(twin) {
                let what = format!("has two threads, {} and {name}", twin.name);
                self.other(&subject, name, what);
            }
            self.threads.push(Thread {
                subject,
                role,
                name,
                tcb,
                object,
            });
        }
    }

    /// Endpoints and notifications belong to whom authority says, not to whom their names say.
    fn own_objects(&mut self) {
        for thread in self.threads.clone() {
            if let Some(Cap::Notification { object, .. }) = thread.tcb.slot(tcb::BOUND_NOTIFICATION)
            {
                self.notifications.insert(*object, thread.subject.clone());
            }
            let input = if thread.role == Role::Monitor {
                1
            } else {
                slot::INPUT
            };
            for (slot, cap) in self.slots(thread.tcb) {
                if let Cap::Endpoint {
                    object, badge: 0, ..
                } = cap
                    && slot == input
                {
                    self.endpoints.insert(*object, thread.subject.clone());
                    self.claim(*object, &thread.alone(), thread.name);
                }
            }
        }
    }

    /// The capabilities that a thread can name, by their slot in the last level.
    fn slots(&self, tcb: &'a Tcb) -> Vec<(u32, &'a Cap)> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut nodes: Vec<usize> = tcb
            .slot(tcb::CSPACE)
            .and_then(Cap::cnode)
            .into_iter()
            .collect();
        while let Some(node) = nodes.pop() {
            let Object::CNode(cnode) = self.spec.object(node) else {
                continue;
            };
            for entry in &cnode.slots {
                match entry.cap.cnode() {
                    // A root of two levels; the tool never puts a node into the last level.
                    Some(inner) if cnode.size_bits < 9 && seen.insert(inner) => nodes.push(inner),
                    _ => found.push((entry.slot, &entry.cap)),
                }
            }
        }
        found
    }

    fn thread(&mut self, thread: &Thread<'a>) {
        let Thread {
            subject, name, tcb, ..
        } = thread;
        if thread.role == Role::Unknown {
            self.other(
                "system",
                name,
                format!("there is a thread {name}, which the description does not have"),
            );
        }
        if thread.role != Role::Monitor {
            self.facts.add_from(
                Fact::Priority {
                    subject: subject.clone(),
                    priority: tcb.extra.prio,
                },
                name,
            );
        }
        let context = tcb.slot(tcb::SCHEDULING_CONTEXT).and_then(Cap::object);
        if let Some(Object::SchedContext(context)) = context.map(|it| self.spec.object(it))
            && thread.role != Role::Monitor
        {
            let SchedContextExtra { budget, period } = context.extra;
            self.facts.budget(subject, budget, period);
        }
        if tcb.extra.max_prio != tcb.extra.prio && thread.role != Role::Monitor {
            let what = format!("may give priorities up to {}", tcb.extra.max_prio);
            self.other(subject, name, what);
        }
        for entry in tcb
            .slots
            .iter()
            .filter(|entry| !tcb::ALL.contains(&entry.slot))
        {
            let what = format!("has {} as its thread's {}", entry.cap.kind(), entry.slot);
            self.other(subject, name, what);
        }
        // All threads of a machine share its address space; everything else is one thread's own.
        let together = Owner {
            subject: subject.clone(),
            thread: None,
        };
        for (slot, owner) in [
            (tcb::VSPACE, &together),
            (tcb::IPC_BUFFER, &together),
            (tcb::CSPACE, &thread.alone()),
            (tcb::SCHEDULING_CONTEXT, &thread.alone()),
            (tcb::BOUND_NOTIFICATION, &thread.alone()),
            (tcb::VCPU, &thread.alone()),
        ] {
            if let Some(object) = tcb.slot(slot).and_then(Cap::object) {
                self.claim(object, owner, name);
            }
        }
        if let Some(buffer) = tcb.slot(tcb::IPC_BUFFER) {
            // The kernel writes and reads it for the thread, mapped or not.
            self.frame(subject, buffer, 0);
        }
        if let Some(root) = tcb.slot(tcb::VSPACE).and_then(Cap::page_table) {
            self.space(subject, root);
        }
        self.fault_handler(thread);
        let vcpu = tcb.slot(tcb::VCPU).is_some();
        if vcpu != matches!(thread.role, Role::Vcpu(_)) {
            self.other(
                subject,
                name,
                "is bound to a vCPU, or lacks one, against its kind".to_owned(),
            );
        }
        for (slot, cap) in self.slots(tcb) {
            match (&thread.role, cap) {
                (Role::Monitor, Cap::Reply { object }) => {
                    self.claim(*object, &thread.alone(), name);
                }
                // Microkit's own, and trusted.
                (Role::Monitor, _) => {}
                _ => self.capability(thread, slot, cap),
            }
        }
    }

    /// Notes that an object belongs to somebody, and complains of both if it belongs to another already.
    fn claim(&mut self, object: usize, owner: &Owner, from: &str) {
        let first = self.owned.entry(object).or_insert_with(|| owner.clone());
        let first = first.clone();
        for (one, other) in [(owner, &first), (&first, owner)] {
            if one != other {
                let what = format!("shares {} with {other}", self.spec.name(object));
                self.other(&one.subject, from, what);
            }
        }
    }

    fn fault_handler(&mut self, thread: &Thread<'a>) {
        let handler = thread.tcb.slot(tcb::FAULT_HANDLER);
        let (subject, name) = (&thread.subject, thread.name);
        let Some(Cap::Endpoint { object, badge, .. }) = handler else {
            if thread.role != Role::Monitor {
                self.other(subject, name, "its faults go nowhere".to_owned());
            }
            return;
        };
        let owner = self.endpoints.get(object).cloned();
        match (&thread.role, owner) {
            (Role::Vcpu(vcpu), Some(owner)) if *badge == FAULT_BADGE | u64::from(*vcpu) => {
                let fact = Fact::Faults {
                    subject: owner,
                    machine: subject.clone(),
                    vcpu: *vcpu,
                };
                self.facts.add_from(fact, name);
            }
            (Role::Domain(known), Some(owner)) if owner == MONITOR && badge == known => {}
            (_, owner) => {
                let owner = owner.unwrap_or_else(|| "nobody".to_owned());
                self.other(
                    subject,
                    name,
                    format!("its faults go to {owner} with badge {badge:#x}"),
                );
            }
        }
    }

    /// Each interrupt is delivered to who handles it, under the identifier of its slot.
    fn interrupts(&mut self) {
        let handled: Vec<(String, u8, u32)> = self
            .facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Interrupt {
                    subject,
                    channel,
                    intid,
                } => Some((subject.clone(), *channel, *intid)),
                _ => None,
            })
            .collect();
        for irq in &self.spec.irqs {
            let target = match self.spec.object(irq.handler) {
                Object::ArmIrq(handler) => handler.slots.first().map(|entry| &entry.cap),
                _ => None,
            };
            let delivered = match target {
                Some(Cap::Notification { object, badge, .. }) if badge.is_power_of_two() => {
                    self.notifications.get(object).map(|owner| {
                        (
                            owner.clone(),
                            u8::try_from(badge.trailing_zeros()).unwrap_or(u8::MAX),
                        )
                    })
                }
                _ => None,
            };
            let (owner, channel) = delivered.unwrap_or_else(|| ("nobody".to_owned(), u8::MAX));
            for (subject, id, _) in handled.iter().filter(|(.., intid)| *intid == irq.irq) {
                if (subject, *id) != (&owner, channel) {
                    let what = format!(
                        "handles interrupt {} (id {id}), which is delivered to {owner} as {channel}",
                        irq.irq
                    );
                    self.other(subject, self.spec.name(irq.handler), what);
                }
            }
            if !handled.iter().any(|(.., intid)| *intid == irq.irq) {
                let what = format!("receives interrupt {} without handling it", irq.irq);
                self.other(&owner, self.spec.name(irq.handler), what);
            }
        }
    }
}
