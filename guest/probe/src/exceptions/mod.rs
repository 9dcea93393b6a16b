// SPDX-License-Identifier: BSD-2-Clause
//! Mode `exceptions`: what trips up hypervisors, a case each.
//!
//! Lines: `probe: <case> ok`, or `probe: <case> FAILED: …` for each thing that is not as it should be. `only=<case>,…`
//! runs some, `gic=physical` holds an interrupt controller that nobody emulates to all of the architecture. Cases that need a second vCPU are skipped on a machine with one, and say so.

mod aborts;
mod calls;
mod devices;
mod interrupts;
mod sibling;
mod traps;
mod walks;
mod withdrawn;

use core::fmt::{Display, LowerHex};

use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::{Machine, power_off};
use guest_runtime::println;

use crate::controller::Controller;

pub(crate) use traps::{attempt, exception};

/// One case.
struct Case {
    name: &'static str,
    vcpus: usize,
    run: fn(&mut Checker),
}

const fn case(name: &'static str, run: fn(&mut Checker)) -> Case {
    Case {
        name,
        vcpus: 1,
        run,
    }
}

const fn pair(name: &'static str, run: fn(&mut Checker)) -> Case {
    Case {
        name,
        vcpus: 2,
        run,
    }
}

static CASES: [Case; 36] = [
    case("smc_unknown", calls::smc_unknown),
    case("smc_preserves", calls::smc_preserves),
    case("psci", calls::psci),
    case("hvc", calls::hvc),
    case("hvc_system_calls", calls::hvc_system_calls),
    case("read_outside", aborts::read_outside),
    case("write_outside", aborts::write_outside),
    case("fetch_outside", aborts::fetch_outside),
    case("system_registers", aborts::system_registers),
    case("access_sizes", devices::access_sizes),
    case("access_pairs", devices::access_pairs),
    case("access_write_back", devices::access_write_back),
    case("access_zero_register", devices::access_zero_register),
    case("sgi_source", interrupts::sgi_source),
    case("priorities", interrupts::priorities),
    case("many_pending", interrupts::many_pending),
    case("urgent", interrupts::urgent),
    case("many_active", interrupts::many_active),
    case("too_many_active", interrupts::too_many_active),
    case("split_end", interrupts::split_end),
    case("switches", interrupts::switches),
    case("deactivated", interrupts::deactivated),
    case("timer_masked", interrupts::timer_masked),
    case("withdrawn", withdrawn::withdrawn),
    case("raised_again", withdrawn::raised_again),
    case("reprioritised", withdrawn::reprioritised),
    case("line_fallen", withdrawn::line_fallen),
    case("timer_set_anew", withdrawn::timer_set_anew),
    case("big_endian", devices::big_endian),
    case("unaligned", walks::unaligned),
    case("no_table", walks::no_table),
    pair("targets", sibling::targets),
    pair("retargeted", sibling::retargeted),
    pair("off_before_it_is_taken", sibling::off_before_it_is_taken),
    pair("masked_here", sibling::masked_here),
    pair("off_and_on", sibling::off_and_on),
];

/// What a case finds.
#[derive(Debug)]
pub(crate) struct Checker {
    name: &'static str,
    ok: bool,
    /// vCPUs of the machine.
    vcpus: usize,
    /// What its interrupt controller is held to.
    controller: Controller,
}

impl Checker {
    /// Notes that `what` is `found`; says so if it is not as expected.
    pub(crate) fn expect<T: PartialEq + LowerHex>(
        &mut self,
        what: impl Display,
        expected: T,
        found: T,
    ) {
        if expected != found {
            self.fail(format_args!(
                "{what} expected={expected:#x} found={found:#x}"
            ));
        }
    }

    /// Says what is wrong.
    pub(crate) fn fail(&mut self, what: impl Display) {
        self.ok = false;
        println!("probe: {} FAILED: {what}", self.name);
    }
}

/// Runs the mode on one vCPU.
pub(crate) fn run(vcpu: usize, machine: &'static Machine) -> ! {
    if vcpu != 0 {
        sibling::serve(vcpu);
    }
    gic::write(distributor::CTLR, 1);
    let only = machine.arguments.text("only");
    let mut failed = 0;
    for case in CASES
        .iter()
        .filter(|case| only.is_none_or(|only| only.split(',').any(|name| name == case.name)))
    {
        if machine.vcpus < case.vcpus {
            println!("probe: {} skipped, needs {} vCPUs", case.name, case.vcpus);
            continue;
        }
        reset_interface();
        let mut checker = Checker {
            name: case.name,
            ok: true,
            vcpus: machine.vcpus,
            controller: Controller::new(&machine.arguments),
        };
        (case.run)(&mut checker);
        interrupts::clean_up();
        if checker.ok {
            println!("probe: {} ok", case.name);
        } else {
            failed += 1;
        }
    }
    match failed {
        0 => println!("probe: done, all ok"),
        _ => println!("probe: FAILED, {failed} cases"),
    }
    power_off()
}

/// The CPU interface as every case finds it: on, everything let through, five bits of group priority.
fn reset_interface() {
    gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0);
    gic::write_interface(cpu_interface::BPR, 2);
    gic::write_interface(cpu_interface::PMR, 0xf8);
}
