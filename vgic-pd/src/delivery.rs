// SPDX-License-Identifier: BSD-2-Clause
//! Which pending interrupt goes into which list register.
//!
//! Responsible for: lines, ends, and the choice described in the crate's documentation. It must
//! never put one interrupt into two list registers, nor anything into an occupied one.

use crate::bank::LEAST_URGENT;
use crate::gic::{Gic, InjectionState};
use crate::interrupt::{Interrupt, VcpuSet, bits};
use crate::shadow::Entry;
use channel::vgic::{Answer, Injection, Refusal};
use channel::{Intid, VcpuId};

/// An interrupt that can be delivered. Ordered by urgency: the smallest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    priority: u8,
    interrupt: Interrupt,
}

impl Gic {
    /// A line changes its level. For a private interrupt, that of `vcpu`; for a shared one,
    /// `vcpu` says only on whose behalf. SGIs have no line.
    pub fn set_line(
        &mut self,
        vcpu: VcpuId,
        intid: Intid,
        level: bool,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        self.check(vcpu)?;
        let interrupt = Self::interrupt(intid)?;
        if intid.is_sgi() {
            return Err(Refusal::OutOfRange);
        }
        self.change(vcpu, interrupt.bank(), |bank| {
            bank.set_line(interrupt.bit(), level);
        });
        answer.restart(0);
        let bank = self.bank(vcpu, interrupt.bank());
        let due = bank.ready & interrupt.bit() != 0;
        let changed = bank.not_forwarded(self.control) | bank.again();
        let suspect = changed & interrupt.bit() != 0;
        if due {
            self.needs_delivery = self.needs_delivery.or(self.targets(vcpu, interrupt));
        }
        if suspect {
            self.suspect = match interrupt.bank() {
                0 => VcpuSet::only(vcpu),
                _ => self.all(),
            };
        }
        self.fill_owed(answer);
        Ok(())
    }

    /// A vCPU is switched on or off. One that is on again shows by an access that it runs, as after reset.
    pub fn set_power(
        &mut self,
        vcpu: VcpuId,
        on: bool,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        self.check(vcpu)?;
        let own = self.vcpu.get_mut(vcpu);
        own.off = !on;
        own.offered = false;
        if own.injection == InjectionState::Present {
            own.injection = InjectionState::Absent;
        }
        answer.restart(0);
        // What it was to get others may have, or it itself from now on.
        self.needs_delivery = self.all();
        self.suspect = VcpuSet::only(vcpu);
        self.fill_owed(answer);
        Ok(())
    }

    /// A vCPU waits: it may as well have the shared interrupts that others hold and have not taken, if it is one of
    /// their targets.
    pub fn offer(&mut self, vcpu: VcpuId, answer: &mut Answer) -> Result<(), Refusal> {
        self.check(vcpu)?;
        answer.restart(0);
        let waits = VcpuSet::only(vcpu);
        for holder in self.all().without(waits).iter() {
            let shadow = &self.vcpu.get(holder).shadow;
            let contested = shadow.entries().flatten().any(|entry| {
                let interrupt = entry.interrupt;
                let shared = interrupt.bank() > 0 && !entry.restored;
                shared && self.targets(vcpu, interrupt).contains(vcpu)
            });
            if contested {
                answer.set_rearrange(holder);
                self.vcpu.get_mut(vcpu).offered = true;
            }
        }
        self.fill_owed(answer);
        Ok(())
    }

