// SPDX-License-Identifier: BSD-2-Clause
//! What a capability in a thread's slot lets it do.
//!
//! Responsible for: a fact for each, with the object that it leads to. Never: passes over one that it does not understand.

use kernel_image::slot;

use super::spec::{Cap, tcb};
use super::{CALL_BADGE, Reader, Role, SMC, Thread};
use crate::facts::{Fact, MONITOR};

impl<'a> Reader<'a> {
    pub(super) fn capability(&mut self, thread: &Thread<'a>, slot: u32, cap: &Cap) {
        let subject = thread.subject.clone();
        let object = format!("{} slot {slot}", thread.name);
        let known = match (slot, cap) {
            (
                slot::INPUT,
                Cap::Notification {
                    object, badge: 0, ..
                },
            ) => self.notifications.get(object) == Some(&subject),
            (
                slot::INPUT,
                Cap::Endpoint {
                    object, badge: 0, ..
                },
            ) => self.endpoints.get(object) == Some(&subject),
            (
                slot::FAULT_ENDPOINT | slot::MONITOR,
                Cap::Endpoint {
                    object: endpoint,
                    badge,
                    ..
                },
            ) => {
                // By the latter it asks the monitor to take it off its own time.
                if slot == slot::MONITOR {
                    let subject = subject.clone();
                    self.facts.add_from(Fact::Passive { subject }, &object);
                }
                self.monitors_endpoint(thread, *endpoint, *badge, cap, &object)
            }
            (slot::ADDRESS_SPACE, Cap::PageTable { object }) => {
                thread.tcb.slot(tcb::VSPACE).and_then(Cap::page_table) == Some(*object)
            }
            (SMC, Cap::ArmSmc { .. }) => {
                let subject = subject.clone();
                self.facts.add_from(Fact::Firmware { subject }, &object);
                true
            }
            (slot::REPLY, Cap::Reply { object }) => {
                self.claim(*object, &thread.alone(), thread.name);
                true
            }
            (
                slot,
                Cap::Notification {
                    object: peer,
                    badge,
                    ..
                },
            ) => self.notification(&subject, slot, *peer, *badge, &object),
            (
                slot,
                Cap::Endpoint {
                    object: peer,
                    badge,
                    ..
                },
            ) => self.endpoint(&subject, slot, *peer, *badge, cap, &object),
            (slot, Cap::ArmIrqHandler { object: handler }) => {
                self.handler(&subject, slot, *handler, &object)
            }
            (slot, Cap::Tcb { object: target }) => {
                self.vcpu(&subject, slot, slot::VM_THREADS, *target, &object)
            }
            (slot, Cap::VCpu { object: target }) => {
                let bound = self.threads.iter().find(|thread| {
                    thread.tcb.slot(tcb::VCPU).and_then(Cap::object) == Some(*target)
                });
                let bound = bound.map(|thread| thread.object);
                bound.is_some_and(|bound| self.vcpu(&subject, slot, slot::VCPUS, bound, &object))
            }
            _ => false,
        };
        if !known {
            let target = cap.object().map_or("", |object| self.name(object));
            let what = format!("holds {} {target} in slot {slot}", cap.kind());
            self.other(&subject, &object, what);
        }
    }

    /// The monitor's endpoint, with the badge that the monitor knows the domain by.
    pub(super) fn monitors_endpoint(
        &mut self,
        thread: &Thread<'a>,
        endpoint: usize,
        badge: u64,
        cap: &Cap,
        from: &str,
    ) -> bool {
        let own = match thread.tcb.slot(tcb::FAULT_HANDLER) {
            Some(Cap::Endpoint { badge, .. }) => *badge,
            _ => return false,
        };
        if self.endpoints.get(&endpoint).map(String::as_str) != Some(MONITOR) || badge != own {
            return false;
        }
        self.may_receive(&thread.subject, MONITOR, cap, from);
        true
    }

    fn may_receive(&mut self, subject: &str, peer: &str, cap: &Cap, from: &str) {
        if cap.rights().is_some_and(|rights| rights.read) {
            let fact = Fact::ReceiveAt {
                subject: subject.to_owned(),
                peer: peer.to_owned(),
            };
            self.facts.add_from(fact, from);
        }
    }

    fn notification(
        &mut self,
        subject: &str,
        slot: u32,
        object: usize,
        badge: u64,
        from: &str,
    ) -> bool {
        let (Some(channel), Some(peer)) = (
            identifier(slot, slot::NOTIFICATIONS),
            self.notifications.get(&object),
        ) else {
            return false;
        };
        // To receive at a notification that is bound to a thread is refused to all other threads (seL4,
        // `handleRecv`), so that the right to read which the tool grants gives nothing.
        let fact = Fact::Notify {
            subject: subject.to_owned(),
            channel,
            peer: peer.clone(),
            peer_channel: u8::try_from(badge.trailing_zeros()).unwrap_or(u8::MAX),
        };
        self.facts.add_from(fact, from);
        badge.is_power_of_two()
    }

    fn endpoint(
        &mut self,
        subject: &str,
        slot: u32,
        object: usize,
        badge: u64,
        cap: &Cap,
        from: &str,
    ) -> bool {
        let (Some(channel), Some(peer)) = (
            identifier(slot, slot::ENDPOINTS),
            self.endpoints.get(&object).cloned(),
        ) else {
            return false;
        };
        let fact = Fact::Call {
            subject: subject.to_owned(),
            channel,
            peer: peer.clone(),
            peer_channel: u8::try_from(badge & 0x3f).unwrap_or(u8::MAX),
        };
        self.facts.add_from(fact, from);
        self.may_receive(subject, &peer, cap, from);
        badge & !0x3f == CALL_BADGE
    }

    fn handler(&mut self, subject: &str, slot: u32, handler: usize, from: &str) -> bool {
        let intid = self.spec.irqs.iter().find(|irq| irq.handler == handler);
        let (Some(channel), Some(irq)) = (identifier(slot, slot::INTERRUPTS), intid) else {
            return false;
        };
        let fact = Fact::Interrupt {
            subject: subject.to_owned(),
            channel,
            intid: irq.irq,
        };
        self.facts.add_from(fact, from);
        true
    }

    /// A thread or vCPU of a machine, at the slot of its identifier.
    fn vcpu(&mut self, subject: &str, slot: u32, base: u32, thread: usize, from: &str) -> bool {
        let target = self
            .threads
            .iter()
            .find(|other| other.object == thread)
            .cloned();
        let Some(Thread {
            subject: machine,
            role: Role::Vcpu(vcpu),
            ..
        }) = target
        else {
            return false;
        };
        let (subject, at) = (subject.to_owned(), identifier(slot, base));
        let fact = if base == slot::VCPUS {
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
        };
        self.facts.add_from(fact, from);
        at == Some(vcpu)
    }
}

/// The identifier that a slot stands for in the range that starts at `base`.
fn identifier(slot: u32, base: u32) -> Option<u8> {
    let id = slot
        .checked_sub(base)
        .filter(|&id| id < slot::IDENTIFIERS)?;
    u8::try_from(id).ok()
}
