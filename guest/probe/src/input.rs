// SPDX-License-Identifier: BSD-2-Clause
//! Mode `input`: what was typed is left where it is until somebody says that it is to be read.
//!
//! Who says so gives `TPIDR_EL0` a value other than 0 while the guest is paused. The probe then reads all that there is
//! and says `probe: read N bytes: HEXADECIMAL`. It also looks at the end of the page that the hypervisor keeps vCPU 0's
//! state on while that is paused, which the device tree does not mention, says `probe: found 0x…` and leaves a word
//! there; no page of the next guest's may have it. Between, it says `probe: round N ok`.

use core::arch::asm;
use core::fmt::Write as _;

use guest_runtime::console::Console;
use guest_runtime::machine::power_off;
use guest_runtime::{println, timer};

/// Microseconds from one line to the next.
const ROUND: u64 = 200_000;
/// The last word of the page (`capture_data` in `system.xml`).
const HIDDEN: *mut u64 = 0x0c01_0ff8 as *mut u64;
/// What is left there.
const SECRET: u64 = 0x5ec2_e75e_c2e7;

/// Runs the mode on vCPU 0, the only one.
pub(crate) fn run(vcpu: usize) -> ! {
    if vcpu != 0 {
        power_off()
    }
    set_told(0);
    leave_a_word();
    for round in 1_u64.. {
        let end = timer::counter() + timer::ticks(ROUND);
        while timer::counter() < end && told() == 0 {}
        if told() != 0 {
            set_told(0);
            read_all();
            leave_a_word();
        }
        println!("probe: round {round} ok");
    }
    power_off()
}

fn read_all() {
    let mut bytes = [0; 1024];
    let mut count = 0;
    while let Some(byte) = Console::receive() {
        if let Some(place) = bytes.get_mut(count) {
            *place = byte;
        }
        count += 1;
    }
    // Writing to the console never fails.
    let _ = write!(Console, "probe: read {count} bytes: ");
    for byte in bytes.iter().take(count) {
        let _ = write!(Console, "{byte:02x}");
    }
    let _ = writeln!(Console);
}

fn leave_a_word() {
    // SAFETY: an aligned word of a page that nothing else of the guest's is on; the MMU is off.
    let found = unsafe { HIDDEN.read_volatile() };
    println!("probe: found {found:#x}");
    // SAFETY: likewise.
    unsafe { HIDDEN.write_volatile(SECRET) }
}

fn told() -> u64 {
    let value;
    // SAFETY: reads a register that the probe uses for nothing else.
    unsafe {
        asm!("mrs {value}, tpidr_el0", value = out(reg) value, options(nostack, nomem, preserves_flags))
    }
    value
}

fn set_told(value: u64) {
    // SAFETY: likewise.
    unsafe {
        asm!("msr tpidr_el0, {value}", value = in(reg) value, options(nostack, nomem, preserves_flags))
    }
}
