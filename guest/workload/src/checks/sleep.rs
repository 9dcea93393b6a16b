// SPDX-License-Identifier: BSD-2-Clause
//! Sleeps last as long as was asked for: never shorter, and not absurdly longer.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Context;
use crate::worker::{PROGRESS_LIMIT, Worker};
use guest_runtime::pattern::Pattern;

/// The longest sleep, in microseconds.
const LONGEST: u64 = 40_000;

pub(super) fn run(context: &Context, worker: &Worker, seed: u64) {
    let mut pattern = Pattern::new(seed, 0x200);
    loop {
        let asked = Duration::from_micros(1 + pattern.below(LONGEST));
        let start = Instant::now();
        std::thread::sleep(asked);
        let slept = start.elapsed();
        worker.expect(slept >= asked, || {
            format!("slept {slept:?} instead of {asked:?}")
        });
        // One that comes later was lost and made up for by chance.
        let late = slept.saturating_sub(asked);
        worker.expect(late < PROGRESS_LIMIT, || {
            format!("woke {late:?} late from a sleep of {asked:?}")
        });
        let nanoseconds = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        context
            .gaps
            .oversleep
            .fetch_max(nanoseconds, Ordering::Relaxed);
        worker.round();
    }
}
