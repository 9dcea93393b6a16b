// SPDX-License-Identifier: BSD-2-Clause
//! The state of a machine's interrupt controller.
//!
//! Responsible for: what state there is, and the state after reset (IHI 0048B, 4.1.5). What
//! changes it is in the modules beside: [`crate::guest_access`], [`crate::delivery`],
//! [`crate::capture`], [`crate::record`]. It must never hold anything that a vCPU's hardware
//! holds alone.

use crate::bank::Bank;
use crate::interrupt::{BANKS, Interrupt, PerVcpu, SGI_BITS, SGIS, SHARED_BANKS, VcpuSet};
use crate::shadow::ListRegisterShadow;
use channel::vgic::{CpuInterface, Refusal};
use channel::{Intid, MAX_VCPUS, VcpuId};

/// Whether a vCPU can take interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum InjectionState {
    /// It has not been seen to run since reset, or was restored with its CPU interface disabled;
    /// its first access to the distributor changes that. It may be off: a shared interrupt that
    /// could go elsewhere must not get stuck there.
    #[default]
    Absent,
    /// It runs, or can be resumed at any time: interrupts go into its list registers.
    Present,
    /// It was captured or imported: its list registers are empty and stay so.
    Captured,
    /// Its active interrupts are on the way back into list registers; pending ones wait for the
    /// refill.
    Restoring,
}

/// What each vCPU has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vcpu {
    /// Its private interrupts.
    pub(crate) bank: Bank,
    /// For each SGI, the vCPUs that have asked for it: `GICD_SPENDSGIR`. The bank's latch of an
    /// SGI is set exactly if its set is not empty.
    pub(crate) sources: [VcpuSet; SGIS],
    /// For each SGI that was acknowledged when the vCPU was captured, the vCPU that had asked.
    pub(crate) active_sources: [VcpuSet; SGIS],
    /// The shared interrupts that may go to this vCPU: its bits of `GICD_ITARGETSR`.
    pub(crate) targeted: [u32; SHARED_BANKS],
    /// The interrupts that it had acknowledged and not deactivated when it was captured. Each of
    /// them is active.
    pub(crate) acknowledged: [u32; BANKS],
    /// Its CPU interface, as of its last capture.
    pub(crate) interface: CpuInterface,
    /// Whether it takes interrupts.
    pub(crate) injection: InjectionState,
    /// It is about to be captured, and takes none.
    pub(crate) held: bool,
    /// It is switched off, and takes none.
    pub(crate) off: bool,
    /// It waits for an interrupt and has been promised one that another vCPU holds.
    pub(crate) offered: bool,
    /// Its list registers.
    pub(crate) shadow: ListRegisterShadow,
}

impl Vcpu {
    /// It is on, and was seen to run.
    pub(crate) fn is_present(&self) -> bool {
        !self.off && self.injection == InjectionState::Present
    }

    /// After reset. SGIs are always enabled, and edge-triggered.
    pub(crate) const RESET: Self = Self {
        bank: Bank {
            enabled: SGI_BITS,
            edge: SGI_BITS,
            ..Bank::EMPTY
        },
        sources: [VcpuSet::EMPTY; SGIS],
        active_sources: [VcpuSet::EMPTY; SGIS],
        targeted: [0; SHARED_BANKS],
        acknowledged: [0; BANKS],
        interface: CpuInterface {
            control: 0,
            priority_mask: 0,
            binary_point: 0,
            aliased_binary_point: 0,
            active_priorities: 0,
        },
        injection: InjectionState::Absent,
        held: false,
        off: false,
        offered: false,
        shadow: ListRegisterShadow::NEW,
    };
}

/// The interrupt controller of a machine with up to four vCPUs.
///
/// Shapes: 32 interrupts private to each vCPU, 256 shared ones, priorities of five bits, two
/// groups, no Security Extensions. Every request that names a vCPU or an interrupt which the
/// machine does not have is refused and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gic {
    pub(crate) vcpus: usize,
    /// `GICD_CTLR`.
    pub(crate) control: u32,
    pub(crate) vcpu: PerVcpu<Vcpu>,
    pub(crate) shared: [Bank; SHARED_BANKS],
    /// The shared banks that have an interrupt to deliver, one bit a bank.
    pub(crate) shared_ready: u8,
    /// vCPUs that may have something to be delivered that no answer has carried yet.
    pub(crate) needs_delivery: VcpuSet,
    /// vCPUs that took no more while an answer was put together. Empty between requests.
    pub(crate) full: VcpuSet,
    /// vCPUs in whose list registers may be what does not belong there. Empty between requests.
    pub(crate) suspect: VcpuSet,
}

impl Default for Gic {
    fn default() -> Self {
        Self::new()
    }
}

impl Gic {
    /// No machine yet: nothing but [`Gic::reset`] and [`Gic::import`] succeeds.
    pub const fn new() -> Self {
        Self {
            vcpus: 0,
            control: 0,
            vcpu: PerVcpu([Vcpu::RESET; MAX_VCPUS]),
            shared: [Bank::EMPTY; SHARED_BANKS],
            shared_ready: 0,
            needs_delivery: VcpuSet::EMPTY,
            full: VcpuSet::EMPTY,
            suspect: VcpuSet::EMPTY,
        }
    }

