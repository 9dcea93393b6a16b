//! The plain distributor judges injections.

use super::{Flight, INTERRUPTS, LIST_REGISTERS, Plain, Presence};
use channel::vgic::Injection;

impl Plain {
    fn takes(&self, vcpu: usize) -> bool {
        matches!(self.presence[vcpu], Presence::Absent | Presence::Present)
    }

    fn idle(&self, vcpu: usize) -> bool {
        self.presence[vcpu] == Presence::Present && self.occupants(vcpu) == [None; LIST_REGISTERS]
    }

    /// What could go to a vCPU, ever. One that may be off gets no shared interrupt that another
    /// could take.
    fn candidates(&self, vcpu: usize) -> Vec<usize> {
        let runs = |vcpu: usize| self.presence[vcpu] == Presence::Present;
        let elsewhere =
            |intid| (0..self.vcpus).any(|other| self.targets(other, intid) && runs(other));
        (0..INTERRUPTS)
            .filter(|intid| self.deliverable(vcpu, *intid) && self.targets(vcpu, *intid))
            .filter(|intid| *intid < 32 || runs(vcpu) || !elsewhere(*intid))
            .collect()
    }

    /// The most urgent of them.
    fn most_urgent(&self, vcpu: usize) -> Option<usize> {
        let urgency = |intid: &usize| (self.get(vcpu, *intid).priority, *intid);
        self.candidates(vcpu).into_iter().min_by_key(urgency)
    }

    /// Whether an interrupt of this priority finds room: the last list register is for one that
    /// is more urgent than all there.
    fn has_room(&self, vcpu: usize, priority: u8) -> bool {
        let occupants = self.occupants(vcpu);
        let there = occupants.iter().flatten().map(|intid| {
            let flight = self.get(vcpu, *intid).flight;
            flight.expect("it is in a list register").priority
        });
        match occupants
            .iter()
            .filter(|occupant| occupant.is_none())
            .count()
        {
            0 => false,
            1 => there.min().is_none_or(|most_urgent| priority < most_urgent),
            _ => true,
        }
    }

    /// Carries out an injection, and panics if it is not the right one.
    pub(crate) fn inject(&mut self, injection: Injection) {
        let vcpu = injection.vcpu.index();
        let intid = injection.intid.index();
        let list_register = usize::from(injection.list_register);
        assert!(self.takes(vcpu), "vCPU {vcpu} takes no interrupts");
        assert!(self.deliverable(vcpu, intid), "{intid} is not deliverable");
        assert!(self.targets(vcpu, intid), "{intid} is not for vCPU {vcpu}");
        assert_eq!(self.most_urgent(vcpu), Some(intid), "not the most urgent");
        assert_eq!(self.occupant(vcpu, list_register), None, "overwrites");
        assert!(list_register < LIST_REGISTERS);
        let interrupt = *self.get(vcpu, intid);
        assert!(self.has_room(vcpu, interrupt.priority), "takes the reserve");
        assert_eq!(injection.priority, interrupt.priority >> 3);
        assert_eq!(injection.group, u8::from(interrupt.group1));
        if intid >= 32 && !self.idle(vcpu) {
            let better = (0..self.vcpus).find(|other| {
                self.targets(*other, intid)
                    && self.idle(*other)
                    && self.most_urgent(*other) == Some(intid)
            });
            assert_eq!(better, None, "an idle vCPU is there for {intid}");
        }
        self.put(vcpu, intid, list_register);
    }

    fn put(&mut self, vcpu: usize, intid: usize, list_register: usize) {
        let interrupt = self.get_mut(vcpu, intid);
        let source = interrupt.sources.trailing_zeros() as usize % 8;
        interrupt.flight = Some(Flight {
            vcpu,
            list_register,
            priority: interrupt.priority,
            latched: interrupt.latched || interrupt.sources != 0,
            source,
            deactivated: false,
        });
        interrupt.latched = false;
        interrupt.sources &= !(1 << source);
    }

    /// Panics if something waits that could be delivered.
    pub(crate) fn assert_nothing_waits(&self) {
        for vcpu in (0..self.vcpus).filter(|vcpu| self.takes(*vcpu)) {
            if let Some(intid) = self.most_urgent(vcpu) {
                let priority = self.get(vcpu, intid).priority;
                assert!(
                    !self.has_room(vcpu, priority),
                    "{intid} waits for vCPU {vcpu}"
                );
            }
        }
    }
}
