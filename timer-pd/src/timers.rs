// SPDX-License-Identifier: BSD-2-Clause
//! The machine's time and timers, and what each request does to them.
//!
//! Responsible for: carrying out the requests of [`channel::timer`], given the board's count. It
//! must never read a clock itself.

use crate::gate::{Frozen, Gate};
use crate::sleepers::Sleepers;
use channel::timer::{Refusal, VirtualTimer};
use channel::{MAX_VCPUS, Ticks, VcpuId};

/// `CNTV_CTL_EL0.{ENABLE, IMASK}`: what of it is state (DDI 0487, D17.11.20).
const CONTROL: u32 = 0b11;

/// The timers of a machine with up to four vCPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timers {
    pub(crate) vcpus: usize,
    pub(crate) gate: Gate,
    pub(crate) saved: [VirtualTimer; MAX_VCPUS],
    sleepers: Sleepers,
}

impl Default for Timers {
    fn default() -> Self {
        Self::standing_at(0, Ticks(0))
    }
}

impl Timers {
    /// A machine of `vcpus` whose count stands at `count`, all timers off.
    pub(crate) fn standing_at(vcpus: usize, count: Ticks) -> Self {
        Self {
            vcpus,
            gate: Gate::Frozen(Frozen::at(count)),
            saved: [VirtualTimer::default(); MAX_VCPUS],
            sleepers: Sleepers::default(),
        }
    }

    /// A new machine of `vcpus`, frozen at count zero; none if that is zero.
    pub fn reset(&mut self, vcpus: u8) -> Result<(), Refusal> {
        let vcpus = usize::from(vcpus);
        if vcpus > MAX_VCPUS {
            return Err(Refusal::NotLoaded);
        }
        *self = Self::standing_at(vcpus, Ticks(0));
        Ok(())
    }

    /// Time is frozen from the board's count `now` on, if it does not already. Answers with the
    /// machine's count. Every vCPU has to be loaded again before time runs: whoever stops a
    /// machine may have changed its vCPUs' timers.
    pub fn freeze(&mut self, now: Ticks) -> Ticks {
        let count = self.count(now);
        self.gate = Gate::Frozen(Frozen::at(count));
        count
    }

    /// A stopped vCPU's timer. It has to be loaded again before time runs.
    pub fn save(&mut self, vcpu: VcpuId, timer: VirtualTimer) -> Result<(), Refusal> {
        let (frozen, saved) = self.stopped(vcpu)?;
        frozen.unload(vcpu);
        *saved = VirtualTimer {
            control: timer.control & CONTROL,
            ..timer
        };
        Ok(())
    }

    /// A stopped vCPU's timer, which it now gets.
    pub fn load(&mut self, vcpu: VcpuId) -> Result<VirtualTimer, Refusal> {
        let (frozen, saved) = self.stopped(vcpu)?;
        frozen.load(vcpu);
        Ok(*saved)
    }

    /// The gate and the timer of a vCPU of a frozen machine.
    fn stopped(&mut self, vcpu: VcpuId) -> Result<(&mut Frozen, &mut VirtualTimer), Refusal> {
        self.check(vcpu)?;
        match (&mut self.gate, self.saved.get_mut(vcpu.index())) {
            (Gate::Frozen(frozen), Some(saved)) => Ok((frozen, saved)),
            _ => Err(Refusal::Running),
        }
    }

    fn check(&self, vcpu: VcpuId) -> Result<(), Refusal> {
        if vcpu.index() < self.vcpus {
            Ok(())
        } else {
            Err(Refusal::NotLoaded)
        }
    }

    /// Time runs from the board's count `now`. Answers with every vCPU's `CNTVOFF_EL2`.
    pub fn release(&mut self, now: Ticks) -> Result<Ticks, Refusal> {
        let Gate::Frozen(frozen) = self.gate else {
            return Err(Refusal::Running);
        };
        let key = frozen.releasable(self.vcpus).ok_or(Refusal::NotLoaded)?;
        let running = key.release(now);
        self.gate = Gate::Running(running);
        self.sleepers.resume(running.count(now), now);
        Ok(running.offset())
    }

    /// A vCPU sleeps until `deadline` of the machine's count. False if that has passed.
    pub fn sleep(&mut self, vcpu: VcpuId, deadline: Ticks, now: Ticks) -> Result<bool, Refusal> {
        self.check(vcpu)?;
        let Gate::Running(running) = self.gate else {
            return Err(Refusal::Frozen);
        };
        let count = running.count(now);
        Ok(self.sleepers.sleep(vcpu, deadline, count, now))
    }

    /// The machine's count, at the board's count `now`.
    pub fn count(&self, now: Ticks) -> Ticks {
        match self.gate {
            Gate::Frozen(frozen) => frozen.count(),
            Gate::Running(running) => running.count(now),
        }
    }

    /// Sets the alarm to `deadline` of the machine's count. False if that has passed.
    pub fn set_alarm(&mut self, deadline: Ticks, now: Ticks) -> Result<bool, Refusal> {
        let Gate::Running(running) = self.gate else {
            return Err(Refusal::Frozen);
        };
        let count = running.count(now);
        Ok(self.sleepers.set_alarm(deadline, count, now))
    }

    /// A vCPU is awake.
    pub fn wake(&mut self, vcpu: VcpuId) -> Result<(), Refusal> {
        self.check(vcpu)?;
        self.sleepers.wake(vcpu);
        Ok(())
    }

    /// When the next sleeper is due on the board's clock; never while time is frozen.
    pub fn next(&self) -> Option<Ticks> {
        match self.gate {
            Gate::Running(_) => self.sleepers.next(),
            Gate::Frozen(_) => None,
        }
    }

    /// Finds sleepers that are due; true if there are new ones.
    pub fn expire(&mut self, now: Ticks) -> bool {
        matches!(self.gate, Gate::Running(_)) && self.sleepers.expire(now)
    }

    /// Collects the sleepers that are due, one bit a vCPU, and one for the alarm.
    pub fn collect(&mut self, now: Ticks) -> u8 {
        self.expire(now);
        self.sleepers.collect()
    }
}
