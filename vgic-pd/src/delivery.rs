//! Which pending interrupt goes into which list register.
//!
//! Responsible for: lines, ends, and the choice described in the crate's documentation. It must
//! never put one interrupt into two list registers, nor anything into an occupied one.

use crate::bank::LEAST_URGENT;
use crate::books::Occupant;
use crate::gic::{Gic, Presence};
use crate::interrupt::{Interrupt, VcpuSet, bits};
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
        if self.bank(vcpu, interrupt.bank()).ready & interrupt.bit() != 0 {
            self.owed = self.owed.or(self.targets(vcpu, interrupt));
        }
        self.fill_owed(answer);
        Ok(())
    }

    /// The kernel reported the end of what was in a list register. Answers with its INTID, or
    /// [`Answer::NOTHING_ENDED`] if the books have nothing there: seL4 may report an end twice,
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
        let books = &mut self.vcpu.get_mut(vcpu).books;
        answer.restart(Answer::NOTHING_ENDED);
        if let Some(occupant) = books.take(usize::from(list_register)) {
            let interrupt = occupant.interrupt;
            answer.value = interrupt.intid().value().into();
            self.end(vcpu, interrupt);
            let affected = VcpuSet::only(vcpu).or(self.targets(vcpu, interrupt));
            self.owed = self.owed.or(affected);
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
        if own.presence == Presence::Restoring {
            own.presence = match own.interface.control & ENABLED {
                0 => Presence::Absent,
                _ => Presence::Present,
            };
        }
        answer.restart(0);
        self.owed = self.owed.or(VcpuSet::only(vcpu));
        self.fill_owed(answer);
        answer.value = self.vcpu.get(vcpu).books.may_have_pending().into();
        Ok(())
    }

    /// A vCPU shows that it runs.
    #[inline]
    pub(crate) fn arrive(&mut self, vcpu: VcpuId) {
        let presence = &mut self.vcpu.get_mut(vcpu).presence;
        if *presence == Presence::Absent {
            *presence = Presence::Present;
            self.owed = self.owed.or(VcpuSet::only(vcpu));
        }
    }

    /// Delivers whatever can be. Afterwards nothing waits that could be delivered, or the answer
    /// says that more is due; and nothing waits for something less urgent, or the answer says
    /// where.
    #[inline]
    pub(crate) fn fill_owed(&mut self, answer: &mut Answer) {
        for vcpu in core::mem::take(&mut self.owed).iter() {
            self.fill(vcpu, answer);
        }
        if self.full != VcpuSet::EMPTY {
            self.report_crowded(answer);
        }
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
                self.owed = self.owed.or(VcpuSet::only(vcpu));
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
    fn report_crowded(&mut self, answer: &mut Answer) {
        let full = core::mem::take(&mut self.full);
        let moves = |vcpu| {
            let presence = self.vcpu.get(vcpu).presence;
            matches!(presence, Presence::Captured | Presence::Restoring)
        };
        if self.all().iter().any(moves) {
            self.owed = self.owed.or(full);
            return;
        }
        for vcpu in full
            .iter()
            .filter(|vcpu| !self.vcpu.get(*vcpu).books.has_room())
        {
            let least_urgent = self.vcpu.get(vcpu).books.least_urgent();
            let waits = self.most_urgent(vcpu).map(|candidate| candidate.priority);
            if waits
                .zip(least_urgent)
                .is_some_and(|(waits, there)| waits < there)
            {
                answer.set_crowded(vcpu);
            }
        }
    }

    /// Whether a vCPU takes interrupts and has a free list register.
    fn takes_interrupts(&self, vcpu: VcpuId) -> bool {
        let vcpu = self.vcpu.get(vcpu);
        matches!(vcpu.presence, Presence::Absent | Presence::Present) && vcpu.books.has_room()
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
                .filter(|interrupt| own.presence == Presence::Present || !self.runs(*interrupt))
                .map(|interrupt| Candidate {
                    priority: bank.priority(interrupt.place()),
                    interrupt,
                })
        });
        private.chain(shared).min()
    }

    /// Whether any target of a shared interrupt is known to run.
    fn runs(&self, interrupt: Interrupt) -> bool {
        (self.targets(Self::ANY, interrupt).iter())
            .any(|target| self.vcpu.get(target).presence == Presence::Present)
    }

    /// Where an interrupt goes that could go to `vcpu`: there, or to another of its targets that
    /// has nothing in flight while `vcpu` has, and nothing more urgent to come.
    fn destination(&self, vcpu: VcpuId, candidate: Candidate) -> Option<(VcpuId, usize)> {
        let idle = |target: &VcpuId| {
            let target = self.vcpu.get(*target);
            target.presence == Presence::Present && target.books.is_empty()
        };
        let target = if candidate.interrupt.bank() == 0 || idle(&vcpu) {
            vcpu
        } else {
            self.targets(vcpu, candidate.interrupt)
                .iter()
                .filter(idle)
                .find(|target| self.most_urgent(*target) == Some(candidate))
                .unwrap_or(vcpu)
        };
        let list_register = self.vcpu.get(target).books.first_free()?;
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
        let occupant = Occupant {
            interrupt,
            priority: candidate.priority,
            source,
            restored: false,
        };
        self.occupy(vcpu, list_register, occupant, group, answer);
    }

    /// Enters an occupant in the books and in the answer. One that is restored as active goes in with a priority at
    /// which it can be acknowledged, whatever the guest has made of its priority since; nobody sees that.
    pub(crate) fn occupy(
        &mut self,
        vcpu: VcpuId,
        list_register: usize,
        occupant: Occupant,
        group: u8,
        answer: &mut Answer,
    ) {
        let entered = self.vcpu.get_mut(vcpu).books.put(list_register, occupant);
        debug_assert!(entered, "the list register was found free");
        answer.inject(Injection {
            vcpu,
            intid: occupant.interrupt.intid(),
            priority: occupant.priority.min(LEAST_URGENT) >> 3,
            group,
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