    /// The kernel reported the end of what was in a list register. Answers with its INTID, or
    /// [`Answer::NOTHING_ENDED`] if the shadow has nothing there: seL4 may report an end twice,
    /// or one that a capture has seen already.
    ///
    /// The virtual timer's line goes low with it: the kernel masked the timer when it reported
    /// it, and reports it again after the acknowledgement if it is still due.
    pub fn maintenance(
        &mut self,
        vcpu: VcpuId,
        list_register: u8,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        self.check(vcpu)?;
        let shadow = &mut self.vcpu.get_mut(vcpu).shadow;
        answer.restart(Answer::NOTHING_ENDED);
        if let Some(entry) = shadow.take(usize::from(list_register)) {
            let interrupt = entry.interrupt;
            answer.value = interrupt.intid().value().into();
            self.end(vcpu, interrupt);
            let affected = VcpuSet::only(vcpu).or(self.targets(vcpu, interrupt));
            self.needs_delivery = self.needs_delivery.or(affected);
        }
        self.fill_owed(answer);
        Ok(())
    }

    /// An interrupt has been deactivated by the guest, and left its list register.
    pub(crate) fn end(&mut self, vcpu: VcpuId, interrupt: Interrupt) {
        let bit = interrupt.bit();
        self.change(vcpu, interrupt.bank(), |bank| {
            bank.leave(bit);
            bank.active &= !bit;
            if interrupt.intid() == Intid::VIRTUAL_TIMER {
                bank.set_line(bit, false);
            }
        });
    }

    /// Brings injections that are due to a vCPU, after a restore from now on also unasked. The
    /// answer's value is 1 if something in its list registers may be waiting to be taken, so that it must not
    /// sleep. A vCPU that was captured gets nothing before [`Gic::restore`].
    pub fn refill(&mut self, vcpu: VcpuId, answer: &mut Answer) -> Result<(), Refusal> {
        self.check(vcpu)?;
        /// `GICC_CTLR.EnableGrp0` and `EnableGrp1` (IHI 0048B, 4.4.1).
        const ENABLED: u32 = 0b11;
        let own = self.vcpu.get_mut(vcpu);
        if own.injection == InjectionState::Restoring {
            own.injection = match own.interface.control & ENABLED {
                0 => InjectionState::Absent,
                _ => InjectionState::Present,
            };
        }
        answer.restart(0);
        self.needs_delivery = self.needs_delivery.or(VcpuSet::only(vcpu));
        self.fill_owed(answer);
        answer.value = self.vcpu.get(vcpu).shadow.may_have_pending().into();
        Ok(())
    }

    /// A vCPU shows that it runs.
    #[inline]
    pub(crate) fn arrive(&mut self, vcpu: VcpuId) {
        let injection = &mut self.vcpu.get_mut(vcpu).injection;
        if *injection == InjectionState::Absent {
            *injection = InjectionState::Present;
            self.needs_delivery = self.needs_delivery.or(VcpuSet::only(vcpu));
        }
    }

    /// Delivers whatever can be. Afterwards nothing waits that could be delivered, or the answer
    /// says that more is due; and nothing waits for something less urgent, or the answer says
    /// where.
    #[inline]
    pub(crate) fn fill_owed(&mut self, answer: &mut Answer) {
        for vcpu in core::mem::take(&mut self.needs_delivery).iter() {
            self.fill(vcpu, answer);
        }
        if self.full.or(self.suspect) != VcpuSet::EMPTY {
            self.report_withdrawn(answer);
            self.report_overflow(answer);
        }
    }

    /// Says which of the vCPUs that are looked at have to give something up.
    #[cold]
    fn report_withdrawn(&mut self, answer: &mut Answer) {
        for vcpu in core::mem::take(&mut self.suspect).iter() {
            let mut entries = self.vcpu.get(vcpu).shadow.entries().flatten();
            if entries.any(|entry| self.is_misplaced(vcpu, &entry)) {
                answer.set_rearrange(vcpu);
            }
        }
    }

