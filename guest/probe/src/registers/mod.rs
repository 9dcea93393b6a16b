// SPDX-License-Identifier: BSD-2-Clause
//! Mode `registers`: every vCPU fills every register it has with values of its own, holds them for a while, compares.
//!
//! A round, on all vCPUs together: set up a state of interrupts, some active, some pending ([`interrupts`]); a few
//! times load random values into system registers ([`system`]) and all general and FP/SIMD registers, hold them while
//! spinning, sleeping or leaving to the hypervisor ([`hold`]), and compare bit by bit; then finish the interrupts and
//! see that each comes as it must. A move at any moment falls into one of these.
//!
//! Arguments: `seed=N`, `rounds=N` (0: until `q` is typed), `holds=N` a round, `hold_us=N` the longest, `mmu=0|1`,
//! `interrupts=none|few|shared|many`, `gic=physical` on a machine that emulates none, `park=1` (one vCPU only): every
//! hold is ended by a key, and before it the probe says what each register of the table is while it lasts; `switched=1`
//! on a machine that gives each vCPU its own debug registers, performance monitor and cache selection.
//!
//! Lines: `probe: register NAME=VALUE` or `probe: register NAME absent` for each and then `probe: parked`; `probe: round
//! N ok`, or the mismatches; at the end `probe: interrupts ok` if all of them came as they must.

mod hold;
mod interrupts;
mod system;
mod table;
mod view;

use guest_runtime::console::Console;
use guest_runtime::gic::{self, distributor};
use guest_runtime::machine::{Machine, power_off, start_vcpu, stop_vcpu};
use guest_runtime::pattern::Pattern;
use guest_runtime::{println, timer};
use state::Register;

use crate::controller::Controller;
use crate::mmu;
use crate::report::{self, Reporter};
use crate::shared::{Barrier, Stop, Words};
use hold::{Activity, Hold};
use interrupts::{Amount, Interrupts};
use system::{Constants, SystemState};
use table::Filled;

static BARRIER: Barrier = Barrier::new();
static STOP: Stop = Stop::new();
/// The latest count that each vCPU has seen.
static COUNTS: Words = Words::new();

struct Options {
    seed: u64,
    rounds: u64,
    holds: u64,
    hold_microseconds: u64,
    mmu: bool,
    interrupts: Amount,
    controller: Controller,
    park: bool,
    switched: bool,
}

impl Options {
    fn new(machine: &Machine) -> Self {
        let arguments = &machine.arguments;
        Self {
            seed: arguments.number("seed", 1),
            rounds: arguments.number("rounds", 0),
            holds: arguments.number("holds", 4),
            hold_microseconds: arguments.number("hold_us", 10_000).max(1),
            mmu: arguments.number("mmu", 0) != 0,
            interrupts: match arguments.text("interrupts") {
                Some("none") => Amount::None,
                Some("few") => Amount::Few,
                Some("shared") => Amount::Shared,
                _ => Amount::Many,
            },
            controller: Controller::new(arguments),
            park: arguments.number("park", 0) != 0,
            switched: arguments.number("switched", 0) != 0,
        }
    }
}

/// Runs the mode on one vCPU.
pub(crate) fn run(vcpu: usize, machine: &'static Machine) -> ! {
    let options = Options::new(machine);
    if vcpu == 0 {
        Filled::find(machine.vcpus == 1 || options.switched);
        prepare(machine);
    }
    if options.mmu {
        mmu::enable(vcpu);
    }
    let result = Prober::new(vcpu, machine.vcpus, &options).run();
    if vcpu != 0 {
        stop_vcpu();
    }
    report::print();
    let mismatches = report::mismatches();
    match result {
        Err(missing) => println!("probe: FAILED, vCPU {missing} does not come"),
        Ok(()) if mismatches > 0 => println!("probe: FAILED, {mismatches} mismatches"),
        Ok(()) => {
            println!("probe: interrupts ok");
            println!("probe: done, all ok");
        }
    }
    power_off()
}

/// What is done once, by vCPU 0.
fn prepare(machine: &Machine) {
    gic::write(distributor::CTLR, 1);
    interrupts::make_edge_triggered();
    for vcpu in 1..machine.vcpus {
        if let Err(error) = start_vcpu(vcpu) {
            println!("probe: FAILED, vCPU {vcpu} does not start: {error}");
            power_off();
        }
    }
}

