// SPDX-License-Identifier: BSD-2-Clause
//! Interrupts on their way between the kernel, `vgic-pd` and list registers.
//!
//! Responsible for: telling `vgic-pd` what has happened, carrying out what it wants injected, and keeping the shadow of what
//! is in which list register. Must never: decide which interrupt a vCPU gets; that is `vgic-pd`'s.

use super::sleep::requeue_at_head;
use super::{Machine, MachineError, Run};
use crate::port::{Port, VcpuRegister};
use channel::vgic::{Answer, Injection, LIST_REGISTERS, Request};
use channel::vmm::Phase;
use channel::{Intid, VcpuId};

impl Machine {
    /// The virtual timer's condition is met; the kernel masks its interrupt until acknowledged.
    pub(super) fn timer_fired<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        self.vcpu(vcpu).timer_asserted = true;
        let intid = Intid::VIRTUAL_TIMER;
        self.ask_vgic(
            port,
            &Request::SetLine {
                vcpu,
                intid,
                level: true,
            },
        )?;
        Ok(())
    }

    /// A guest has left for a reason of its own. What it did meanwhile to its timer and its CPU interface, which nobody
    /// sees, may concern what is in its list registers.
    #[inline]
    pub(super) fn before_access<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        let known = self.vcpu(vcpu);
        if known.timer_asserted && known.injected.contains(&Some(Intid::VIRTUAL_TIMER)) {
            self.lower_timer_if_gone(port, vcpu)?;
        }
        if self.hold_shared & 1 << vcpu.index() != 0 {
            self.offer_to_others(port, vcpu)?;
        }
        Ok(())
    }

    /// A vCPU that does other things than taking a shared interrupt from its list register may have masked it: another
    /// target that has nothing to do gets it.
    #[cold]
    fn offer_to_others<P: Port>(
        &mut self,
        port: &mut P,
        holder: VcpuId,
    ) -> Result<(), MachineError> {
        for vcpu in self.present().filter(|vcpu| *vcpu != holder) {
            let waits = self.vcpu(vcpu).run == Run::Waiting;
            if waits && self.may_have_of(port, holder, vcpu) {
                self.ask_vgic(port, &Request::Offer { vcpu })?;
            }
        }
        Ok(())
    }

    /// The vCPU has nothing to do: it may have a shared interrupt that another has not taken.
    #[cold]
    pub(super) fn offer_to<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        let contested = (self.present().filter(|holder| *holder != vcpu))
            .any(|holder| self.may_have_of(port, holder, vcpu));
        if contested {
            self.ask_vgic(port, &Request::Offer { vcpu })?;
        }
        Ok(())
    }

    /// Whether a shared interrupt in a list register of `holder` has `vcpu` among its targets, too.
    fn may_have_of<P: Port>(&mut self, port: &P, holder: VcpuId, vcpu: VcpuId) -> bool {
        /// `GICD_ITARGETSRn`, a byte for each interrupt.
        const TARGETS: u32 = 0x800;
        let shared = self.vcpu(holder).injected;
        shared
            .into_iter()
            .flatten()
            .filter(|intid| !intid.is_private())
            .any(|intid| {
                let number = u32::from(intid.value());
                let targets = port.view(vcpu, TARGETS + (number & !3)) >> (8 * (number & 3));
                targets & 1 << vcpu.index() != 0
            })
    }

    /// The guest looks at or changes its timer's interrupt while the kernel holds it masked, so
    /// the level that `vgic-pd` knows may be a past one.
    pub(crate) fn sample_timer<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        if self.vcpu(vcpu).timer_asserted {
            self.lower_timer_if_gone(port, vcpu)?;
        }
        Ok(())
    }

    fn lower_timer_if_gone<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        /// `CNTV_CTL_EL0`: enabled, unmasked, condition met.
        const ASSERTED: u64 = 0b101;
        if port.read_vcpu(vcpu, VcpuRegister::CntvCtl)? & 0b111 != ASSERTED {
            self.drop_timer_line(port, vcpu)?;
        }
        Ok(())
    }

    /// The timer's condition is met no longer: its line falls, and the kernel is to report the next time.
    pub(super) fn drop_timer_line<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        if !core::mem::take(&mut self.vcpu(vcpu).timer_asserted) {
            return Ok(());
        }
        self.ask_vgic(
            port,
            &Request::SetLine {
                vcpu,
                intid: Intid::VIRTUAL_TIMER,
                level: false,
            },
        )?;
        Ok(port.acknowledge_timer(vcpu)?)
    }

    /// The kernel reports that the guest has finished with a list register's interrupt.
    pub(crate) fn interrupt_ended<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        list_register: u64,
    ) -> Result<(), MachineError> {
        // No index: an EOI that matched no list register (seL4 then says 0 or more).
        let Ok(list_register) = u8::try_from(list_register) else {
            return Ok(());
        };
        if let Some(slot) = self.vcpu(vcpu).injected.get_mut(usize::from(list_register)) {
            *slot = None;
        } else {
            return Ok(());
        }
        self.note_emptied(vcpu);
        let ended = self.ask_vgic(
            port,
            &Request::Maintenance {
                vcpu,
                list_register,
            },
        )?;
        if ended == u64::from(Intid::VIRTUAL_TIMER.value()) && self.vcpu(vcpu).timer_asserted {
            self.vcpu(vcpu).timer_asserted = false;
            port.acknowledge_timer(vcpu)?;
        }
        Ok(())
    }

    /// Asks `vgic-pd`, carries out what it wants injected, and returns the answer's value.
    #[inline]
    pub(crate) fn ask_vgic<P: Port>(
        &mut self,
        port: &mut P,
        request: &Request,
    ) -> Result<u64, MachineError> {
        let answer = Answer::decode(&port.vgic(request)?)?;
        self.deliver(port, &answer)?;
        if !answer.is_all() {
            self.rearrange |= answer.rearrange();
            if answer.more() {
                self.refill(port)?;
            }
        }
        Ok(answer.value)
    }

    /// Fetches the injections that did not fit into an answer. A vCPU that runs the stub gets its own when it is done.
    #[cold]
    pub(crate) fn refill<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        for vcpu in self.present() {
            let mut more = !self.activity.concerns(vcpu);
            // Each answer fills list registers, of which there are only so many.
            for _ in 0..LIST_REGISTERS {
                if more {
                    let answer = Answer::decode(&port.vgic(&Request::Refill { vcpu })?)?;
                    self.deliver(port, &answer)?;
                    self.rearrange |= answer.rearrange();
                    more = answer.more();
                }
            }
        }
        Ok(())
    }

    /// Keeps the shadow of what is in which list register.
    pub(crate) fn note_injection(&mut self, injection: Injection) {
        let state = self.vcpu(injection.vcpu);
        if let Some(slot) = state.injected.get_mut(usize::from(injection.list_register)) {
            *slot = Some(injection.intid);
        }
        if !injection.intid.is_private() {
            self.hold_shared |= 1 << injection.vcpu.index();
        }
    }

    /// List registers of a vCPU have become empty.
    #[inline]
    pub(crate) fn note_emptied(&mut self, vcpu: VcpuId) {
        let own = 1 << vcpu.index();
        let mut injected = self.vcpu(vcpu).injected.iter().flatten();
        if injected.all(|intid| intid.is_private()) {
            self.hold_shared &= !own;
        }
    }

    fn deliver<P: Port>(&mut self, port: &mut P, answer: &Answer) -> Result<(), MachineError> {
        for injection in answer.injections() {
            port.inject(injection)?;
            self.note_injection(injection);
            match (self.phase, self.vcpu(injection.vcpu).run) {
                (Phase::Running, Run::Waiting) => self.wake(port, injection.vcpu)?,
                (Phase::Running, Run::Running) if self.count > 1 && injection.intid.is_sgi() => {
                    requeue_at_head(port, injection.vcpu)?;
                }
                (Phase::Running, Run::Running)
                    if self.count > 1 && !injection.intid.is_private() =>
                {
                    self.offer_to_others(port, injection.vcpu)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
