// SPDX-License-Identifier: BSD-2-Clause
//! seL4 for a domain: capabilities, messages, system calls and invocations.
//!
//! This is the part of rust-sel4's `sel4` crate (version 5.0.0) that the domains use, with the
//! names and signatures of that crate, written for stable Rust and without the kernel's headers at
//! build time. Building the domains against the original instead must work, so nothing here may be
//! public that the original lacks; behaviour that differs is documented where it does.
//!
//! Responsible for: the calling convention of seL4 16.0.0's MCS kernel on AArch64, and for holding
//! the few numbers that differ between kernel configurations in a table that the image builder
//! patches (see `patched`). It must never decide anything, and never allocate.
//!
//! A domain has one thread. The crate's state, which is where the IPC buffer lies, relies on it.

#![no_std]

mod arch;
mod cptr;
mod error;
mod fault;
mod invocations;
mod ipc_buffer;
mod message_info;
mod patched;
#[cfg(feature = "printing")]
mod printing;
mod state;
pub mod sys;
mod syscalls;
mod user_context;
mod vcpu_reg;

pub use cptr::{CPtr, CPtrBits, Cap, CapType, cap, cap_type};
pub use error::{Error, Result};
pub use fault::{
    CapFault, Fault, NullFault, Timeout, UnknownSyscall, UserException, VCpuFault, VGicMaintenance,
    VPpiEvent, VmFault,
};
pub use ipc_buffer::IpcBuffer;
pub use message_info::{MessageInfo, MessageInfoBuilder};
#[cfg(feature = "printing")]
pub use printing::{DebugWrite, debug_put_char};
pub use state::{set_ipc_buffer, with_ipc_buffer, with_ipc_buffer_mut};
pub use syscalls::{Badge, CallWithMRs, FastMessages, RecvWithMRs, r#yield};
pub use user_context::UserContext;
pub use vcpu_reg::VCpuReg;

/// A machine word.
pub type Word = sel4_sys::Word;

/// The number of bits of a [`Word`].
pub const WORD_SIZE: usize = 64;

/// The number of message registers in the IPC buffer.
pub const NUM_MESSAGE_REGISTERS: usize = sel4_sys::MESSAGE_REGISTERS;

/// The number of message registers that travel in machine registers.
pub const NUM_FAST_MESSAGE_REGISTERS: usize = sel4_sys::FAST_MESSAGE_REGISTERS;

/// For the macros of this crate and of `sel4-microkit`.
#[doc(hidden)]
pub mod _private {
    pub use crate::patched::{Patched, irq_ack_label, user_top};
    #[cfg(feature = "printing")]
    pub use crate::printing::debug_print_helper;
}
