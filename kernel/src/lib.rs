// SPDX-License-Identifier: BSD-2-Clause
//! The embedded kernel's decisions.
//!
//! A small capability kernel for EL2 that implements the slice of seL4's MCS interface which
//! Godwit's domains use: endpoints with reply objects, notifications, scheduling contexts,
//! interrupt handlers, and threads with virtual CPUs. It is for development, tests and the demo,
//! where no Microkit SDK is installed, and makes no claim to be verified. What a domain can do
//! here it can do on seL4 16.0.0 too; the reverse does not hold.
//!
//! Responsible for every decision: what a system call does, who runs, what a virtual CPU's state
//! is. Must never touch hardware: that is behind [`Machine`], which the kernel's binary implements
//! and the tests fake.
//!
//! | module | what it decides |
//! |---|---|
//! | [`kernel`] | the frame of every entry |
//! | `syscall`, `invocation`, [`capability`] | what a system call does, and to what |
//! | `ipc`, `signal`, `fault` | messages, notifications, faults |
//! | [`scheduler`], [`budget`] | who runs, and for how long |
//! | [`vcpu`], `world`, [`interrupt`] | virtual CPUs, lazy switching, interrupts |
//! | `start` | from the boot description to all of the above |
//! | [`stage2`] | translation tables of domains and VMs |
//!
//! # Where it offers less than seL4
//!
//! * No capability moves in a message, and no object is created or configured at run time.
//! * A domain receives at its own input only. (Microkit's tool gives every endpoint capability the
//!   right to receive.)
//! * An address space capability exists and refuses everything; `dc civac` works at EL0.
//! * The console prints reports of stopped domains in place of Microkit's monitor.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod budget;
pub mod capability;
pub mod context;
mod fault;
pub mod identifier;
pub mod interrupt;
mod invocation;
mod ipc;
pub mod kernel;
pub mod machine;
pub mod object;
pub mod own;
pub mod queue;
pub mod report;
pub mod scheduler;
mod signal;
pub mod stage2;
mod start;
mod switched;
mod syscall;
pub mod vcpu;
mod world;

pub use kernel::Kernel;
pub use machine::Machine;
pub use start::StartError;

#[cfg(test)]
mod tests;
