// SPDX-License-Identifier: BSD-2-Clause
//! The register table and the canonical records of a virtual machine's state.
//!
//! Responsible for: which registers belong to a vCPU and what is done with each ([`register_table!`], [`Register`]);
//! what each domain exports of its part of a machine, and its one encoding ([`record`]); which boards a machine may
//! move between ([`admission`]); what a guest could have at all ([`legal`]). Never: touches a machine, or knows how a
//! kernel accelerates one. List registers,
//! offsets and saved copies do not appear here.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod admission;
pub mod baseline;
mod clock;
pub mod console;
pub mod coverage;
mod earlier;
mod file;
pub mod legal;
pub mod machine;
pub mod record;
mod register;
mod timer;
mod vcpu;
pub mod vgic;

pub use baseline::{BaselineV1, ImplementationV1};
pub use clock::ClockRecordV1;
pub use console::{ConsoleRecordV1, ConsoleRecordV2};
pub use file::{Defect, RegisterFile};
pub use machine::MachineRecordV2;
/// The table itself; see the crate [`mod@register_table`].
pub use register_table::register_table;

pub use register::{Class, Identifier, Policy, REGISTER_COUNT, Register, Source, Width};
pub use timer::{TimerRecordV1, VcpuTimerV1};
pub use vcpu::{PendingExceptionV1, PowerV1, VcpuV1, VcpusRecordV4};
pub use vgic::{CpuInterfaceV1, InterruptV1, VcpuInterruptsV1, VgicRecordV1};

pub use ::vm::MAX_VCPUS;

#[cfg(test)]
mod tests;
