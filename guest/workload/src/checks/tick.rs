// SPDX-License-Identifier: BSD-2-Clause
//! A sign of life every 100 ms, numbered, with every clock's reading.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::time::ClockId;

use super::{Context, now};
use crate::console::Tick;
use crate::hardware::counter;
use crate::worker::Worker;

const PERIOD: Duration = Duration::from_millis(100);

pub(super) fn run(context: &Context, worker: &Worker) {
    let mut due = Instant::now() + PERIOD;
    let mut before = Tick {
        sequence: 0,
        monotonic: now(ClockId::Monotonic),
        real: 0,
        count: counter(),
    };
    loop {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // After a gap the ticks that were missed are not made up for.
        due = (due + PERIOD).max(Instant::now());
        let tick = Tick {
            sequence: context.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            monotonic: now(ClockId::Monotonic),
            real: now(ClockId::Realtime),
            count: counter(),
        };
        compare(worker, &before, &tick);
        let gap = tick.monotonic.saturating_sub(before.monotonic);
        context.gaps.tick.fetch_max(gap, Ordering::Relaxed);
        context.console.tick(tick);
        worker.round();
        before = tick;
    }
}

fn compare(worker: &Worker, before: &Tick, tick: &Tick) {
    worker.expect(tick.sequence == before.sequence + 1, || {
        format!("tick {} after {}", tick.sequence, before.sequence)
    });
    for (name, old, new) in [
        ("CLOCK_MONOTONIC", before.monotonic, tick.monotonic),
        ("CLOCK_REALTIME", before.real, tick.real),
        ("CNTVCT", before.count, tick.count),
    ] {
        worker.expect(new > old, || {
            format!("{name} was {old} at tick {}, then {new}", before.sequence)
        });
    }
}
