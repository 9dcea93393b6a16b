// SPDX-License-Identifier: BSD-2-Clause
//! What a check knows of itself: rounds, failures, the first of them in words.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// How long a check may show no progress when asked before it counts as dead, and how late a wake-up may be. Generous: a
/// lost wake-up never comes, while Linux charges a thread for the seconds that a loaded host took from it, and lets all the
/// others catch up before it runs again.
pub(crate) const PROGRESS_LIMIT: Duration = Duration::from_secs(30);

/// One thread of one check.
#[derive(Debug)]
pub(crate) struct Worker {
    name: &'static str,
    rounds: AtomicU64,
    failures: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

impl Worker {
    /// A worker of the check `name`; several may share a name and are then reported as one.
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            rounds: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            first_failure: Mutex::new(None),
        }
    }

    /// Counts a completed round.
    pub(crate) fn round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that `holds` was expected; `describe` says in words what was found instead.
    pub(crate) fn expect(&self, holds: bool, describe: impl FnOnce() -> String) {
        if holds {
            return;
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut first) = self.first_failure.lock() {
            first.get_or_insert_with(describe);
        }
    }

    fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

/// Waits until each of `workers` has completed a round from now on, and returns the names of those that did not.
/// Progress, not time, tells a living thread from one whose wake-up was lost: it holds whether or not the guest's
/// clocks advanced during a move.
pub(crate) fn stalled(workers: &[&'static Worker]) -> Vec<&'static str> {
    let before: Vec<u64> = workers.iter().map(|worker| worker.rounds()).collect();
    let start = Instant::now();
    loop {
        let names: Vec<&'static str> = workers
            .iter()
            .zip(&before)
            .filter(|(worker, before)| worker.rounds() == **before)
            .map(|(worker, _)| worker.name)
            .collect();
        if names.is_empty() || start.elapsed() > PROGRESS_LIMIT {
            return names;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What `workers` found, an object by check: `ok`, `rounds`, `failures`, `first_failure` if there is one.
pub(crate) fn summary(workers: &[&'static Worker], stalled: &[&'static str]) -> Map<String, Value> {
    let mut checks = Map::new();
    for name in workers.iter().map(|worker| worker.name) {
        if checks.contains_key(name) {
            continue;
        }
        let same = || workers.iter().filter(|worker| worker.name == name);
        let failures: u64 = same()
            .map(|worker| worker.failures.load(Ordering::Relaxed))
            .sum();
        let first = same().find_map(|worker| worker.first_failure.lock().ok()?.clone());
        let alive = !stalled.contains(&name);
        let mut check = json!({
            "ok": failures == 0 && alive,
            "rounds": same().map(|worker| worker.rounds()).sum::<u64>(),
            "failures": failures,
        });
        if let Some(first) = first {
            check["first_failure"] = json!(first);
        }
        if !alive {
            check["stalled"] = json!(true);
        }
        checks.insert(name.to_owned(), check);
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_one_thread_fails_the_check() {
        let [good, bad]: [&'static Worker; 2] = [
            Box::leak(Box::new(Worker::new("fp"))),
            Box::leak(Box::new(Worker::new("fp"))),
        ];
        good.round();
        bad.round();
        bad.expect(true, || "not this".to_owned());
        assert_eq!(summary(&[good, bad], &[])["fp"]["ok"], json!(true));
        bad.expect(false, || "v7 differs".to_owned());
        bad.expect(false, || "v8 differs".to_owned());
        let checks = summary(&[good, bad], &[]);
        assert_eq!(
            checks["fp"],
            json!({"ok": false, "rounds": 2, "failures": 2, "first_failure": "v7 differs"})
        );
    }

    #[test]
    fn a_thread_that_makes_no_progress_fails_the_check() {
        let dead: &'static Worker = Box::leak(Box::new(Worker::new("sleep")));
        let checks = summary(&[dead], &["sleep"]);
        assert_eq!(checks["sleep"]["ok"], json!(false));
        assert_eq!(checks["sleep"]["stalled"], json!(true));
    }
}
