// SPDX-License-Identifier: BSD-2-Clause
//! A bare-metal guest that measures exits.
//!
//! The same operations as kvm-unit-tests' `micro-bench` for Arm, so that figures can be compared: a hypercall, a read
//! of a device that is emulated outside the kernel, a read of the emulated distributor, the end of an interrupt, an
//! interrupt to another vCPU, a timer. Time is the virtual counter's; in QEMU with `-icount shift=0` a nanosecond is an
//! instruction.
//!
//! Arguments: `count=N` repetitions of the short ones, `slow=N` of those that wait. Prints a table, and for each
//! operation `bench: name=… count=… ns_per_op=… max_ns=…`; ends with `bench: done` and powers off. With `stand=N` it
//! measures nothing and is measured: see [`stand`].
#![no_std]
#![no_main]

mod latency;
mod stand;

use core::arch::asm;

use guest_runtime::console::UARTFR;
use guest_runtime::exception::{Frame, Vector};
use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::{Machine, power_off, start_vcpu};
use guest_runtime::{mmio, println, timer};

/// `PSCI_VERSION` (Arm DEN 0022, 5.1.1): answered without doing anything.
const PSCI_VERSION: u64 = 0x8400_0000;

/// What an operation took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Ticks of all repetitions together.
    pub(crate) total: u64,
    /// Ticks of the longest, where each is measured by itself.
    pub(crate) longest: Option<u64>,
}

#[unsafe(no_mangle)]
fn guest_main(vcpu: usize, machine: &'static Machine) -> ! {
    gic::write_interface(cpu_interface::PMR, 0xf8);
    gic::write_interface(cpu_interface::CTLR, gic::ENABLE_GROUP_0);
    let stands = machine.arguments.number("stand", u64::MAX);
    match (vcpu, u32::try_from(stands)) {
        (0, _) => {}
        (_, Ok(interrupts)) => stand::raise(machine, interrupts),
        (_, Err(_)) => latency::receive(),
    }
    gic::write(distributor::CTLR, 1);
    if stands != u64::MAX {
        stand::watch();
    }
    let count = machine.arguments.number("count", 20_000).max(1);
    let slow = machine.arguments.number("slow", 500).max(1);
    println!(
        "{:<28}{:>10}{:>14}{:>12}",
        "operation", "count", "ns/op", "longest"
    );
    report("hypercall", count, repeat(count, hypercall));
    report("mmio_read", count, repeat(count, || mmio::read(UARTFR)));
    report(
        "gic_read",
        count,
        repeat(count, || gic::read(distributor::IIDR)),
    );
    report(
        "eoi",
        count,
        repeat(count, || {
            gic::write_interface(cpu_interface::EOIR, gic::SPURIOUS)
        }),
    );
    report("timer", slow, latency::timer(slow));
    if machine.vcpus > 1 {
        match start_vcpu(1) {
            Ok(()) => report("ipi", slow, latency::ipi(slow)),
            Err(error) => println!("bench: vCPU 1 does not start: {error}"),
        }
    }
    println!("bench: done");
    power_off()
}

#[unsafe(no_mangle)]
fn guest_exception(vector: Vector, frame: &mut Frame) {
    if vector == Vector::IRQ {
        latency::interrupt();
        return;
    }
    println!(
        "bench: FAILED, exception at vector {} elr={:#x} esr={:#x}",
        vector.0, frame.elr, frame.esr
    );
    power_off()
}

fn repeat<T>(count: u64, operation: impl Fn() -> T) -> Sample {
    let start = timer::counter();
    for _ in 0..count {
        let _ = operation();
    }
    Sample {
        total: timer::counter() - start,
        longest: None,
    }
}

fn hypercall() {
    // SAFETY: the SMC calling convention lets the call change x0–x17 (Arm DEN 0028, 2.6); it does nothing else.
    unsafe {
        asm!(
            "smc #0",
            inlateout("x0") PSCI_VERSION => _,
            clobber_abi("C"),
            options(nostack),
        );
    }
}

fn report(name: &str, count: u64, sample: Sample) {
    let tenths = nanoseconds(sample.total * 10) / count;
    let (whole, tenth) = (tenths / 10, tenths % 10);
    let longest = sample.longest.map_or(0, nanoseconds);
    println!("{name:<28}{count:>10}{whole:>12}.{tenth}{longest:>12}");
    println!("bench: name={name} count={count} ns_per_op={whole}.{tenth} max_ns={longest}");
}

fn nanoseconds(ticks: u64) -> u64 {
    // No 128-bit division, and no overflow either: seconds and the rest apart.
    let frequency = timer::frequency();
    ticks / frequency * 1_000_000_000 + ticks % frequency * 1_000_000_000 / frequency
}
