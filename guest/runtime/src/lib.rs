// SPDX-License-Identifier: BSD-2-Clause
//! What our bare-metal guests stand on: start, vectors, console, arguments.
//!
//! Responsible for getting from the first byte of a flat binary to `guest_main` on every vCPU, with a stack, exception
//! vectors and the command line, and for words for the guest's machine: console, interrupt controller, virtual timer,
//! PSCI. Never: allocates, uses floating point, or depends on what the guest is for.
//!
//! With the MMU off all memory is Device memory, where exclusive loads and stores need not work (Arm ARM B2.9.2):
//! vCPUs talk through words that only one of them writes.
//!
//! Without the feature `bare` only the parts that need no machine are built, for tests on the host.
#![no_std]

pub mod arguments;
pub mod pattern;

#[cfg(feature = "bare")]
pub mod console;
#[cfg(feature = "bare")]
pub mod exception;
#[cfg(feature = "bare")]
pub mod gic;
#[cfg(feature = "bare")]
pub mod machine;
#[cfg(feature = "bare")]
pub mod mmio;
#[cfg(feature = "bare")]
mod start;
#[cfg(feature = "bare")]
pub mod timer;

/// The most vCPUs that a guest has: as many stacks as `guest.ld` reserves.
pub const MAX_VCPUS: usize = 4;
