// SPDX-License-Identifier: BSD-2-Clause
//! The vCPUs: exits, emulation, PSCI, boot, capture and restore.
//!
//! Responsible for: everything that the guest's processors do outside the guest; deciding, for
//! every exit, what the guest sees next; stopping the machine and resuming it.
//! Must never: know the state of the interrupt controller or the offset of time (those are
//! `vgic-pd`'s and `timer-pd`'s), or let a guest's mistake stop anything but that guest.
//!
//! The library decides and is tested on the host; `main.rs` is the shell that carries it out
//! through seL4's capabilities.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod capture;
pub mod devices;
pub mod exit;
pub mod lifecycle;
pub mod port;

#[cfg(test)]
mod tests;