/// One vCPU's state of the mode.
struct Prober<'a> {
    vcpu: usize,
    vcpus: usize,
    options: &'a Options,
    pattern: Pattern,
    constants: Constants,
    filled: Filled,
    reporter: Reporter,
}

impl<'a> Prober<'a> {
    fn new(vcpu: usize, vcpus: usize, options: &'a Options) -> Self {
        Self {
            vcpu,
            vcpus,
            options,
            pattern: Pattern::new(options.seed, vcpu as u64),
            constants: Constants::read(),
            filled: Filled::found(),
            reporter: Reporter::new(vcpu),
        }
    }

    fn run(&mut self) -> Result<(), usize> {
        if self.vcpu == 0 {
            println!(
                "probe: {} registers that are not switched",
                self.filled.unswitched()
            );
        }
        for round in 1_u64.. {
            self.round()?;
            if self.vcpu == 0 {
                self.tell(round);
            }
            BARRIER.wait(self.vcpu, self.vcpus)?;
            if STOP.requested() {
                break;
            }
        }
        Ok(())
    }

    fn round(&mut self) -> Result<(), usize> {
        let random = self.pattern.next();
        let mut interrupts = Interrupts::new(
            self.vcpu,
            self.vcpus,
            self.options.interrupts,
            self.options.controller,
            random,
        );
        interrupts.take_own(self.reporter);
        self.meet()?;
        interrupts.send_to_all();
        self.meet()?;
        interrupts.remember(self.reporter);
        for _ in 0..self.options.holds {
            self.hold();
            interrupts.compare(self.reporter);
        }
        self.meet()?;
        interrupts.finish(self.reporter);
        self.meet()
    }

    fn meet(&self) -> Result<(), usize> {
        BARRIER.wait(self.vcpu, self.vcpus)
    }

    fn hold(&mut self) {
        let activity = match self.options.park {
            true => Activity::Park,
            false => Activity::choose(&mut self.pattern),
        };
        let time = timer::ticks(1 + self.pattern.below(self.options.hold_microseconds));
        let mut hold = Hold::new(self.vcpu, activity, self.options.mmu, &mut self.pattern);
        if activity == Activity::Park {
            interrupts::listen();
        }
        let system = SystemState::load(
            &self.filled,
            &mut self.pattern,
            activity,
            self.options.mmu,
            hold.vectors(),
        );
        if activity == Activity::Park {
            self.tell_all(&hold, &system);
        }
        hold.run(time, &system);
        let found = system.read(&self.filled);
        system::restore(self.options.mmu);
        system.compare(&found, &self.filled, activity, self.reporter);
        hold.compare(&system, self.reporter);
        self.constants.compare(self.reporter);
        self.compare_counts();
    }

    /// Says what every register of the table will be while the vCPU is parked, or that there is none.
    fn tell_all(&self, hold: &Hold, system: &SystemState) {
        let mut tell = |register: Register, value: Option<u128>| match value {
            Some(value) => println!("probe: register {}={value:#x}", register.name()),
            None => println!("probe: register {} absent", register.name()),
        };
        system.each(&self.filled, &mut tell);
        hold.each(&mut tell);
        println!("probe: parked");
    }

    /// No vCPU is behind what another has seen.
    fn compare_counts(&self) {
        let latest = (0..self.vcpus)
            .map(|vcpu| COUNTS.get(vcpu))
            .max()
            .unwrap_or(0);
        let count = timer::counter();
        if count < latest {
            self.reporter.mismatch(format_args!(
                "register=CNTVCT_EL0 went back from {latest:#x} to {count:#x}"
            ));
        }
        COUNTS.set(self.vcpu, count);
    }

    /// vCPU 0 says how it went, and listens.
    fn tell(&self, round: u64) {
        report::print();
        if report::mismatches() == 0 {
            println!("probe: round {round} ok");
        }
        let typed = Console::receive() == Some(b'q');
        if typed || round == self.options.rounds || report::mismatches() > 0 {
            STOP.request();
        }
    }
}
