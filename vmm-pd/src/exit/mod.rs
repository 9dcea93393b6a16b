// SPDX-License-Identifier: BSD-2-Clause
//! What a vCPU's exit is, and what the guest sees next.

pub mod abort;
pub(crate) mod address;
mod decode;
pub(crate) mod exception;
pub mod instruction;
pub mod psci;
pub(crate) mod trap;

pub use decode::*;
