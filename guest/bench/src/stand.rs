// SPDX-License-Identifier: BSD-2-Clause
//! What is stopped and resumed from outside: two vCPUs in a loop, the second with interrupts under way.
//!
//! Argument: `stand=N`, how many interrupts. Half of them are active, nested; the others are pending and more urgent, but
//! masked. Says `bench: standing`.

use core::sync::atomic::{AtomicBool, Ordering};

use guest_runtime::gic::{self, cpu_interface, distributor};
use guest_runtime::machine::{Machine, start_vcpu};
use guest_runtime::println;

/// Priority of the first interrupt; each that follows is more urgent by [`STEP`], a group of its own (IHI 0048B, 3.3.3).
const LEAST_URGENT: u32 = 0xa0;
const STEP: u32 = 0x10;

/// Whether vCPU 1 has raised everything; written by it.
static RAISED: AtomicBool = AtomicBool::new(false);

/// vCPU 0.
pub(crate) fn watch() -> ! {
    match start_vcpu(1) {
        Ok(()) => {
            while !RAISED.load(Ordering::Acquire) {
                core::hint::spin_loop();
            }
            println!("bench: standing");
        }
        Err(error) => println!("bench: FAILED, vCPU 1 does not start: {error}"),
    }
    stand()
}

/// vCPU 1: raises SGIs 1 to `count`, takes half of them, and ends none.
pub(crate) fn raise(machine: &Machine, count: u32) -> ! {
    let itself = 1 << (machine.vcpus - 1);
    for sgi in 1..=count {
        let priority = LEAST_URGENT.saturating_sub(sgi * STEP);
        gic::set_byte(
            distributor::IPRIORITYR,
            sgi,
            u8::try_from(priority).unwrap_or(0),
        );
        gic::set_bit(distributor::ISENABLER, sgi);
        gic::send(sgi, itself);
        if sgi <= count / 2 {
            let _ = gic::read_interface(cpu_interface::IAR);
        }
    }
    RAISED.store(true, Ordering::Release);
    stand()
}

fn stand() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
