// SPDX-License-Identifier: BSD-2-Clause
//! A deliberately plain GICv2 distributor: one structure an interrupt, one byte an access.
//!
//! Responsible for: saying what the specification says, as simply as possible, so that the real
//! one can be compared with it. It does not choose what to inject; it judges each choice. It must
//! never share code with what it judges.
#![allow(dead_code, reason = "each test uses a part")]

mod bytes;
mod judge;
mod lists;

/// Interrupts of the machine.
pub(crate) const INTERRUPTS: usize = 288;
/// List registers of a vCPU.
pub(crate) const LIST_REGISTERS: usize = 4;

/// What is known of an interrupt that is in a list register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) vcpu: usize,
    pub(crate) list_register: usize,
    /// Priority at the time of its injection.
    pub(crate) priority: u8,
    /// Group at the time of its injection.
    pub(crate) group1: bool,
    /// It was latched, and the guest did not clear that since.
    pub(crate) latched: bool,
    /// For an SGI.
    pub(crate) source: usize,
    /// The guest wrote `GICD_ICACTIVER`, and not `GICD_ISACTIVER` since.
    pub(crate) deactivated: bool,
    /// It was put there as active.
    pub(crate) restored: bool,
}

/// An interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interrupt {
    pub(crate) enabled: bool,
    pub(crate) latched: bool,
    pub(crate) line: bool,
    pub(crate) active: bool,
    pub(crate) group1: bool,
    pub(crate) edge: bool,
    pub(crate) priority: u8,
    /// For a shared one.
    pub(crate) targets: u8,
    /// For an SGI: from whom it is pending.
    pub(crate) sources: u8,
    pub(crate) flight: Option<Flight>,
    /// The vCPU that has acknowledged it, for an SGI from whom; between capture and restore.
    pub(crate) acknowledged: Option<(usize, usize)>,
}

/// Whether a vCPU takes interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InjectionState {
    Absent,
    Present,
    Captured,
    Restoring,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) vcpus: usize,
    pub(crate) control: u8,
    pub(crate) private: Vec<Vec<Interrupt>>,
    pub(crate) shared: Vec<Interrupt>,
    pub(crate) injection: Vec<InjectionState>,
    pub(crate) off: Vec<bool>,
    /// The vCPU has been promised what another one holds.
    pub(crate) offered: Vec<bool>,
    /// `GICC_CTLR` as last captured.
    pub(crate) interface_control: Vec<u32>,
}

impl Plain {
    /// After reset.
    pub(crate) fn new(vcpus: usize) -> Self {
        let sgi = Interrupt {
            enabled: true,
            edge: true,
            ..Interrupt::default()
        };
        let mut own = vec![sgi; 16];
        own.extend([Interrupt::default(); 16]);
        Self {
            vcpus,
            control: 0,
            private: vec![own; vcpus],
            shared: vec![Interrupt::default(); INTERRUPTS - 32],
            injection: vec![InjectionState::Absent; vcpus],
            off: vec![false; vcpus],
            offered: vec![false; vcpus],
            interface_control: vec![0; vcpus],
        }
    }

    /// An interrupt as a vCPU sees it.
    pub(crate) fn get(&self, vcpu: usize, intid: usize) -> &Interrupt {
        if intid < 32 {
            &self.private[vcpu][intid]
        } else {
            &self.shared[intid - 32]
        }
    }

    /// An interrupt as a vCPU sees it.
    pub(crate) fn get_mut(&mut self, vcpu: usize, intid: usize) -> &mut Interrupt {
        if intid < 32 {
            &mut self.private[vcpu][intid]
        } else {
            &mut self.shared[intid - 32]
        }
    }

    /// Pending, apart from what is in a list register.
    pub(crate) fn pending(&self, vcpu: usize, intid: usize) -> bool {
        let interrupt = self.get(vcpu, intid);
        if intid < 16 {
            interrupt.sources != 0
        } else if interrupt.edge {
            interrupt.latched
        } else {
            interrupt.latched || interrupt.line
        }
    }

    /// Whether the distributor forwards interrupts of its group.
    pub(crate) fn group_enabled(&self, vcpu: usize, intid: usize) -> bool {
        let group = if self.get(vcpu, intid).group1 { 2 } else { 1 };
        self.control & group != 0
    }

    /// Whether the distributor forwards the interrupt.
    pub(crate) fn deliverable(&self, vcpu: usize, intid: usize) -> bool {
        let interrupt = self.get(vcpu, intid);
        self.pending(vcpu, intid)
            && interrupt.enabled
            && self.group_enabled(vcpu, intid)
            && !interrupt.active
            && interrupt.flight.is_none()
            // No `GICC_PMR` lets the lowest priority through.
            && interrupt.priority != 0xf8
    }

    /// Whether the interrupt may go to the vCPU at all.
    pub(crate) fn targets(&self, vcpu: usize, intid: usize) -> bool {
        intid < 32 || self.vcpus == 1 || self.shared[intid - 32].targets & 1 << vcpu != 0
    }
}
