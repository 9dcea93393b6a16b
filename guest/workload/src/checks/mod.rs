// SPDX-License-Identifier: BSD-2-Clause
//! The checks, a file each, and what they share.

mod clock;
mod fp;
mod memory;
pub(crate) mod pipe;
mod sleep;
mod tick;

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::console::Console;
use crate::options::Options;
use crate::worker::Worker;
use clock::Counters;

/// What all threads share for as long as the workload runs.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where everything is printed.
    pub(crate) console: Console,
    /// Every thread of every check.
    pub(crate) workers: Vec<&'static Worker>,
    /// CPUs, each with a thread of its own for those checks that belong to a CPU.
    pub(crate) cpus: usize,
    /// How long nothing happened.
    pub(crate) gaps: Gaps,
    counters: Counters,
    sequence: AtomicU64,
}

impl Context {
    /// The number of the last tick.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// `CLOCK_MONOTONIC` in nanoseconds: the time since Linux started.
    pub(crate) fn uptime(&self) -> u64 {
        now(ClockId::Monotonic)
    }
}

/// The longest times between two signs of life since the last [`Gaps::reset`], in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug)]
pub(crate) struct Gaps {
    /// Of each CPU's pulse.
    pulses: Vec<AtomicU64>,
    tick: AtomicU64,
    oversleep: AtomicU64,
}

impl Gaps {
    fn new(cpus: usize) -> Self {
        Self {
            pulses: (0..cpus).map(|_| AtomicU64::new(0)).collect(),
            tick: AtomicU64::new(0),
            oversleep: AtomicU64::new(0),
        }
    }

    /// Forgets what was seen so far.
    pub(crate) fn reset(&self) {
        for gap in self.pulses.iter().chain([&self.tick, &self.oversleep]) {
            gap.store(0, Ordering::Relaxed);
        }
    }

    /// The longest time that no CPU can have run in: a machine that stops, stops on all of them, so the smallest of
    /// the CPUs' largest gaps bounds it, with less noise from scheduling than any single one.
    pub(crate) fn common(&self) -> u64 {
        let gaps = self.pulses.iter().map(|gap| gap.load(Ordering::Relaxed));
        gaps.min().unwrap_or(0)
    }

    /// The longest time between two ticks, which should be 100 ms apart.
    pub(crate) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// By how much a sleep was longer than asked for, at most.
    pub(crate) fn oversleep(&self) -> u64 {
        self.oversleep.load(Ordering::Relaxed)
    }
}

/// Starts every check in threads of their own, which run until the process ends.
pub(crate) fn start(options: &Options) -> anyhow::Result<&'static Context> {
    let cpus = std::thread::available_parallelism()?.get();
    let options = *options;
    let worker = |name| -> &'static Worker { Box::leak(Box::new(Worker::new(name))) };
    let clocks: Vec<_> = (0..cpus).map(|_| worker("clock")).collect();
    let fps: Vec<_> = (0..cpus).map(|_| worker("fp")).collect();
    let [tick, memory, sleep, pipe] = ["tick", "memory", "sleep", "pipe"].map(worker);
    let workers = [tick, memory, sleep, pipe]
        .into_iter()
        .chain(clocks.iter().copied())
        .chain(fps.iter().copied())
        .collect();
    let context: &'static Context = Box::leak(Box::new(Context {
        console: Console::new(options.style),
        workers,
        cpus,
        gaps: Gaps::new(cpus),
        counters: Counters::default(),
        sequence: AtomicU64::new(0),
    }));
    context.console.line(&format!(
        "godwit-workload: {cpus} CPUs, rewriting {} MiB; type help for the commands",
        options.writer_mib
    ));
    spawn("memory", move || memory::run(context, memory, &options))?;
    spawn("sleep", move || sleep::run(context, sleep, options.seed))?;
    pipe::start(pipe)?;
    for (cpu, (clock, fp)) in clocks.into_iter().zip(fps).enumerate() {
        spawn("clock", move || clock::run(context, clock, cpu))?;
        spawn("fp", move || fp::run(context, fp, cpu, options.seed))?;
    }
    spawn("tick", move || tick::run(context, tick))?;
    Ok(context)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .with_context(|| format!("cannot start the thread {name}"))?;
    Ok(())
}

/// Keeps the calling thread on one CPU; a failure is `worker`'s.
fn stay_on(worker: &Worker, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let result = sched_setaffinity(None, &set);
    worker.expect(result.is_ok(), || {
        format!("cannot stay on CPU {cpu}: {result:?}")
    });
}

/// A clock's time in nanoseconds.
fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
