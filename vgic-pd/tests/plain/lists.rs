// SPDX-License-Identifier: BSD-2-Clause
//! The plain distributor's lines and list registers.

use super::{Flight, INTERRUPTS, InjectionState, Interrupt, LIST_REGISTERS, Plain};

impl Plain {
    /// The vCPU accesses the distributor, so it runs.
    pub(crate) fn touch(&mut self, vcpu: usize) {
        if self.injection[vcpu] == InjectionState::Absent {
            self.injection[vcpu] = InjectionState::Present;
        }
    }

    /// A vCPU is switched on or off.
    pub(crate) fn set_power(&mut self, vcpu: usize, on: bool) {
        (self.off[vcpu], self.offered[vcpu]) = (!on, false);
        if self.injection[vcpu] == InjectionState::Present {
            self.injection[vcpu] = InjectionState::Absent;
        }
    }

    /// A line changes.
    pub(crate) fn set_line(&mut self, vcpu: usize, intid: usize, level: bool) {
        let interrupt = self.get_mut(vcpu, intid);
        if level && !interrupt.line && interrupt.edge {
            interrupt.latched = true;
        }
        interrupt.line = level;
    }

    /// The interrupt in a list register.
    pub(crate) fn entry(&self, vcpu: usize, list_register: usize) -> Option<usize> {
        self.entries(vcpu).get(list_register).copied().flatten()
    }

    /// Everything in a vCPU's list registers.
    pub(crate) fn entries(&self, vcpu: usize) -> [Option<usize>; LIST_REGISTERS] {
        let mut entries = [None; LIST_REGISTERS];
        for (intid, interrupt) in self.private[vcpu].iter().chain(&self.shared).enumerate() {
            if let Some(flight) = interrupt.flight.filter(|flight| flight.vcpu == vcpu) {
                entries[flight.list_register] = Some(intid);
            }
        }
        entries
    }

    /// The guest deactivated what was in a list register.
    pub(crate) fn end(&mut self, vcpu: usize, list_register: usize) -> Option<usize> {
        let intid = self.entry(vcpu, list_register)?;
        let interrupt = self.get_mut(vcpu, intid);
        interrupt.flight = None;
        interrupt.active = false;
        if intid == 27 {
            interrupt.line = false;
        }
        Some(intid)
    }

    /// The vCPU asks for more.
    pub(crate) fn refill(&mut self, vcpu: usize) {
        if self.injection[vcpu] == InjectionState::Restoring {
            let enabled = self.interface_control[vcpu] & 3 != 0;
            self.injection[vcpu] = if enabled {
                InjectionState::Present
            } else {
                InjectionState::Absent
            };
        }
    }

    /// A capture found these list registers pending, these active, the others ended.
    pub(crate) fn captured(&mut self, vcpu: usize, control: u32, pending: u8, active: u8) {
        self.injection[vcpu] = InjectionState::Captured;
        self.interface_control[vcpu] = control;
        for list_register in 0..LIST_REGISTERS {
            let Some(intid) = self.entry(vcpu, list_register) else {
                continue;
            };
            if pending & 1 << list_register != 0 {
                self.was_pending(vcpu, intid);
            } else if active & 1 << list_register != 0 {
                self.was_active(vcpu, intid);
            } else {
                self.end(vcpu, list_register);
            }
        }
    }

    fn was_pending(&mut self, vcpu: usize, intid: usize) {
        let interrupt = self.get_mut(vcpu, intid);
        let flight = interrupt.flight.take().expect("it was in a list register");
        if flight.latched && intid < 16 {
            interrupt.sources |= 1 << flight.source;
        } else if flight.latched {
            interrupt.latched = true;
        }
    }

    fn was_active(&mut self, vcpu: usize, intid: usize) {
        let interrupt = self.get_mut(vcpu, intid);
        let flight = interrupt.flight.take().expect("it was in a list register");
        interrupt.active |= !flight.deactivated;
        if interrupt.active {
            interrupt.acknowledged = Some((vcpu, flight.source));
        }
    }

    /// The active interrupts go back into list registers: which ones, in order.
    pub(crate) fn restore(&mut self, vcpu: usize) -> Vec<usize> {
        self.injection[vcpu] = InjectionState::Restoring;
        let mine = |interrupt: &Interrupt| interrupt.acknowledged.is_some_and(|who| who.0 == vcpu);
        let mut order: Vec<usize> = (0..INTERRUPTS)
            .filter(|intid| mine(self.get(vcpu, *intid)))
            .collect();
        order.sort_by_key(|intid| (self.get(vcpu, *intid).priority, *intid));
        for (list_register, intid) in order.iter().enumerate() {
            let interrupt = self.get_mut(vcpu, *intid);
            let (_, source) = interrupt.acknowledged.take().expect("it is acknowledged");
            interrupt.active = false;
            interrupt.flight = Some(Flight {
                vcpu,
                list_register,
                priority: interrupt.priority,
                group1: interrupt.group1,
                latched: false,
                source,
                deactivated: false,
                restored: true,
            });
        }
        order
    }
}
