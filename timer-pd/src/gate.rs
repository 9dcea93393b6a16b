// SPDX-License-Identifier: BSD-2-Clause
//! Whether time runs, and who may let it.
//!
//! Responsible for: that no vCPU runs before all vCPUs of the machine have their timer, and that
//! all run with one offset. A vCPU needs the offset to run, only [`Releasable::release`] makes
//! one, and only [`Frozen::releasable`] makes a [`Releasable`]: there is no way around the gate.
//!
//! Arithmetic on counts wraps: an offset is a difference modulo 2^64, as in `CNTVOFF_EL2`.

use channel::{MAX_VCPUS, Ticks, VcpuId};

/// Time is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frozen {
    count: Ticks,
    loaded: [bool; MAX_VCPUS],
}

/// Time is frozen, and every vCPU of the machine has its timer.
#[derive(Debug, PartialEq, Eq)]
pub struct Releasable {
    count: Ticks,
}

/// Time runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Running {
    offset: Ticks,
}

/// The gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Closed.
    Frozen(Frozen),
    /// Open.
    Running(Running),
}

impl Frozen {
    /// A machine whose count stands at `count`, no vCPU of which has its timer.
    pub const fn at(count: Ticks) -> Self {
        Self {
            count,
            loaded: [false; MAX_VCPUS],
        }
    }

    /// The machine's count.
    pub const fn count(self) -> Ticks {
        self.count
    }

    /// A vCPU has been given its timer.
    pub fn load(&mut self, vcpu: VcpuId) {
        self.mark(vcpu, true);
    }

    /// A vCPU's timer was replaced; it has to be given the new one.
    pub fn unload(&mut self, vcpu: VcpuId) {
        self.mark(vcpu, false);
    }

    fn mark(&mut self, vcpu: VcpuId, loaded: bool) {
        if let Some(mark) = self.loaded.get_mut(vcpu.index()) {
            *mark = loaded;
        }
    }

    /// The key to the gate, if every vCPU of a machine of `vcpus` has its timer. A machine
    /// without vCPUs has none to resume.
    pub fn releasable(self, vcpus: usize) -> Option<Releasable> {
        let ready = self.loaded.iter().take(vcpus).all(|loaded| *loaded);
        (ready && (1..=MAX_VCPUS).contains(&vcpus)).then_some(Releasable { count: self.count })
    }
}

impl Releasable {
    /// Opens the gate at the board's count `now`.
    pub const fn release(self, now: Ticks) -> Running {
        Running {
            offset: Ticks(now.0.wrapping_sub(self.count.0)),
        }
    }
}

impl Running {
    /// `CNTVOFF_EL2` of every vCPU.
    pub const fn offset(self) -> Ticks {
        self.offset
    }

    /// The machine's count at the board's count `now`.
    pub const fn count(self, now: Ticks) -> Ticks {
        Ticks(now.0.wrapping_sub(self.offset.0))
    }
}
