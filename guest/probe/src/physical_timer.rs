// SPDX-License-Identifier: BSD-2-Clause
//! Mode `physical_timer`: takes the EL1 physical timer, which the board's own `timer-pd` may need, and does not give it back.
//!
//! With its own interrupts masked, it switches the timer off again and again, never sleeps, and leaves the guest only to
//! say that it continues. It ends when `q` is typed. First line: `probe: the physical timer is there`, or `… is undefined` if
//! the first try is answered with an exception; each later try then is as well. Then `probe: round N ok`.

use core::arch::asm;

use guest_runtime::console::Console;
use guest_runtime::machine::power_off;
use guest_runtime::{println, timer};

use crate::exceptions::attempt;

/// Microseconds from one line to the next.
const ROUND: u64 = 200_000;
/// Writes between two looks at the counter.
const WRITES: u32 = 1000;

/// Runs the mode on vCPU 0, the only one.
pub(crate) fn run(vcpu: usize) -> ! {
    if vcpu == 0 {
        match attempt(take) {
            None => println!("probe: the physical timer is there"),
            Some(trap) if trap.class() == 0 => println!("probe: the physical timer is undefined"),
            Some(trap) => println!("probe: FAILED, the physical timer: esr={:#x}", trap.esr),
        }
        for round in 1_u64.. {
            let end = timer::counter() + timer::ticks(ROUND);
            while timer::counter() < end {
                let _ = attempt(|| (0..WRITES).for_each(|_| take()));
            }
            println!("probe: round {round} ok");
            if Console::receive() == Some(b'q') {
                break;
            }
        }
        println!("probe: done, all ok");
    }
    power_off()
}

/// Switches the timer off.
fn take() {
    // SAFETY: the guest uses no interrupt of this timer; no memory.
    unsafe {
        asm!(
            "msr cntp_ctl_el0, xzr",
            options(nostack, nomem, preserves_flags)
        )
    }
}