    /// Whether an interrupt is in a list register of `vcpu` and should not be, should it be pending there: the
    /// distributor would not forward it, not to this vCPU, or not like this (IHI 0048B, 4.3). For one that is known to be
    /// active, whether the guest has deactivated it.
    fn is_misplaced(&self, vcpu: VcpuId, entry: &Entry) -> bool {
        let interrupt = entry.interrupt;
        let bank = self.bank(vcpu, interrupt.bank());
        let bit = interrupt.bit();
        if bank.deactivated & bit != 0 {
            return true;
        }
        // Raised again: if it is pending still, the two are one. SGIs are left alone, of which another may be due from
        // another vCPU, and which are sent while their handlers run all the time.
        let again = bank.again() & bit != 0 && !interrupt.intid().is_sgi();
        let group = u8::from(bank.group & bit != 0);
        let as_injected =
            (bank.priority(interrupt.place()), group) == (entry.priority, entry.group);
        let forwarded = bank.not_forwarded(self.control) & bit == 0
            && !self.vcpu.get(vcpu).off
            && self.targets(vcpu, interrupt).contains(vcpu);
        !(entry.restored || forwarded && as_injected && !again)
    }

    /// Delivers to a vCPU whatever can be.
    fn fill(&mut self, vcpu: VcpuId, answer: &mut Answer) {
        while self.takes_interrupts(vcpu) {
            let Some(candidate) = self.most_urgent(vcpu) else {
                return;
            };
            let Some((target, list_register)) = self.destination(vcpu, candidate) else {
                return;
            };
            if answer.is_full() {
                answer.set_more();
                self.needs_delivery = self.needs_delivery.or(VcpuSet::only(vcpu));
                return;
            }
            self.place(target, list_register, candidate, answer);
        }
        self.full = self.full.or(VcpuSet::only(vcpu));
    }

    /// Says which of the vCPUs that take no more hold an interrupt in a list register that may
    /// still be pending there, and is less urgent than one that waits.
    ///
    /// Not while any vCPU is being captured or restored: what it gave up is on its way back, and
    /// would seem to wait for others. They are looked at when it is there again.
    #[cold]
    fn report_overflow(&mut self, answer: &mut Answer) {
        let full = core::mem::take(&mut self.full);
        if self.all().iter().any(|vcpu| self.stands(vcpu)) {
            self.needs_delivery = self.needs_delivery.or(full);
            return;
        }
        for vcpu in full
            .iter()
            .filter(|vcpu| !self.vcpu.get(*vcpu).shadow.has_room())
        {
            let least_urgent = self.vcpu.get(vcpu).shadow.least_urgent();
            let waits = self.most_urgent(vcpu).map(|candidate| candidate.priority);
            if waits
                .zip(least_urgent)
                .is_some_and(|(waits, there)| waits < there)
            {
                answer.set_rearrange(vcpu);
            }
        }
    }

    /// Whether a vCPU takes interrupts and has a free list register.
    fn takes_interrupts(&self, vcpu: VcpuId) -> bool {
        let own = self.vcpu.get(vcpu);
        !own.off && !self.stands(vcpu) && own.shadow.has_room()
    }

    /// Whether a vCPU is about to be captured, or is not yet as it was.
    fn stands(&self, vcpu: VcpuId) -> bool {
        let own = self.vcpu.get(vcpu);
        own.held
            || matches!(
                own.injection,
                InjectionState::Captured | InjectionState::Restoring
            )
    }

    /// The most urgent interrupt that can be delivered to a vCPU.
    fn most_urgent(&self, vcpu: VcpuId) -> Option<Candidate> {
        let own = self.vcpu.get(vcpu);
        let private = bits(own.bank.ready)
            .filter_map(|bit| Interrupt::at(0, bit))
            .map(|interrupt| Candidate {
                priority: own.bank.priority(interrupt.place()),
                interrupt,
            });
        let shared = bits(self.shared_ready.into()).flat_map(|index| {
            let index = index as usize;
            let bank = self.bank(vcpu, index + 1);
            let targeted = own.targeted.get(index).copied().unwrap_or(0);
            bits(bank.ready & targeted)
                .filter_map(move |bit| Interrupt::at(index + 1, bit))
                .filter(|interrupt| own.is_present() || !self.runs(*interrupt))
                .map(|interrupt| Candidate {
                    priority: bank.priority(interrupt.place()),
                    interrupt,
                })
        });
        private.chain(shared).min()
    }

