// SPDX-License-Identifier: BSD-2-Clause
//! A vCPU's list registers, emptied by a capture and filled again by a restore.
//!
//! Responsible for: turning what a capture found in list registers into the state of interrupts,
//! and back. Both directions are total, and lose nothing that the architecture calls state. It
//! must never let an injection reach a vCPU between its capture and its refill.

use crate::gic::{Gic, InjectionState};
use crate::interrupt::{Interrupt, VcpuSet, bits};
use crate::shadow::Entry;
use channel::VcpuId;
use channel::vgic::{
    Answer, CpuInterface, LIST_REGISTERS, ListRegisterEntries, ListRegisterState, Refusal,
    RestorePlan,
};

impl Gic {
    /// Which INTIDs sit in a vCPU's list registers. With `hold`, nothing more is put there before its capture.
    pub fn entries(&mut self, vcpu: VcpuId, hold: bool) -> Result<ListRegisterEntries, Refusal> {
        self.check(vcpu)?;
        self.vcpu.get_mut(vcpu).held |= hold;
        let mut entries = ListRegisterEntries::default();
        let shadow = self.vcpu.get(vcpu).shadow.entries();
        for (slot, entry) in entries.0.iter_mut().zip(shadow) {
            *slot = entry.map(|entry| entry.interrupt.intid());
        }
        Ok(entries)
    }

    /// A capture emptied the list registers of a vCPU. The answer's value has a bit for each list
    /// register whose interrupt had ended unreported; such an end counts like a reported one.
    /// Nothing is injected, here or elsewhere: what was pending waits for a refill.
    ///
    /// Refused, and nothing changed, if `found` says that a list register was pending as well as
    /// active, or anything of one that was empty.
    pub fn captured(
        &mut self,
        vcpu: VcpuId,
        interface: CpuInterface,
        found: ListRegisterState,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        self.check(vcpu)?;
        let own = self.vcpu.get_mut(vcpu);
        let occupied = (own.shadow.entries())
            .zip(0..)
            .filter(|(entry, _)| entry.is_some())
            .fold(0_u8, |set, (_, register)| set | 1 << register);
        if found.pending & found.active != 0 || (found.pending | found.active) & !occupied != 0 {
            return Err(Refusal::OutOfRange);
        }
        // What goes into the record has to fit there.
        let bytes = [
            interface.priority_mask,
            interface.binary_point,
            interface.aliased_binary_point,
        ];
        if bytes.iter().any(|register| *register > 0xff) {
            return Err(Refusal::OutOfRange);
        }
        own.interface = interface;
        own.injection = InjectionState::Captured;
        own.held = false;
        // Shared interrupts that were on their way here may go elsewhere.
        self.needs_delivery = self.all();
        for list_register in 0..LIST_REGISTERS {
            let Some(entry) = self.vcpu.get_mut(vcpu).shadow.take(list_register) else {
                continue;
            };
            if found.pending & (1 << list_register) != 0 {
                self.was_pending(vcpu, entry);
            } else if found.active & (1 << list_register) != 0 {
                self.was_active(vcpu, entry);
            } else {
                self.end(vcpu, entry.interrupt);
            }
        }
        let ended = occupied & !(found.pending | found.active);
        answer.restart(ended.into());
        Ok(())
    }

    /// An interrupt had not been acknowledged. A level-sensitive one is pending as long as its
    /// line is; a latch comes back unless the guest has cleared it meanwhile.
    fn was_pending(&mut self, vcpu: VcpuId, entry: Entry) {
        let interrupt = entry.interrupt;
        let bit = interrupt.bit();
        let left = self.change(vcpu, interrupt.bank(), |bank| {
            let left = bank.leave(bit);
            if left.latched {
                bank.latch |= bit;
            }
            left
        });
        if interrupt.intid().is_sgi() {
            // The latch follows from the sources.
            self.change_sources(vcpu, interrupt.place(), |sources| {
                if left.latched {
                    sources.or(entry.source)
                } else {
                    sources
                }
            });
        }
    }

    /// An interrupt had been acknowledged and not deactivated, other than through
    /// `GICD_ICACTIVER`.
    fn was_active(&mut self, vcpu: VcpuId, entry: Entry) {
        let interrupt = entry.interrupt;
        let bit = interrupt.bit();
        let still_active = self.change(vcpu, interrupt.bank(), |bank| {
            let left = bank.leave(bit);
            if !left.deactivated {
                bank.active |= bit;
            }
            bank.active & bit != 0
        });
        if !still_active {
            return;
        }
        let own = self.vcpu.get_mut(vcpu);
        if let Some(word) = own.acknowledged.get_mut(interrupt.bank()) {
            *word |= bit;
        }
        if let Some(source) = own.active_sources.get_mut(interrupt.intid().index()) {
            *source = entry.source;
        }
    }

    /// The CPU interface of a captured or imported vCPU, and its active interrupts, which take
    /// list registers from the first on in order of urgency. Pending ones come with
    /// [`Gic::refill`].
    ///
    /// Refused unless the vCPU was captured or imported, or has not run since reset.
    pub fn restore(&mut self, vcpu: VcpuId) -> Result<RestorePlan, Refusal> {
        self.check(vcpu)?;
        let own = self.vcpu.get_mut(vcpu);
        if own.injection == InjectionState::Present || !own.shadow.is_empty() {
            return Err(Refusal::NotCaptured);
        }
        own.injection = InjectionState::Restoring;
        let mut plan = RestorePlan {
            interface: own.interface,
            active: Answer::new(0),
        };
        while let Some((priority, interrupt)) = self.most_urgent_acknowledged(vcpu) {
            let Some(list_register) = self.vcpu.get(vcpu).shadow.first_free() else {
                break;
            };
            self.place_active(vcpu, list_register, priority, interrupt, &mut plan.active);
        }
        Ok(plan)
    }

    /// The acknowledged interrupt of a vCPU that is to get a list register next.
    fn most_urgent_acknowledged(&self, vcpu: VcpuId) -> Option<(u8, Interrupt)> {
        (self.vcpu.get(vcpu).acknowledged.iter().enumerate())
            .flat_map(|(bank, word)| bits(*word).filter_map(move |bit| Interrupt::at(bank, bit)))
            .map(|interrupt| {
                let bank = self.bank(vcpu, interrupt.bank());
                (bank.priority(interrupt.place()), interrupt)
            })
            .min()
    }

    /// Puts an active interrupt back into a list register.
    fn place_active(
        &mut self,
        vcpu: VcpuId,
        list_register: usize,
        priority: u8,
        interrupt: Interrupt,
        answer: &mut Answer,
    ) {
        let bit = interrupt.bit();
        let own = self.vcpu.get_mut(vcpu);
        if let Some(word) = own.acknowledged.get_mut(interrupt.bank()) {
            *word &= !bit;
        }
        let source = own.active_sources.get_mut(interrupt.intid().index());
        let source = source.map_or(VcpuSet::EMPTY, core::mem::take);
        let group = self.change(vcpu, interrupt.bank(), |bank| {
            bank.active &= !bit;
            bank.resident |= bit;
            u8::from(bank.group & bit != 0)
        });
        let entry = Entry {
            interrupt,
            priority,
            group,
            source,
            restored: true,
        };
        self.load(vcpu, list_register, entry, answer);
    }
}
