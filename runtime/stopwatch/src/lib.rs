// SPDX-License-Identifier: BSD-2-Clause
//! What a capture and a restore of a vCPU cost, for benchmarks.
//!
//! Responsible for: between which of the machine's calls each of them lies, and how much of that is spent in calls of
//! peer domains. A shell that is built to measure (`cargo xtask bench`) has one; no other has. Must never: change what the
//! machine does.
//!
//! A vCPU is captured from the question which list registers are taken until `timer-pd` has its timer, and restored from
//! the question what is to be injected until the next one is, or time runs. What lets the vCPUs run is then done for all
//! of them at once. All this is found by the calls that the machine makes on its way to a snapshot or a move, so that
//! nothing but that way is measured.
//!
//! Of several vCPUs, the last is the one to look at: while the first runs the stub, `migration-pd` still does what follows
//! from its request, and is counted.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use channel::{timer, vgic};

/// A call that the machine makes to a peer domain or the kernel, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The first of a capture.
    CaptureBegins,
    /// The last of a capture.
    CaptureEnds,
    /// The first of a restore.
    RestoreBegins,
    /// The end of the last restore: time runs, and what follows lets the vCPUs run.
    RunPermit,
    /// A thread is let run.
    Resume,
    /// A list register is filled.
    Inject,
    /// Any other call of a peer domain.
    PeerDomain,
}

impl Step {
    /// What a call of `vgic-pd` is.
    #[inline]
    pub const fn of_vgic(request: &vgic::Request) -> Self {
        match request {
            vgic::Request::ListRegisterEntries { .. } => Self::CaptureBegins,
            vgic::Request::Restore { .. } => Self::RestoreBegins,
            _ => Self::PeerDomain,
        }
    }

    /// What a call of `timer-pd` is.
    #[inline]
    pub const fn of_timer(request: &timer::Request) -> Self {
        match request {
            timer::Request::Save { .. } => Self::CaptureEnds,
            timer::Request::Release => Self::RunPermit,
            _ => Self::PeerDomain,
        }
    }

    /// Whether it is a call of a peer domain.
    const fn is_peer_domains(self) -> bool {
        !matches!(self, Self::Resume | Self::Inject)
    }
}

/// Ticks that something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lap {
    /// Of `vmm-pd`, the stub and the kernel for them.
    pub own: u64,
    /// Of calls of peer domains.
    pub peers: u64,
}

/// What a machine was resumed after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measured {
    /// The last vCPU's capture.
    pub capture: Lap,
    /// Its restore.
    pub restore: Lap,
    /// What let all vCPUs run.
    pub release: Lap,
    /// How many vCPUs were let run.
    pub vcpus: u32,
    /// List registers of the last vCPU that were filled.
    pub list_registers: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Running {
    #[default]
    Nothing,
    Capture,
    Restore,
    /// So many vCPUs have to be let run yet.
    Release(u32),
}

/// The stopwatch.
#[derive(Debug, Default)]
pub struct Stopwatch {
    running: Running,
    since: u64,
    peers: u64,
    measured: Measured,
}

impl Stopwatch {
    /// The machine has made a call, which lasted from the count of `before` to that of `after`. The figures, when all
    /// vCPUs run.
    pub fn call(&mut self, step: Step, before: u64, after: u64) -> Option<Measured> {
        let took = after - before;
        match (step, self.running) {
            (Step::CaptureBegins, _) => {
                self.measured = Measured::default();
                self.start(Running::Capture, before);
            }
            (Step::CaptureEnds, Running::Capture) => {
                self.peers += took;
                self.measured.capture = self.stop(after);
                return None;
            }
            (Step::RestoreBegins, _) => {
                self.measured.vcpus += 1;
                self.measured.list_registers = 0;
                self.start(Running::Restore, before);
            }
            (Step::RunPermit, Running::Restore) => {
                self.measured.restore = self.stop(before);
                self.start(Running::Release(self.measured.vcpus), before);
            }
            (Step::Inject, Running::Restore) => self.measured.list_registers += 1,
            (Step::Resume, Running::Release(1)) => {
                self.measured.release = self.stop(after);
                return Some(self.measured);
            }
            (Step::Resume, Running::Release(left)) => self.running = Running::Release(left - 1),
            _ => {}
        }
        if step.is_peer_domains() {
            self.peers += took;
        }
        None
    }

    const fn start(&mut self, what: Running, count: u64) {
        self.running = what;
        self.since = count;
        self.peers = 0;
    }

    const fn stop(&mut self, count: u64) -> Lap {
        self.running = Running::Nothing;
        Lap {
            own: count - self.since - self.peers,
            peers: self.peers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that last 10 ticks each, with 100 between.
    fn calls(stopwatch: &mut Stopwatch, steps: &[Step]) -> Option<Measured> {
        let ends = (1..).map(|number| 110 * number);
        steps.iter().zip(ends).fold(None, |measured, (step, end)| {
            stopwatch.call(*step, end - 10, end).or(measured)
        })
    }

    #[test]
    fn peer_domains_are_told_apart_and_what_is_the_kernels_is_ours() {
        let mut stopwatch = Stopwatch::default();
        let capture = [
            Step::CaptureBegins,
            // A maintenance interrupt inside the stub.
            Step::Resume,
            Step::PeerDomain,
            Step::CaptureEnds,
        ];
        assert_eq!(calls(&mut stopwatch, &capture), None);
        let restore = [
            Step::RestoreBegins,
            Step::PeerDomain,
            Step::Inject,
            // A timer's event inside the stub.
            Step::Resume,
            Step::Inject,
            Step::RunPermit,
            Step::PeerDomain,
            Step::Resume,
        ];
        let measured = calls(&mut stopwatch, &restore).unwrap();
        let lap = |own, peers| Lap { own, peers };
        assert_eq!(measured.capture, lap(3 * 100 + 10, 30));
        assert_eq!(measured.restore, lap(5 * 100 + 3 * 10, 20));
        assert_eq!(measured.release, lap(2 * 100 + 10, 20));
        assert_eq!((measured.vcpus, measured.list_registers), (1, 2));
    }

    #[test]
    fn of_several_vcpus_the_last_is_measured_and_all_are_let_run() {
        let mut stopwatch = Stopwatch::default();
        let steps = [
            Step::CaptureBegins,
            Step::Resume,
            Step::CaptureEnds,
            Step::CaptureBegins,
            Step::CaptureEnds,
            Step::RestoreBegins,
            Step::Inject,
            Step::RestoreBegins,
            Step::PeerDomain,
            Step::RunPermit,
            Step::Resume,
            Step::Resume,
        ];
        let measured = calls(&mut stopwatch, &steps).unwrap();
        let lap = |own, peers| Lap { own, peers };
        assert_eq!(measured.capture, lap(100, 20));
        assert_eq!(measured.restore, lap(200, 20));
        assert_eq!(measured.release, lap(2 * 100 + 2 * 10, 10));
        assert_eq!((measured.vcpus, measured.list_registers), (2, 0));
        assert_eq!(calls(&mut stopwatch, &[Step::Resume]), None);
    }

    #[test]
    fn a_running_guest_is_not_measured() {
        let mut stopwatch = Stopwatch::default();
        let running = [
            Step::PeerDomain,
            Step::Inject,
            Step::Resume,
            Step::RunPermit,
            Step::Resume,
        ];
        assert_eq!(calls(&mut stopwatch, &running), None);
    }
}
