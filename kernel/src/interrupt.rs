// SPDX-License-Identifier: BSD-2-Clause
//! Interrupts: the kernel's own, the guest's private ones, and those that domains handle.
//!
//! Responsible for masking an interrupt from its delivery until its domain acknowledges it. Must
//! never leave an interrupt unmasked that nobody handles.

use crate::identifier::DomainId;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::Fault;

/// The GIC's maintenance interrupt on QEMU's `virt` (`ARCH_GIC_MAINT_IRQ` 9, a PPI).
pub const MAINTENANCE: u32 = 25;
/// The EL2 physical timer's interrupt (`ARCH_TIMER_NS_EL2_IRQ` 10), the kernel's own clock.
pub const KERNEL_TIMER: u32 = 26;
/// The virtual timer's interrupt (`ARCH_TIMER_VIRT_IRQ` 11).
pub const VIRTUAL_TIMER: u32 = 27;

/// INTIDs that can be handled: those that seL4 knows on `qemu_virt_aarch64` (`MAX_IRQ` 159), of the
/// 288 that QEMU's `virt` has.
pub(crate) const INTERRUPTS: usize = 160;

/// Who receives an interrupt, and as which badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Receiver {
    domain: DomainId,
    /// The badge's one bit.
    bit: u8,
}

/// Who receives which interrupt.
#[derive(Debug)]
pub struct Interrupts([Option<Receiver>; INTERRUPTS]);

impl Interrupts {
    /// Nobody receives any.
    pub const EMPTY: Self = Self([None; INTERRUPTS]);

    /// Has a domain receive an interrupt. Returns whether the interrupt exists.
    #[must_use]
    pub fn assign(&mut self, intid: u32, domain: DomainId, bit: u8) -> bool {
        match usize::try_from(intid)
            .ok()
            .and_then(|intid| self.0.get_mut(intid))
        {
            Some(receiver) if bit < 64 => {
                *receiver = Some(Receiver { domain, bit });
                true
            }
            _ => false,
        }
    }

    fn receiver(&self, intid: u32) -> Option<Receiver> {
        usize::try_from(intid)
            .ok()
            .and_then(|intid| self.0.get(intid).copied())
            .flatten()
    }
}

impl<M: Machine> Kernel<M> {
    /// An interrupt is pending.
    pub fn interrupt(&mut self) {
        self.update_time();
        self.check_budget();
        let Some(intid) = self.machine.acknowledge_interrupt() else {
            return;
        };
        match intid {
            KERNEL_TIMER => {
                // The deadline is set again before anybody runs, which ends the cause.
                self.stop_timer();
                self.reprogram = true;
            }
            MAINTENANCE | VIRTUAL_TIMER => self.guest_interrupt(intid),
            _ => match self.interrupts.receiver(intid) {
                Some(Receiver { domain, bit }) => {
                    self.machine.mask_interrupt(intid);
                    self.signal(domain, 1 << bit);
                }
                None => self.machine.mask_interrupt(intid),
            },
        }
        self.machine.end_interrupt(intid);
    }

    /// An interrupt that belongs to the running virtual CPU.
    fn guest_interrupt(&mut self, intid: u32) {
        if intid == VIRTUAL_TIMER && !self.vcpu_active {
            // Until the guest is entered again, whose own mask then counts.
            self.machine.mask_interrupt(intid);
            self.timer_masked = true;
            return;
        }
        // Without time for the fault, the line stays.
        let Some(thread) = self.current else {
            return;
        };
        if !self.vcpu_active || self.threads[thread].queued || !self.is_schedulable(thread) {
            return;
        }
        let fault = if intid == MAINTENANCE {
            Fault::Maintenance {
                list_register: self.take_maintenance(),
            }
        } else {
            self.machine.mask_interrupt(intid);
            self.timer_masked = true;
            if let Some(vcpu) = self.loaded_vcpu {
                self.vcpus[vcpu].timer_masked = true;
            }
            Fault::PrivateInterrupt { intid }
        };
        self.raise(thread, fault);
    }
}
