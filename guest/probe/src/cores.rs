// SPDX-License-Identifier: BSD-2-Clause
//! Mode `cores`: says which processor it is on, whenever a key is typed, and which ones it has been told of.
//!
//! With `discover=1` it asks for all implementations that it may run on, as Linux does (SMCCC, the vendor's hypervisor
//! services): `probe: hypervisor services 0x… 0x… 0x… 0x…`, `probe: implementation N midr=0x… revidr=0x… aidr=0x…` for each
//! and `probe: N implementations`. Each key is answered with `probe: NAME=0x…` for the registers that say what the
//! processor is, and `probe: round N ok`; `q` ends it.

use core::arch::asm;

use guest_runtime::console::Console;
use guest_runtime::machine::power_off;
use guest_runtime::{arguments::Arguments, println};
use smccc::smc64;

/// `ARM_SMCCC_VENDOR_HYP_CALL_UID_FUNC_ID` and what KVM answers.
const UID: (u32, [u64; 4]) = (
    0x8600_ff01,
    [0xb66f_b428, 0xe911_c52e, 0x564b_caa9, 0x743a_004d],
);
/// `ARM_SMCCC_VENDOR_HYP_KVM_FEATURES_FUNC_ID`.
const FEATURES: u32 = 0x8600_0000;
/// `ARM_SMCCC_VENDOR_HYP_KVM_DISCOVER_IMPL_VER_FUNC_ID` and `…_CPUS_FUNC_ID`.
const DISCOVER: [u32; 2] = [0xc600_0040, 0xc600_0041];

/// Runs the mode on vCPU 0, the only one.
pub(crate) fn run(vcpu: usize, arguments: &Arguments<'_>) -> ! {
    if vcpu != 0 {
        power_off()
    }
    if arguments.number("discover", 0) != 0 && !discover() {
        power_off()
    }
    for round in 1_u64.. {
        identify();
        println!("probe: round {round} ok");
        let key = loop {
            if let Some(key) = Console::receive() {
                break key;
            }
        };
        if key == b'q' {
            break;
        }
    }
    println!("probe: done, all ok");
    power_off()
}

/// The first four words of the answer to a call.
fn call(function: u32, argument: u64) -> [u64; 4] {
    let mut arguments = [0; 17];
    arguments[0] = argument;
    let [first, second, third, fourth, ..] = smc64(function, arguments);
    [first, second, third, fourth]
}

/// False if something is not as Linux expects it.
fn discover() -> bool {
    if call(UID.0, 0) != UID.1 {
        println!("probe: FAILED, another hypervisor");
        return false;
    }
    let features = call(FEATURES, 0);
    let [first, second, third, fourth] = features;
    println!("probe: hypervisor services {first:#x} {second:#x} {third:#x} {fourth:#x}");
    let [status, version, count, _] = call(DISCOVER[0], 0);
    if third & 0b11 != 0b11 || status != 0 || version >> 16 != 1 {
        println!("probe: FAILED, no implementations can be discovered");
        return false;
    }
    for number in 0..count {
        let [status, midr, revidr, aidr] = call(DISCOVER[1], number);
        if status != 0 {
            println!("probe: FAILED, implementation {number}: {status:#x}");
            return false;
        }
        println!("probe: implementation {number} midr={midr:#x} revidr={revidr:#x} aidr={aidr:#x}");
    }
    println!("probe: {count} implementations");
    true
}

/// Reads what the processor is at this moment.
fn identify() {
    macro_rules! say {
        ($($name:literal)*) => { $({
            let value: u64;
            // SAFETY: reads a register that says what the processor is, and changes nothing.
            unsafe {
                asm!(concat!("mrs {value}, ", $name), value = out(reg) value, options(nostack, nomem, preserves_flags))
            }
            println!("probe: {}={value:#x}", $name);
        })* };
    }
    say!("midr_el1" "id_aa64pfr0_el1" "id_aa64pfr1_el1" "id_aa64dfr0_el1" "id_aa64isar0_el1" "id_aa64isar1_el1"
        "id_aa64mmfr0_el1" "id_aa64mmfr1_el1" "id_aa64mmfr2_el1");
}
