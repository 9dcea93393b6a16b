// SPDX-License-Identifier: BSD-2-Clause
//! vCPUs that wait, for an interrupt or for each other, and what wakes them.
//!
//! Responsible for: who runs next on the one core, and telling `timer-pd` who sleeps until when. Must never: leave a vCPU
//! asleep that has an interrupt to take.

use super::{FIRST, Machine, MachineError, Run, understood};
use crate::port::{Port, VcpuRegister};
use channel::timer;
use channel::vmm::Phase;
use channel::{Ticks, VcpuId};

impl Machine {
    /// The vCPU has nothing to do until an interrupt; its program counter has moved on.
    pub(super) fn wait<P: Port>(&mut self, port: &mut P, vcpu: VcpuId) -> Result<(), MachineError> {
        if self.hold_shared & !(1 << vcpu.index()) != 0 {
            self.offer_to(port, vcpu)?;
        }
        let state = self.vcpu(vcpu);
        // An interrupt in a list register may be one that the vCPU has yet to take; waking up
        // without cause is always allowed (DDI 0487, D1.7.2).
        if state.injected.iter().any(Option::is_some) || state.timer_asserted {
            return Ok(port.resume(vcpu)?);
        }
        /// `CNTV_CTL_EL0.ENABLE` without `IMASK`.
        const UNMASKED: u64 = 1;
        let control = port.read_vcpu(vcpu, VcpuRegister::CntvCtl)?;
        if control & 3 == UNMASKED {
            let deadline = Ticks(port.read_vcpu(vcpu, VcpuRegister::CntvCval)?);
            if self.vcpu(vcpu).sleeps_until != Some(deadline) {
                let answer = port.timer(&timer::Request::Sleep { vcpu, deadline })?;
                if timer::decode_answer(&answer)? == 1 {
                    // Due by the count, so its line is high, whether or not the kernel has been
                    // told yet. The guest would only wait again until it is.
                    self.vcpu(vcpu).sleeps_until = None;
                    self.timer_fired(port, vcpu)?;
                    return Ok(port.resume(vcpu)?);
                }
                self.vcpu(vcpu).sleeps_until = Some(deadline);
            }
        } else {
            self.take_from_sleepers(port, vcpu)?;
        }
        self.vcpu(vcpu).run = Run::Waiting;
        Ok(())
    }

    /// `timer-pd` is not to wake the vCPU any more.
    pub(crate) fn take_from_sleepers<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        if self.vcpu(vcpu).sleeps_until.take().is_some() {
            understood(&port.timer(&timer::Request::Wake { vcpu })?)?;
        }
        Ok(())
    }

    /// The vCPU spins for another's sake: the others go first.
    pub(super) fn yield_vcpu<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<(), MachineError> {
        port.resume(vcpu)?;
        for other in self.present().filter(|other| *other != vcpu) {
            if self.vcpu(other).run == Run::Running && !self.activity.concerns(other) {
                requeue_at_head(port, other)?;
            }
        }
        Ok(())
    }

    /// Wakes a waiting vCPU.
    pub(super) fn wake<P: Port>(&mut self, port: &mut P, vcpu: VcpuId) -> Result<(), MachineError> {
        self.vcpu(vcpu).run = Run::Running;
        // One that runs the stub continues when that is done.
        if self.activity.concerns(vcpu) {
            return Ok(());
        }
        Ok(port.resume(vcpu)?)
    }

    /// `timer-pd` notified: sleepers are due. Their own timers then tell them.
    pub fn sleepers_due<P: Port>(&mut self, port: &mut P) {
        if let Err(error) = self.wake_due(port) {
            self.fail(port, VcpuId::all().next().unwrap_or(FIRST), error);
        } else {
            self.rearrange(port);
        }
    }

    fn wake_due<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        let due = timer::decode_answer(&port.timer(&timer::Request::Due)?)?;
        for vcpu in self.present() {
            if due & 1 << vcpu.index() == 0 {
                continue;
            }
            self.vcpu(vcpu).sleeps_until = None;
            if self.phase == Phase::Running && self.vcpu(vcpu).run == Run::Waiting {
                self.wake(port, vcpu)?;
            }
        }
        // A paused guest finds out when it continues.
        if due & timer::ALARM_IS_DUE != 0 && self.phase == Phase::Running {
            self.set_alarm(port)?;
        }
        Ok(())
    }
}

/// Brings a vCPU that is ready to the head of its queue.
///
/// It has nothing to tell us that we have not heard: suspending it would lose that, and an interrupt's end or the timer
/// comes once only. No vCPU runs while we do, and we never wait for a peer domain in the meantime: those that we call
/// run above us and on their own time, which nobody's budget ends.
pub(super) fn requeue_at_head<P: Port>(port: &mut P, vcpu: VcpuId) -> Result<(), MachineError> {
    port.suspend(vcpu)?;
    Ok(port.resume(vcpu)?)
}
