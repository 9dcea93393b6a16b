// SPDX-License-Identifier: BSD-2-Clause
//! Mode `clock`: the virtual counter goes forwards, on every vCPU and between them.
//!
//! Every vCPU keeps comparing its counter with the latest that any other has published, then sleeps for a millisecond
//! by its timer. Arguments: `rounds=N` (0: until `q` is typed). Lines: `probe: round N ok gap_us=…`, the gap being the
//! longest time between two readings of vCPU 0 since the line before: what a move costs by the guest's own clock.

use guest_runtime::console::Console;
use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::{Machine, power_off, start_vcpu, stop_vcpu, wait_for_interrupt};
use guest_runtime::{println, timer};

use crate::report::{self, Reporter};
use crate::shared::{Stop, Words};

/// Comparisons between two sleeps.
const COMPARISONS: usize = 1_000;
/// Sleeps between two lines.
const SLEEPS: u64 = 100;
/// Microseconds of a sleep.
const SLEEP: u64 = 1_000;

static COUNTS: Words = Words::new();
/// Sleeps that each vCPU has behind it.
static PROGRESS: Words = Words::new();
static STOP: Stop = Stop::new();

/// Runs the mode on one vCPU.
pub(crate) fn run(vcpu: usize, machine: &'static Machine) -> ! {
    gic::write_interface(cpu_interface::PMR, 0xf8);
    gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0);
    gic::set_bit(distributor::ISENABLER, gic::TIMER_INTID);
    if vcpu != 0 {
        while !STOP.requested() {
            compare_and_sleep(vcpu, machine.vcpus);
        }
        stop_vcpu();
    }
    gic::write(distributor::CTLR, 1);
    for other in 1..machine.vcpus {
        if let Err(error) = start_vcpu(other) {
            println!("probe: FAILED, vCPU {other} does not start: {error}");
            power_off();
        }
    }
    lead(machine);
    report::print();
    match report::mismatches() {
        0 => println!("probe: done, all ok"),
        mismatches => println!("probe: FAILED, {mismatches} mismatches"),
    }
    power_off()
}

/// vCPU 0's part.
fn lead(machine: &Machine) {
    let rounds = machine.arguments.number("rounds", 0);
    for round in 1_u64.. {
        let gap = (0..SLEEPS)
            .map(|_| compare_and_sleep(0, machine.vcpus))
            .max()
            .unwrap_or(0);
        report::print();
        if report::mismatches() > 0 {
            break;
        }
        println!(
            "probe: round {round} ok gap_us={}",
            gap * 1_000_000 / timer::frequency()
        );
        if round == rounds || Console::receive() == Some(b'q') {
            break;
        }
    }
    STOP.request();
    let reporter = Reporter::new(0);
    for vcpu in 1..machine.vcpus {
        if PROGRESS.get(vcpu) == 0 {
            reporter.mismatch(format_args!("vCPU {vcpu} made no progress"));
        }
    }
}

/// The longest time between two readings, in ticks.
fn compare_and_sleep(vcpu: usize, vcpus: usize) -> u64 {
    let mut longest = 0;
    let mut before = timer::counter();
    for _ in 0..COMPARISONS {
        let latest = (0..vcpus).map(|vcpu| COUNTS.get(vcpu)).max().unwrap_or(0);
        let count = timer::counter();
        if count < latest || count < before {
            Reporter::new(vcpu).mismatch(format_args!(
                "register=CNTVCT_EL0 went back from {:#x} to {count:#x}",
                latest.max(before)
            ));
        }
        COUNTS.set(vcpu, count);
        longest = longest.max(count.saturating_sub(before));
        before = count;
    }
    sleep();
    PROGRESS.set(vcpu, PROGRESS.get(vcpu) + 1);
    longest.max(timer::counter().saturating_sub(before))
}

/// Sleeps until the timer's interrupt is there, and takes it.
fn sleep() {
    timer::set_compare(timer::counter() + timer::ticks(SLEEP));
    timer::set_control(timer::ENABLE);
    loop {
        wait_for_interrupt();
        let acknowledged = gic::read_interface(cpu_interface::IAR);
        if acknowledged == gic::TIMER_INTID {
            timer::set_control(0);
            gic::write_interface(cpu_interface::EOIR, acknowledged);
            return;
        }
    }
}
