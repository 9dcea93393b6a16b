// SPDX-License-Identifier: BSD-2-Clause
//! The shell that does not measure, as in every image but a benchmark's: calls are made, and nothing else.

use channel::ring::Producer;
use stopwatch::Step;

/// Takes no time.
pub(crate) struct Clock;

#[expect(
    clippy::unused_self,
    reason = "the same as of the clock that takes time"
)]
impl Clock {
    /// A clock.
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Makes a call.
    #[inline(always)]
    pub(crate) fn time<T>(&mut self, _: Step, call: impl FnOnce() -> T) -> T {
        call()
    }

    /// Says nothing.
    #[inline(always)]
    pub(crate) fn tell(&mut self, _: &mut Producer) {}
}
