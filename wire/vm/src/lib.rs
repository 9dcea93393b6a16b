// SPDX-License-Identifier: BSD-2-Clause
//! What a guest's machine is, to everybody who speaks of it: domains, records, messages, the operator's program.
//!
//! Responsible for: the one place of each fact that several of them need (how many vCPUs, where RAM begins, how large a
//! page is, what a register is at reset), and what is said of a machine as a whole: its phase, why it was stopped, how
//! often it exited. Never: depends on anything of ours.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod codes;
mod status;

pub use status::{Failure, Phase, Refusal, Statistics};

/// The most vCPUs that a guest has: as many as `system.xml` gives its virtual machine.
pub const MAX_VCPUS: usize = 4;

/// Where guest RAM begins, an IPA: as on QEMU's `virt`.
pub const RAM_BASE: u64 = 0x4000_0000;

/// Bytes of a page: what is compared, sent and mapped at once, at stage 2 and by the kernels.
pub const PAGE_SIZE: usize = 4096;

/// `SCTLR_EL1` after a reset: the bits that are RES1 without the extensions that give them a meaning, MMU and caches off
/// (DDI 0487, D24.2.175).
pub const SCTLR_EL1_RESET: u64 = 0x30d0_0800;
