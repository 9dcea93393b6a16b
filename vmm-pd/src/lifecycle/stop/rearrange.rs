// SPDX-License-Identifier: BSD-2-Clause
//! List registers that hold the wrong interrupts: emptied, and filled with the right ones.
//!
//! Responsible for: one vCPU at a time of which `vgic-pd` says (`Answer::rearrange`) that a list register holds what may be
//! pending and does not belong there: it is disabled, cleared, meant for another vCPU, less urgent than what waits, … seL4
//! takes nothing out of a list register, so the vCPU is captured and restored where it stands, and `vgic-pd` chooses again;
//! the other vCPUs and time run. Must never: let the vCPU run before it has all of its state, or stop the machine halfway:
//! a stop waits for the end.

use channel::VcpuId;
use channel::timer::VirtualTimer;
use channel::vgic::{Request as VgicRequest, RestorePlan};
use channel::vmm::Phase;

use super::Activity;
use crate::capture::{Captured, Restored};
use crate::lifecycle::gate::RunPermit;
use crate::lifecycle::machine::{Machine, MachineError, Run};
use crate::port::Port;

impl Machine {
    /// Begins with the next vCPU that `vgic-pd` named, unless the stub is at work already.
    #[cold]
    #[inline(never)]
    pub(crate) fn rearrange<P: Port>(&mut self, port: &mut P) {
        if self.phase != Phase::Running || !matches!(self.activity, Activity::None) {
            return;
        }
        let named = core::mem::take(&mut self.rearrange);
        let vcpu = (self.present()).find(|vcpu| named & 1 << vcpu.index() != 0);
        let (Some(vcpu), Some(time)) = (vcpu, self.time) else {
            return;
        };
        self.rearrange = named & !(1 << vcpu.index());
        if let Err(error) = self.drain(port, vcpu, time) {
            self.fail(port, vcpu, error);
        }
    }

    fn drain<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        time: RunPermit,
    ) -> Result<(), MachineError> {
        port.suspend(vcpu)?;
        self.activity = Activity::Drain(vcpu, self.begin_capture(port, vcpu)?, time);
        Ok(())
    }

    /// The list registers are empty. The active interrupts go back first.
    pub(super) fn taken_out<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        captured: &Captured,
        time: RunPermit,
    ) -> Result<(), MachineError> {
        let timer = self.hand_over_interface(port, vcpu, captured)?;
        let plan = RestorePlan::decode(&port.vgic(&VgicRequest::Restore { vcpu })?)?;
        let restore = self.begin_restore(port, vcpu, &timer, &plan)?;
        self.activity = Activity::Refill(vcpu, restore, timer, time);
        Ok(())
    }

    /// The vCPU is as it was, but for what is pending: that follows, and it runs; or the stop that waited for this
    /// begins, and finds what is pending in the distributor.
    pub(super) fn refilled<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        restored: Restored,
        timer: VirtualTimer,
        time: RunPermit,
    ) -> Result<(), MachineError> {
        self.activity = Activity::None;
        let registers = &self.paused.saved_mut(vcpu).registers;
        let ready = restored.give_time(port, registers, time)?;
        ready.release(port, registers, false)?;
        let known = self.vcpu(vcpu);
        known.timer_asserted = timer.asserted;
        if known.run == Run::SwitchingOff {
            known.run = Run::Off;
        }
        if self.phase == Phase::Stopping {
            return self.capture_all(port);
        }
        // What is injected may bring it to the head of its queue, which lets it run: not before this.
        self.ask_vgic(port, &VgicRequest::Refill { vcpu })?;
        if self.vcpu(vcpu).run == Run::Running {
            port.resume(vcpu)?;
        }
        Ok(())
    }
}
