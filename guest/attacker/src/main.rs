// SPDX-License-Identifier: BSD-2-Clause
//! A bare-metal guest that does to its machine whatever a seed says.
//!
//! `godwit run --flat FILE --load 0x44000000 --vcpus 2`. vCPU 0 attacks: it executes the programs of
//! [`attacker::Plan`], each from a known state, and comes back by its own exception vectors ([`run`]). vCPU 1 is the
//! sibling: it has the console, keeps values in all that a vCPU has ([`sibling`]), and says whether they are still
//! there. Commands on the console, a line each:
//!
//! * `attack seed=N rounds=N level=0|1 translated=0|1 deadly=0|1` answers `attacker: begins seed=N`, and
//!   then `attacker: done seed=N rounds=N exceptions=N beats=N lost=0|1 mismatches=N`;
//! * `sweep level=0|1` reads every system register, and answers
//!   `attacker: swept level=N values=N undefined=N other=N`;
//! * `touch translated=0|1` accesses every offset of the distributor, the CPU interface and the console, and answers
//!   `attacker: touched accesses=N aborts=N other=N`;
//! * `echo …` answers the same after `attacker: `.
//!
//! What the sibling finds wrong is said before: `attacker: MISMATCH …`.
#![no_std]
#![no_main]

mod assault;
mod commands;
mod hold;
mod map;
mod orders;
mod run;
mod sibling;
mod sweep;

use guest_runtime::exception::{Frame, Vector};
use guest_runtime::machine::{Machine, power_off, start_vcpu};
use guest_runtime::{gic, println};

#[unsafe(no_mangle)]
fn guest_main(vcpu: usize, machine: &'static Machine) -> ! {
    if vcpu == 1 {
        commands::serve();
    }
    gic::write(gic::distributor::CTLR, 1);
    let started = if machine.vcpus < 2 {
        println!("attacker: FAILED, two vCPUs are needed");
        power_off()
    } else {
        start_vcpu(1)
    };
    if let Err(error) = started {
        println!("attacker: FAILED, vCPU 1 does not start: {error}");
        power_off();
    }
    assault::obey()
}

/// vCPU 0 has vectors of its own, so this is vCPU 1's, which causes none.
#[unsafe(no_mangle)]
fn guest_exception(vector: Vector, frame: &mut Frame) {
    println!(
        "attacker: FAILED, exception at vector {} elr={:#x} esr={:#x} spsr={:#x}",
        vector.0, frame.elr, frame.esr, frame.spsr
    );
    power_off()
}
