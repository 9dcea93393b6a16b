// SPDX-License-Identifier: BSD-2-Clause
//! The embedded kernel's binary: the hardware under the decisions of its library.
//!
//! Responsible for entering and leaving EL2, for the registers and devices behind
//! [`kernel::Machine`], and for starting up. Must never decide anything.
#![no_std]
#![no_main]

mod boot;
mod console;
mod entry;
mod floating_point;
mod gic;
mod hardware;
mod memory;
mod own_registers;
mod registers;
#[cfg(feature = "witness")]
mod witness;
