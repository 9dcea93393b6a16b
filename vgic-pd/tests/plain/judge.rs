// SPDX-License-Identifier: BSD-2-Clause
//! The plain distributor judges injections.

use super::{Flight, INTERRUPTS, InjectionState, LIST_REGISTERS, Plain};
use channel::vgic::Injection;

impl Plain {
    fn takes(&self, vcpu: usize) -> bool {
        !self.off[vcpu] && self.is_there(vcpu)
    }

    /// It is neither captured nor on its way back.
    fn is_there(&self, vcpu: usize) -> bool {
        matches!(
            self.injection[vcpu],
            InjectionState::Absent | InjectionState::Present
        )
    }

    fn idle(&self, vcpu: usize) -> bool {
        self.runs(vcpu) && self.entries(vcpu) == [None; LIST_REGISTERS]
    }

    /// It is on, and was seen to run.
    fn runs(&self, vcpu: usize) -> bool {
        !self.off[vcpu] && self.injection[vcpu] == InjectionState::Present
    }

    /// What could go to a vCPU, ever. One that may be off gets no shared interrupt that another
    /// could take.
    fn candidates(&self, vcpu: usize) -> Vec<usize> {
        let elsewhere =
            |intid| (0..self.vcpus).any(|other| self.targets(other, intid) && self.runs(other));
        (0..INTERRUPTS)
            .filter(|intid| self.deliverable(vcpu, *intid) && self.targets(vcpu, *intid))
            .filter(|intid| *intid < 32 || self.runs(vcpu) || !elsewhere(*intid))
            .collect()
    }

    /// The most urgent of them.
    fn most_urgent(&self, vcpu: usize) -> Option<usize> {
        let urgency = |intid: &usize| (self.get(vcpu, *intid).priority, *intid);
        self.candidates(vcpu).into_iter().min_by_key(urgency)
    }

    /// Whether an interrupt finds room.
    fn has_room(&self, vcpu: usize) -> bool {
        self.entries(vcpu).contains(&None)
    }

    /// Whether something less urgent than what waits may be pending in a list register.
    fn overflows(&self, vcpu: usize) -> bool {
        let waits = self.most_urgent(vcpu);
        let waits = waits.map(|intid| self.get(vcpu, intid).priority);
        let flights = self
            .entries(vcpu)
            .map(|intid| self.get(vcpu, intid?).flight);
        let mut may_be_pending = flights
            .into_iter()
            .flatten()
            .filter(|flight| !flight.restored);
        waits.is_some_and(|waits| may_be_pending.any(|flight| waits < flight.priority))
    }

    /// Whether a list register holds what may be pending there and would not be, were it given out now.
    fn is_misplaced(&self, vcpu: usize) -> bool {
        let mut entries = self.entries(vcpu).into_iter().flatten();
        entries.any(|intid| !self.may_stay(vcpu, intid))
    }

    fn may_stay(&self, vcpu: usize, intid: usize) -> bool {
        let interrupt = self.get(vcpu, intid);
        let flight = interrupt.flight.expect("it is in a list register");
        if flight.deactivated || flight.restored {
            return !flight.deactivated;
        }
        let pending = flight.latched || interrupt.line && !interrupt.edge;
        let as_injected =
            (interrupt.priority, interrupt.group1) == (flight.priority, flight.group1);
        let forwarded = interrupt.enabled && self.group_enabled(vcpu, intid) && !interrupt.active;
        let again = interrupt.latched && intid >= 16;
        pending
            && forwarded
            && !again
            && as_injected
            && self.targets(vcpu, intid)
            && !self.off[vcpu]
    }

    /// Whether another vCPU may have what this one has in a list register.
    pub(crate) fn is_contested(&self, vcpu: usize, taker: usize) -> bool {
        let mut entries = self.entries(vcpu).into_iter().flatten();
        entries.any(|intid| {
            let restored = self
                .get(vcpu, intid)
                .flight
                .is_some_and(|flight| flight.restored);
            vcpu != taker && intid >= 32 && !restored && self.targets(taker, intid)
        })
    }

    /// Panics if a vCPU that is to be captured and restored gains nothing by it; if `waits`, for the sake of that vCPU.
    pub(crate) fn judge_rearranged(&self, vcpus: u8, waits: Option<usize>) {
        for vcpu in (0..8).filter(|vcpu| vcpus >> vcpu & 1 != 0) {
            let contested = waits.is_some_and(|taker| self.is_contested(vcpu, taker));
            let gains = self.overflows(vcpu) || self.is_misplaced(vcpu) || contested;
            assert!(gains, "vCPU {vcpu} is as it should be");
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
        assert_eq!(self.entry(vcpu, list_register), None, "overwrites");
        assert!(list_register < LIST_REGISTERS);
        let interrupt = *self.get(vcpu, intid);
        assert_eq!(injection.priority, interrupt.priority >> 3);
        assert_eq!(injection.group, u8::from(interrupt.group1));
        let better = |suits: &dyn Fn(usize) -> bool| {
            (0..self.vcpus).find(|other| {
                self.targets(*other, intid)
                    && suits(*other)
                    && self.most_urgent(*other) == Some(intid)
            })
        };
        let offered =
            |other: usize| self.offered[other] && self.takes(other) && self.has_room(other);
        let promised = if intid < 32 { None } else { better(&offered) };
        if let Some(first) = promised {
            assert_eq!(vcpu, first, "{intid} was promised");
        } else if intid >= 32 && !self.idle(vcpu) {
            let better = better(&|other| self.idle(other));
            assert_eq!(better, None, "an idle vCPU is there for {intid}");
        }
        self.offered[vcpu] &= intid < 32;
        self.put(vcpu, intid, list_register);
    }

    fn put(&mut self, vcpu: usize, intid: usize, list_register: usize) {
        let interrupt = self.get_mut(vcpu, intid);
        let source = interrupt.sources.trailing_zeros() as usize % 8;
        interrupt.flight = Some(Flight {
            vcpu,
            list_register,
            priority: interrupt.priority,
            group1: interrupt.group1,
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

    /// Panics if a vCPU holds what does not belong there and is not among those `reported`; or something less urgent
    /// than what waits, but while one is being moved nobody need be reported for that.
    pub(crate) fn assert_all_belongs(&self, reported: u8) {
        let all_there = (0..self.vcpus).all(|vcpu| self.is_there(vcpu));
        for vcpu in (0..self.vcpus).filter(|vcpu| reported >> vcpu & 1 == 0) {
            assert!(
                !self.is_misplaced(vcpu),
                "vCPU {vcpu} holds what is to be withdrawn"
            );
            let overflowing = self.overflows(vcpu) && !self.has_room(vcpu);
            assert!(
                !overflowing || !all_there,
                "vCPU {vcpu} holds something less urgent"
            );
        }
    }
}