    /// Whether any target of a shared interrupt is known to run.
    fn runs(&self, interrupt: Interrupt) -> bool {
        (self.targets(Self::ANY, interrupt).iter()).any(|target| self.vcpu.get(target).is_present())
    }

    /// Where an interrupt goes that could go to `vcpu`: there, or to another of its targets that
    /// was promised it, or has nothing in flight while `vcpu` has; and has nothing more urgent to come.
    fn destination(&self, vcpu: VcpuId, candidate: Candidate) -> Option<(VcpuId, usize)> {
        let offered =
            |target: &VcpuId| self.vcpu.get(*target).offered && self.takes_interrupts(*target);
        let idle = |target: &VcpuId| {
            let target = self.vcpu.get(*target);
            target.is_present() && target.shadow.is_empty()
        };
        let others = self.targets(vcpu, candidate.interrupt);
        let best = |suits: &dyn Fn(&VcpuId) -> bool| {
            let mut suitable = others.iter().filter(suits);
            suitable.find(|target| self.most_urgent(*target) == Some(candidate))
        };
        let target = if candidate.interrupt.bank() == 0 {
            vcpu
        } else if let Some(target) = best(&offered) {
            target
        } else if idle(&vcpu) {
            vcpu
        } else {
            best(&idle).unwrap_or(vcpu)
        };
        let list_register = self.vcpu.get(target).shadow.first_free()?;
        Some((target, list_register))
    }

    /// Puts an interrupt into a free list register.
    fn place(
        &mut self,
        vcpu: VcpuId,
        list_register: usize,
        candidate: Candidate,
        answer: &mut Answer,
    ) {
        let interrupt = candidate.interrupt;
        let (source, more_sources) = self.take_source(vcpu, interrupt);
        let bit = interrupt.bit();
        let group = self.change(vcpu, interrupt.bank(), |bank| {
            bank.enter(bit, more_sources);
            u8::from(bank.group & bit != 0)
        });
        let entry = Entry {
            interrupt,
            priority: candidate.priority,
            source,
            group,
            restored: false,
        };
        self.load(vcpu, list_register, entry, answer);
        if interrupt.bank() > 0 {
            self.vcpu.get_mut(vcpu).offered = false;
        }
    }

    /// Loads a list register: in the shadow, and in the answer. One that is restored as active goes in with a priority at
    /// which it can be acknowledged, whatever the guest has made of its priority since; nobody sees that.
    pub(crate) fn load(
        &mut self,
        vcpu: VcpuId,
        list_register: usize,
        entry: Entry,
        answer: &mut Answer,
    ) {
        let entered = self.vcpu.get_mut(vcpu).shadow.put(list_register, entry);
        debug_assert!(entered, "the list register was found free");
        answer.inject(Injection {
            vcpu,
            intid: entry.interrupt.intid(),
            priority: entry.priority.min(LEAST_URGENT) >> 3,
            group: entry.group,
            list_register: u8::try_from(list_register).unwrap_or(u8::MAX),
        });
    }

    /// Takes the first of an SGI's sources away. Answers with it, and with whether there are
    /// more. For other interrupts, nothing.
    fn take_source(&mut self, vcpu: VcpuId, interrupt: Interrupt) -> (VcpuSet, bool) {
        let own = self.vcpu.get_mut(vcpu);
        if !interrupt.intid().is_sgi() {
            return (VcpuSet::EMPTY, false);
        }
        let Some(sources) = own.sources.get_mut(interrupt.place()) else {
            return (VcpuSet::EMPTY, false);
        };
        let Some(first) = sources.iter().next() else {
            return (VcpuSet::EMPTY, false);
        };
        let first = VcpuSet::only(first);
        *sources = sources.without(first);
        (first, *sources != VcpuSet::EMPTY)
    }
}
