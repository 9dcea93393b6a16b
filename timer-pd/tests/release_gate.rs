// SPDX-License-Identifier: BSD-2-Clause
//! Every order of requests to a machine of two and three vCPUs, exhaustively.
//!
//! The model calls the domain's own transition functions. It plays a `vmm-pd` that may ask for
//! anything at any time, and lets a vCPU run whenever it knows an offset.
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of a test are small"
)]

use channel::timer::VirtualTimer;
use channel::{Ticks, VcpuId};
use stateright::{Checker, Model, Property};
use timer_pd::Timers;

/// The board's count is never above this; it starts near the end of its range and wraps.
const LAST_TICK: u64 = 2;
const START: u64 = u64::MAX - 1;

/// What a vCPU's hardware holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Hardware {
    /// The compare value that it was loaded with since it was last stopped.
    compare: Option<u64>,
    /// The offset that it runs with.
    offset: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Machine {
    timers: Timers,
    ticks: u64,
    vcpus: Vec<Hardware>,
    /// What vmm-pd was told at the last release.
    offset: Option<u64>,
    /// What the timers were last saved as.
    saved: Vec<u64>,
    /// The machine was replaced by its own record, a tick later.
    imported: bool,
    /// The last count that a vCPU saw.
    seen: u64,
    went_back: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Request {
    Tick,
    Freeze,
    Save(usize, u64),
    Load(usize),
    Release,
    Run(usize),
    Import,
}

/// What opens the gate: the offset, unless it stays shut.
type Release = fn(&mut Timers, Ticks) -> Option<u64>;

/// The model over the domain's functions, or with a planted fault in what opens the gate.
struct Gate {
    vcpus: usize,
    release: Release,
}

fn real(timers: &mut Timers, now: Ticks) -> Option<u64> {
    Some(timers.release(now).ok()?.0)
}

fn id(vcpu: usize) -> VcpuId {
    VcpuId::new(vcpu).unwrap()
}

impl Machine {
    fn now(&self) -> Ticks {
        Ticks(START.wrapping_add(self.ticks))
    }

    fn stop(&mut self) {
        self.offset = None;
        for vcpu in &mut self.vcpus {
            *vcpu = Hardware::default();
        }
    }

    /// What a running vCPU reads from its counter.
    fn look(&mut self, vcpu: usize) {
        if let Some(offset) = self.vcpus[vcpu].offset {
            let count = self.now().0.wrapping_sub(offset);
            self.went_back |= count < self.seen;
            self.seen = count;
        }
    }

    fn import(&mut self) {
        if let Ok(record) = self.timers.export(1) {
            self.imported = true;
            self.timers.import(&record, Ticks(1), 1).unwrap();
            for vcpu in &mut self.vcpus {
                vcpu.compare = None;
            }
        }
    }
}

impl Model for Gate {
    type State = Machine;
    type Action = Request;

    fn init_states(&self) -> Vec<Machine> {
        let mut timers = Timers::default();
        timers.reset(self.vcpus as u8).unwrap();
        vec![Machine {
            timers,
            ticks: 0,
            vcpus: vec![Hardware::default(); self.vcpus],
            offset: None,
            saved: vec![0; self.vcpus],
            imported: false,
            seen: 0,
            went_back: false,
        }]
    }

    fn actions(&self, machine: &Machine, actions: &mut Vec<Request>) {
        actions.extend([Request::Freeze, Request::Release]);
        if !machine.imported {
            actions.push(Request::Import);
        }
        if machine.ticks < LAST_TICK {
            actions.push(Request::Tick);
        }
        for vcpu in 0..self.vcpus {
            let save = Request::Save(vcpu, vcpu as u64 + 1);
            actions.extend([save, Request::Load(vcpu), Request::Run(vcpu)]);
        }
    }

    fn next_state(&self, last: &Machine, request: Request) -> Option<Machine> {
        let mut machine = last.clone();
        let now = machine.now();
        match request {
            Request::Tick => machine.ticks += 1,
            Request::Freeze => {
                machine.stop();
                machine.timers.freeze(now);
            }
            Request::Save(vcpu, compare) => {
                let timer = VirtualTimer {
                    compare: Ticks(compare),
                    ..Default::default()
                };
                machine.timers.save(id(vcpu), timer).ok()?;
                machine.saved[vcpu] = compare;
            }
            Request::Load(vcpu) => {
                let timer = machine.timers.load(id(vcpu)).ok()?;
                machine.vcpus[vcpu].compare = Some(timer.compare.0);
            }
            Request::Release => machine.offset = Some((self.release)(&mut machine.timers, now)?),
            Request::Run(vcpu) => machine.vcpus[vcpu].offset = Some(machine.offset?),
            Request::Import => machine.import(),
        }
        (0..self.vcpus).for_each(|vcpu| machine.look(vcpu));
        Some(machine)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "no vCPU runs before all have their timer",
                |_, machine: &Machine| {
                    let any = machine.vcpus.iter().any(|vcpu| vcpu.offset.is_some());
                    let timers = machine.vcpus.iter().map(|vcpu| vcpu.compare);
                    !any || timers.eq(machine.saved.iter().copied().map(Some))
                },
            ),
            Property::always("no two vCPUs see two times", |_, machine: &Machine| {
                let mut offsets = machine.vcpus.iter().filter_map(|vcpu| vcpu.offset);
                let first = offsets.next();
                offsets.all(|offset| Some(offset) == first)
            }),
            Property::always("time never goes back", |_, machine: &Machine| {
                !machine.went_back
            }),
            Property::sometimes("all vCPUs run", |_, machine: &Machine| {
                machine.vcpus.iter().all(|vcpu| vcpu.offset.is_some()) && machine.seen > 1
            }),
        ]
    }
}

// Pitfall: The counter's offset was restored before the count, which changed it.
#[test]
fn no_vcpu_is_released_before_all_are_loaded() {
    let gate = Gate {
        vcpus: 2,
        release: real,
    };
    gate.checker().spawn_bfs().join().assert_properties();
}

#[test]
fn the_same_holds_for_three_vcpus() {
    let gate = Gate {
        vcpus: 3,
        release: real,
    };
    gate.checker().spawn_bfs().join().assert_properties();
}

/// A gate that resumes the guest whatever is missing.
fn hasty(timers: &mut Timers, now: Ticks) -> Option<u64> {
    let offset = timers.clone().release(now).ok();
    Some(offset.map_or(now.0, |offset| offset.0))
}

/// A gate that takes a tick more off the guest's time than it has been paused for.
fn slow(timers: &mut Timers, now: Ticks) -> Option<u64> {
    let offset = timers.release(now).ok()?.0;
    Some(offset.wrapping_add(u64::from(now != Ticks(START))))
}

#[test]
fn the_model_catches_planted_faults() {
    for (release, broken) in [
        (hasty as Release, "no vCPU runs before all have their timer"),
        (slow, "time never goes back"),
    ] {
        let gate = Gate { vcpus: 2, release };
        let checker = gate.checker().spawn_bfs().join();
        assert!(checker.discovery(broken).is_some(), "{broken}");
    }
}
