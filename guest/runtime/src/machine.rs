// SPDX-License-Identifier: BSD-2-Clause
//! The machine as the device tree describes it, and its power.

use core::cell::UnsafeCell;

use fdt::Fdt;
use smccc::Smc;
use smccc::psci::{self, LowestAffinityLevel};

use crate::MAX_VCPUS;
use crate::arguments::Arguments;

unsafe extern "C" {
    fn guest_secondary();
}

/// What a guest needs to know of its machine.
#[derive(Debug)]
pub struct Machine {
    /// vCPUs that the device tree lists, at most [`MAX_VCPUS`].
    pub vcpus: usize,
    /// `bootargs`.
    pub arguments: Arguments<'static>,
}

struct Learned(UnsafeCell<Machine>);

// SAFETY: vCPU 0 writes it before it starts any other; afterwards it is only read.
unsafe impl Sync for Learned {}

static MACHINE: Learned = Learned(UnsafeCell::new(Machine {
    vcpus: 1,
    arguments: Arguments::new(""),
}));

impl Machine {
    /// Reads the device tree at address `tree`.
    pub(crate) fn learn(tree: usize) {
        // SAFETY: the boot protocol puts the address of a device tree into x0, in memory that nobody writes.
        let Ok(tree) = (unsafe { Fdt::from_ptr(core::ptr::with_exposed_provenance(tree)) }) else {
            return;
        };
        let machine = Self {
            vcpus: tree.cpus().count().clamp(1, MAX_VCPUS),
            arguments: Arguments::new(tree.chosen().bootargs().unwrap_or("")),
        };
        // SAFETY: no other vCPU runs yet, and nobody has asked for the machine.
        unsafe { *MACHINE.0.get() = machine };
    }

    pub(crate) fn get() -> &'static Self {
        // SAFETY: written before the first call, by `learn`.
        unsafe { &*MACHINE.0.get() }
    }
}

/// Starts vCPU `vcpu`, which then runs `guest_main`.
///
/// # Errors
///
/// What PSCI answers.
pub fn start_vcpu(vcpu: usize) -> Result<(), psci::Error> {
    psci::cpu_on::<Smc>(
        vcpu as u64,
        guest_secondary as *const () as u64,
        vcpu as u64,
    )
}

/// Whether vCPU `vcpu` is off.
#[must_use]
pub fn is_off(vcpu: usize) -> bool {
    let state = psci::affinity_info::<Smc>(vcpu as u64, LowestAffinityLevel::All);
    state == Ok(psci::AffinityState::Off)
}

/// Ends the calling vCPU.
pub fn stop_vcpu() -> ! {
    let _ = psci::cpu_off::<Smc>();
    loop {
        wait_for_interrupt();
    }
}

/// Ends the machine.
pub fn power_off() -> ! {
    let _ = psci::system_off::<Smc>();
    loop {
        wait_for_interrupt();
    }
}

/// `WFI`.
pub fn wait_for_interrupt() {
    // SAFETY: waits; changes nothing.
    unsafe { core::arch::asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

#[panic_handler]
fn panic(information: &core::panic::PanicInfo<'_>) -> ! {
    crate::println!("guest: FAILED, {information}");
    power_off()
}
