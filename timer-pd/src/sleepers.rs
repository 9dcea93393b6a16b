// SPDX-License-Identifier: BSD-2-Clause
//! vCPUs that sleep until their virtual timer is due, and the machine's alarm.
//!
//! Responsible for: when the next of them is to be woken, and that each is reported once. It must
//! never decide what waking means.

use channel::{MAX_VCPUS, Ticks, VcpuId};

/// What a vCPU does, as far as it matters here; or the alarm, which sleeps while it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Sleeper {
    #[default]
    Awake,
    /// It sleeps until `deadline` of the machine's count, which is `until` of the board's.
    Asleep { deadline: Ticks, until: Ticks },
    /// Its deadline has passed, and nobody has collected it.
    Due,
}

/// The sleepers of a machine: its vCPUs, and the alarm after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sleepers([Sleeper; MAX_VCPUS + 1]);

/// The alarm's place.
const ALARM: usize = MAX_VCPUS;

/// The board's count at which the machine's reaches `deadline`; beyond the end of the board's
/// count, its end. A deadline that has passed is now.
fn until(deadline: Ticks, count: Ticks, now: Ticks) -> Ticks {
    Ticks(now.0.saturating_add(deadline.0.saturating_sub(count.0)))
}

impl Sleepers {
    /// A vCPU goes to sleep until `deadline`; `count` is the machine's count while the board's is
    /// `now`. False, and it is awake, if that has passed.
    pub fn sleep(&mut self, vcpu: VcpuId, deadline: Ticks, count: Ticks, now: Ticks) -> bool {
        self.sleep_at(vcpu.index(), deadline, count, now)
    }

    /// Sets the alarm to `deadline`. False, and it is off, if that has passed.
    pub fn set_alarm(&mut self, deadline: Ticks, count: Ticks, now: Ticks) -> bool {
        self.sleep_at(ALARM, deadline, count, now)
    }

    fn sleep_at(&mut self, place: usize, deadline: Ticks, count: Ticks, now: Ticks) -> bool {
        let sleeps = deadline > count;
        self.put(
            place,
            if sleeps {
                Sleeper::Asleep {
                    deadline,
                    until: until(deadline, count, now),
                }
            } else {
                Sleeper::Awake
            },
        );
        sleeps
    }

    /// A vCPU is awake.
    pub fn wake(&mut self, vcpu: VcpuId) {
        self.put(vcpu.index(), Sleeper::Awake);
    }

    fn put(&mut self, place: usize, sleeper: Sleeper) {
        if let Some(slot) = self.0.get_mut(place) {
            *slot = sleeper;
        }
    }

    /// Time runs after a pause, with the machine's count at `count` and the board's at
    /// `now`: deadlines are the guest's, so they have moved on the board's clock.
    pub fn resume(&mut self, count: Ticks, now: Ticks) {
        for sleeper in &mut self.0 {
            if let Sleeper::Asleep {
                deadline,
                until: at,
            } = sleeper
            {
                *at = until(*deadline, count, now);
            }
        }
    }

    /// When the next sleeper is due, on the board's clock.
    pub fn next(&self) -> Option<Ticks> {
        let deadlines = self.0.iter().filter_map(|sleeper| match sleeper {
            Sleeper::Asleep { until, .. } => Some(*until),
            _ => None,
        });
        deadlines.min()
    }

    /// Finds the sleepers that are due at the board's count `now`; true if there are new ones.
    pub fn expire(&mut self, now: Ticks) -> bool {
        let mut any = false;
        for sleeper in &mut self.0 {
            if matches!(sleeper, Sleeper::Asleep { until, .. } if *until <= now) {
                *sleeper = Sleeper::Due;
                any = true;
            }
        }
        any
    }

    /// Collects those that [`Self::expire`] has found, one bit each. They are awake.
    pub fn collect(&mut self) -> u8 {
        let mut due = 0;
        for (place, sleeper) in self.0.iter_mut().enumerate() {
            if *sleeper == Sleeper::Due {
                *sleeper = Sleeper::Awake;
                due |= 1 << place;
            }
        }
        due
    }
}
