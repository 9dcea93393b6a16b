// SPDX-License-Identifier: BSD-2-Clause
//! What the vCPUs tell each other: words that only one of them writes.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_runtime::MAX_VCPUS;
use guest_runtime::timer;

/// How long vCPUs wait for each other, in microseconds of the guest's clock: far longer than a round, and than a move
/// during which the clock runs.
const TIMEOUT: u64 = 60_000_000;

/// A word for each vCPU, written by it and read by all.
#[derive(Debug)]
pub(crate) struct Words([AtomicU64; MAX_VCPUS]);

impl Words {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; MAX_VCPUS])
    }

    /// Writes vCPU `vcpu`'s own word.
    pub(crate) fn set(&self, vcpu: usize, value: u64) {
        self.0[vcpu].store(value, Ordering::Release);
    }

    /// Reads vCPU `vcpu`'s word.
    pub(crate) fn get(&self, vcpu: usize) -> u64 {
        self.0[vcpu].load(Ordering::Acquire)
    }
}

/// Where vCPUs wait for each other.
#[derive(Debug)]
pub(crate) struct Barrier(Words);

impl Barrier {
    pub(crate) const fn new() -> Self {
        Self(Words::new())
    }

    /// Waits until all of `vcpus` have come here as often as `vcpu` has.
    ///
    /// # Errors
    ///
    /// The number of a vCPU that did not come.
    pub(crate) fn wait(&self, vcpu: usize, vcpus: usize) -> Result<(), usize> {
        let turn = self.0.get(vcpu) + 1;
        self.0.set(vcpu, turn);
        let start = timer::counter();
        for other in 0..vcpus {
            while self.0.get(other) < turn {
                if timer::counter() - start > timer::ticks(TIMEOUT) {
                    return Err(other);
                }
            }
        }
        Ok(())
    }
}

/// Whether vCPU 0 has said that it is enough.
#[derive(Debug)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