    /// The state after reset of a machine with `vcpus`, zero for none. ListRegisterShadow and all are
    /// forgotten: the caller has emptied the list registers.
    pub fn reset(&mut self, vcpus: u8) -> Result<(), Refusal> {
        let vcpus = usize::from(vcpus);
        if vcpus > MAX_VCPUS {
            return Err(Refusal::OutOfRange);
        }
        *self = Self::new();
        self.vcpus = vcpus;
        self.target_sole_vcpu();
        Ok(())
    }

    /// In a machine with one vCPU every shared interrupt goes there; `GICD_ITARGETSR` says
    /// nothing (IHI 0048B, 4.3.12).
    pub(crate) fn target_sole_vcpu(&mut self) {
        if let (1, [sole, ..]) = (self.vcpus, &mut self.vcpu.0) {
            sole.targeted = [u32::MAX; SHARED_BANKS];
        }
    }

    /// How many vCPUs the machine has.
    pub const fn vcpus(&self) -> usize {
        self.vcpus
    }

    /// All vCPUs of the machine.
    pub(crate) const fn all(&self) -> VcpuSet {
        VcpuSet::first(self.vcpus)
    }

    /// Whether nothing runs that could have an interrupt in flight.
    pub(crate) fn is_quiescent(&self) -> bool {
        self.all().iter().all(|vcpu| {
            let own = self.vcpu.get(vcpu);
            let stands = matches!(
                own.injection,
                InjectionState::Absent | InjectionState::Captured
            );
            stands && own.shadow.is_empty()
        })
    }

    /// Refuses a vCPU that the machine does not have.
    pub(crate) fn check(&self, vcpu: VcpuId) -> Result<(), Refusal> {
        if self.all().contains(vcpu) {
            Ok(())
        } else {
            Err(Refusal::OutOfRange)
        }
    }

    /// Refuses an interrupt that the machine does not have.
    pub(crate) fn interrupt(intid: Intid) -> Result<Interrupt, Refusal> {
        Interrupt::new(intid).ok_or(Refusal::OutOfRange)
    }

    /// A bank as a vCPU sees it.
    #[inline]
    pub(crate) fn bank(&self, vcpu: VcpuId, bank: usize) -> &Bank {
        match bank
            .checked_sub(1)
            .and_then(|shared| self.shared.get(shared))
        {
            Some(shared) => shared,
            None => &self.vcpu.get(vcpu).bank,
        }
    }

    /// Changes a bank as a vCPU sees it, and keeps up what is derived from it.
    #[inline]
    pub(crate) fn change<T>(
        &mut self,
        vcpu: VcpuId,
        bank: usize,
        change: impl FnOnce(&mut Bank) -> T,
    ) -> T {
        let control = self.control;
        match bank
            .checked_sub(1)
            .and_then(|shared| Some((shared, self.shared.get_mut(shared)?)))
        {
            Some((index, shared)) => {
                let result = change(shared);
                shared.recompute_deliverable(control);
                let summary = 1 << index;
                self.shared_ready &= !summary;
                if shared.ready != 0 {
                    self.shared_ready |= summary;
                }
                result
            }
            None => {
                let bank = &mut self.vcpu.get_mut(vcpu).bank;
                let result = change(bank);
                bank.recompute_deliverable(control);
                result
            }
        }
    }

    /// Keeps up what is derived from all banks, after a change of `GICD_CTLR` or of everything.
    pub(crate) fn recompute_all(&mut self) {
        for vcpu in VcpuId::all() {
            self.change(vcpu, 0, |_| ());
        }
        for bank in 1..BANKS {
            self.change(Self::ANY, bank, |_| ());
        }
    }

    /// Names a vCPU where a shared bank is meant, which looks the same from all.
    pub(crate) const ANY: VcpuId = match VcpuId::new(0) {
        Some(vcpu) => vcpu,
        None => panic!("a machine has a vCPU 0"),
    };

    /// The vCPUs that an interrupt may go to: all its targets, or the one that it is private to.
    #[inline]
    pub(crate) fn targets(&self, vcpu: VcpuId, interrupt: Interrupt) -> VcpuSet {
        let Some(bank) = interrupt.bank().checked_sub(1) else {
            return VcpuSet::only(vcpu);
        };
        self.targets_of_bits(bank, interrupt.bit())
    }

    /// The vCPUs that any of the shared interrupts `bits` of a bank may go to.
    pub(crate) fn targets_of_bits(&self, shared_bank: usize, bits: u32) -> VcpuSet {
        self.all()
            .iter()
            .filter(|vcpu| {
                let targeted = self.vcpu.get(*vcpu).targeted.get(shared_bank);
                targeted.is_some_and(|word| word & bits != 0)
            })
            .fold(VcpuSet::EMPTY, |set, vcpu| set.or(VcpuSet::only(vcpu)))
    }
}
