// SPDX-License-Identifier: BSD-2-Clause
//! Time goes forwards, on every CPU and between them, and every clock tells the same.
//!
//! A thread on each CPU wakes every two milliseconds. It compares the virtual counter and `CLOCK_MONOTONIC` with the
//! latest that any thread on any CPU has seen, `CLOCK_REALTIME` with `CLOCK_MONOTONIC` (nobody sets the clock here, so
//! their distance is constant), and `CLOCK_MONOTONIC_RAW` with the counter it is made from. How long it was away is the
//! CPU's gap.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::ClockId;

use super::{Context, now, stay_on};
use crate::hardware::{counter, counter_frequency};
use crate::worker::Worker;

const PERIOD: Duration = Duration::from_millis(2);

/// Two clocks are compared only if reading them took less: else the reader was interrupted in between.
const READING_LIMIT: u64 = 1_000_000;

/// By how many nanoseconds two clocks may drift apart from first to last: [`READING_LIMIT`] at either end.
const DRIFT_LIMIT: u64 = 2 * READING_LIMIT;

/// The latest that any thread has seen.
#[derive(Debug, Default)]
pub(super) struct Counters {
    counter: AtomicU64,
    monotonic: AtomicU64,
}

impl Counters {
    /// Reads counter and clock, and holds them against what every other thread read before.
    pub(super) fn observe(&self, worker: &Worker) {
        forwards(worker, "CNTVCT", &self.counter, counter);
        forwards(worker, "CLOCK_MONOTONIC", &self.monotonic, || {
            now(ClockId::Monotonic)
        });
    }
}

fn forwards(worker: &Worker, name: &str, latest: &AtomicU64, read: impl Fn() -> u64) {
    let before = latest.load(Ordering::SeqCst);
    let value = read();
    worker.expect(value >= before, || {
        format!("{name} went back from {before} to {value}")
    });
    latest.fetch_max(value, Ordering::SeqCst);
}

/// Nanoseconds of two clocks read at the same moment, and what one would be by the other.
#[derive(Debug, Clone, Copy)]
struct Readings {
    real_ahead: u64,
    raw: u64,
    count: u64,
}

fn read_together() -> Option<Readings> {
    let start = now(ClockId::Monotonic);
    let real = now(ClockId::Realtime);
    let count = counter();
    let raw = now(ClockId::MonotonicRaw);
    let end = now(ClockId::Monotonic);
    (end.saturating_sub(start) < READING_LIMIT).then_some(Readings {
        real_ahead: real.wrapping_sub(start),
        raw,
        count,
    })
}

fn compare(worker: &Worker, first: &Readings, last: &Readings) {
    let shift = last.real_ahead.wrapping_sub(first.real_ahead).cast_signed();
    worker.expect(shift.unsigned_abs() < DRIFT_LIMIT, || {
        format!("CLOCK_REALTIME moved against CLOCK_MONOTONIC by {shift} ns")
    });
    let by_counter = nanoseconds(last.count.wrapping_sub(first.count), counter_frequency());
    let by_clock = last.raw.wrapping_sub(first.raw);
    // The kernel's multiplication rounds: allow one part in ten thousand on top.
    let limit = DRIFT_LIMIT + by_counter / 10_000;
    worker.expect(by_counter.abs_diff(by_clock) < limit, || {
        format!("{by_counter} ns by the counter, {by_clock} ns by CLOCK_MONOTONIC_RAW")
    });
}

fn nanoseconds(ticks: u64, frequency: u64) -> u64 {
    let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(frequency.max(1));
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

pub(super) fn run(context: &Context, worker: &Worker, cpu: usize) {
    stay_on(worker, cpu);
    // Ahead of the busy threads: what it measures is the machine, not Linux' fairness.
    let result = rustix::process::nice(-20);
    worker.expect(result.is_ok(), || format!("no priority: {result:?}"));
    let mut first = None;
    let mut before = now(ClockId::Monotonic);
    loop {
        std::thread::sleep(PERIOD);
        let time = now(ClockId::Monotonic);
        if let Some(gap) = context.gaps.pulses.get(cpu) {
            gap.fetch_max(time.saturating_sub(before), Ordering::Relaxed);
        }
        before = time;
        context.counters.observe(worker);
        if let Some(last) = read_together() {
            compare(worker, first.get_or_insert(last), &last);
        }
        worker.round();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::summary;

    fn ok(worker: &'static Worker) -> bool {
        summary(&[worker], &[])["clock"]["ok"] == serde_json::json!(true)
    }

    fn worker() -> &'static Worker {
        Box::leak(Box::new(Worker::new("clock")))
    }

    #[test]
    fn a_counter_behind_what_another_thread_saw_is_noticed() {
        let (worker, latest) = (worker(), AtomicU64::new(10));
        forwards(worker, "CNTVCT", &latest, || 12);
        assert!(ok(worker));
        forwards(worker, "CNTVCT", &latest, || 11);
        assert!(!ok(worker));
    }

    #[test]
    fn a_wall_clock_that_jumps_is_noticed() {
        let first = Readings {
            real_ahead: 5,
            raw: 0,
            count: 0,
        };
        let good = worker();
        compare(good, &first, &first);
        assert!(ok(good));
        let jumped = Readings {
            real_ahead: first.real_ahead + DRIFT_LIMIT,
            ..first
        };
        let bad = worker();
        compare(bad, &first, &jumped);
        assert!(!ok(bad));
    }

    #[test]
    fn a_counter_that_stopped_while_the_clock_advanced_is_noticed() {
        let first = Readings {
            real_ahead: 5,
            raw: 0,
            count: 0,
        };
        let bad = worker();
        compare(
            bad,
            &first,
            &Readings {
                raw: 10_000_000,
                ..first
            },
        );
        assert!(!ok(bad));
    }
}
