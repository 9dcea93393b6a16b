//! Interrupts on their way between the kernel, `vgic-pd` and list registers.
//!
//! Responsible for: telling `vgic-pd` what has happened, carrying out what it wants injected, and keeping the books of what
//! is in which list register. Must never: decide which interrupt a vCPU gets; that is `vgic-pd`'s.

use super::sleep::bring_forward;
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

    /// The guest looks at or changes its timer's interrupt while the kernel holds it masked, so
    /// the level that `vgic-pd` knows may be a past one.
    pub(crate) fn sample_timer<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        /// `CNTV_CTL_EL0`: enabled, unmasked, condition met.
        const ASSERTED: u64 = 0b101;
        let intid = Intid::VIRTUAL_TIMER;
        let state = self.vcpu(vcpu);
        if !state.timer_asserted || state.injected.contains(&Some(intid)) {
            return Ok(());
        }
        if port.read_vcpu(vcpu, VcpuRegister::CntvCtl)? & 0b111 != ASSERTED {
            self.vcpu(vcpu).timer_asserted = false;
            self.ask_vgic(
                port,
                &Request::SetLine {
                    vcpu,
                    intid,
                    level: false,
                },
            )?;
            port.acknowledge_timer(vcpu)?;
        }
        Ok(())
    }

    /// The kernel reports that the guest has finished with a list register's interrupt.
    pub(crate) fn interrupt_ended<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        list_register: u64,
    ) -> Result<(), MachineError> {
        // An index that is none: an EOI that matched no list register (seL4 then says 0 or more).
        let Ok(list_register) = u8::try_from(list_register) else {
            return Ok(());
        };
        if let Some(slot) = self.vcpu(vcpu).injected.get_mut(usize::from(list_register)) {
            *slot = None;
        } else {
            return Ok(());
        }
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
            self.crowded |= answer.crowded();
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
                    self.crowded |= answer.crowded();
                    more = answer.more();
                }
            }
        }
        Ok(())
    }

    /// Keeps the books of what is in which list register.
    pub(crate) fn note_injection(&mut self, injection: Injection) {
        let state = self.vcpu(injection.vcpu);
        if let Some(slot) = state.injected.get_mut(usize::from(injection.list_register)) {
            *slot = Some(injection.intid);
        }
    }

    fn deliver<P: Port>(&mut self, port: &mut P, answer: &Answer) -> Result<(), MachineError> {
        for injection in answer.injections() {
            port.inject(injection)?;
            self.note_injection(injection);
            match (self.phase, self.vcpu(injection.vcpu).run) {
                (Phase::Running, Run::Waiting) => self.wake(port, injection.vcpu)?,
                (Phase::Running, Run::Running) if self.count > 1 && injection.intid.is_sgi() => {
                    bring_forward(port, injection.vcpu)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
