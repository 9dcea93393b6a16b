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

    /// Whether an interrupt finds room.
    fn has_room(&self, vcpu: usize) -> bool {
        self.occupants(vcpu).contains(&None)
    }

    /// Whether something less urgent than what waits may be pending in a list register.
    fn is_crowded(&self, vcpu: usize) -> bool {
        let waits = self.most_urgent(vcpu);
        let waits = waits.map(|intid| self.get(vcpu, intid).priority);
        let flights = self
            .occupants(vcpu)
            .map(|intid| self.get(vcpu, intid?).flight);
        let mut may_be_pending = flights
            .into_iter()
            .flatten()
            .filter(|flight| !flight.restored);
        waits.is_some_and(|waits| may_be_pending.any(|flight| waits < flight.priority))
    }

    /// Panics if a vCPU that is to be captured and restored gains nothing by it.
    pub(crate) fn judge_crowded(&self, crowded: u8) {
        for vcpu in (0..8).filter(|vcpu| crowded >> vcpu & 1 != 0) {
            assert!(self.is_crowded(vcpu), "vCPU {vcpu} is as it should be");
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
            restored: false,
        });
        interrupt.latched = false;
        interrupt.sources &= !(1 << source);
    }

    /// Panics if something waits that could be delivered.
    pub(crate) fn assert_nothing_waits(&self) {
        for vcpu in (0..self.vcpus).filter(|vcpu| self.takes(*vcpu)) {
            if let Some(intid) = self.most_urgent(vcpu) {
                assert!(!self.has_room(vcpu), "{intid} waits for vCPU {vcpu}");
            }
        }
    }

    /// Panics if a vCPU holds something less urgent than what waits and is not among those
    /// `reported`. While one is being moved, nobody need be.
    pub(crate) fn assert_nothing_waits_for_less(&self, reported: u8) {
        let all_there = (0..self.vcpus).all(|vcpu| self.takes(vcpu));
        for vcpu in (0..self.vcpus).filter(|vcpu| all_there && reported >> vcpu & 1 == 0) {
            let as_it_should_be = !self.is_crowded(vcpu) || self.has_room(vcpu);
            assert!(as_it_should_be, "vCPU {vcpu} holds something less urgent");
        }
    }
}
