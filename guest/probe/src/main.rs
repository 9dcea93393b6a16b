// SPDX-License-Identifier: BSD-2-Clause
//! A bare-metal guest that fills every register and checks it after a move.
//!
//! `godwit run --flat FILE --load 0x44000000 --vcpus N --args "mode=…"`. Modes:
//!
//! * `registers` (default): see [`registers`];
//! * `clock`: see [`clock`];
//! * `cores`: see [`cores`];
//! * `exceptions`: see [`exceptions`];
//! * `input`: see [`input`];
//! * `physical_timer`: see [`physical_timer`];
//! * `script`: see [`script`].
//!
//! Every mode ends with the line `probe: done, all ok` or `probe: FAILED …`, and powers the machine off. What is wrong
//! is said before, a line each: `probe: MISMATCH vcpu=… register=… expected=… found=…`.
#![no_std]
#![no_main]

mod clock;
mod controller;
mod cores;
mod exceptions;
mod input;
mod mmu;
mod physical_timer;
mod registers;
mod report;
mod script;
mod shared;

use guest_runtime::exception::{Frame, Vector};
use guest_runtime::machine::{Machine, power_off};
use guest_runtime::println;

#[unsafe(no_mangle)]
fn guest_main(vcpu: usize, machine: &'static Machine) -> ! {
    let mode = machine.arguments.text("mode").unwrap_or("registers");
    if vcpu == 0 {
        println!("probe: mode {mode}, {} vCPUs", machine.vcpus);
    }
    match mode {
        "registers" => registers::run(vcpu, machine),
        "clock" => clock::run(vcpu, machine),
        "exceptions" => exceptions::run(vcpu, machine),
        "cores" => cores::run(vcpu, &machine.arguments),
        "script" => script::run(vcpu),
        "input" => input::run(vcpu),
        "physical_timer" => physical_timer::run(vcpu),
        _ => {
            println!("probe: FAILED, no such mode");
            power_off()
        }
    }
}

#[unsafe(no_mangle)]
fn guest_exception(vector: Vector, frame: &mut Frame) {
    if exceptions::exception(vector, frame) {
        return;
    }
    println!(
        "probe: FAILED, exception at vector {} elr={:#x} esr={:#x} spsr={:#x}",
        vector.0, frame.elr, frame.esr, frame.spsr
    );
    power_off()
}
