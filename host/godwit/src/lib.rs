// SPDX-License-Identifier: BSD-2-Clause
//! The operator's program as a library, for the system tests.

pub mod attach;
pub mod cli;
pub mod client;
pub mod console;
pub mod demo;
pub mod guest_output;
pub mod inspect;
pub mod keeper;
pub mod line;
pub mod link;
pub mod output;
pub mod qemu;
mod random;
pub mod relay;
pub mod run;
pub mod running;
pub mod session;
pub mod snapshot;
pub mod tap;
pub mod timeouts;
