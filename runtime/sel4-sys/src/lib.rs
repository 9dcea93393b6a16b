// SPDX-License-Identifier: BSD-2-Clause
//! The numbers of the seL4 16.0.0 and Microkit 2.3.0 interface that the domains are built on.
//!
//! Responsible for: the values that a domain, a kernel that runs it and the tool that builds the
//! image must agree on, for AArch64 with MCS and hypervisor support. It must never contain code
//! for a machine: no assembler, no static state, so that all three can use it.
//!
//! Sources: libsel4's headers and interface descriptions as the Microkit SDK ships them
//! (`board/<board>/<configuration>/include`), and `microkit.h`. The test `tests/sdk` compares
//! the numbers here with an installed SDK, for every board and configuration.

#![no_std]
#![forbid(unsafe_code)]

mod error;
pub mod fault;
mod invocation;
mod message;
pub mod microkit;
mod register;
mod syscall;

pub use error::SyscallError;
pub use fault::FaultLabel;
pub use invocation::{
    INVOCATION_LABELS_SYMBOL, INVOCATIONS, Invocation, InvocationLabels, UnknownInvocation,
    parameters,
};
pub use message::{
    FAST_MESSAGE_REGISTERS, IpcBuffer, MESSAGE_EXTRA_CAPABILITIES, MESSAGE_REGISTERS, MessageInfo,
};
pub use register::{VCpuRegister, context};
pub use syscall::Syscall;

/// A machine word, seL4's `seL4_Word`.
pub type Word = u64;

/// The last address of user memory, `seL4_UserTop`, of a kernel for 40 bits of physical address: of every board but those
/// that the image builder says something else for ([`USER_TOP_SYMBOL`]).
pub const USER_TOP: Word = 0xff_ffff_ffff;

/// Where Microkit maps a domain's IPC buffer: the last page of user memory.
#[must_use]
pub const fn ipc_buffer_address(user_top: Word) -> Word {
    user_top & !(PAGE_SIZE - 1)
}

/// The symbol of the last address of user memory, a word.
pub const USER_TOP_SYMBOL: &str = "sel4_user_top";

/// The smallest page, `1 << seL4_PageBits`.
pub const PAGE_SIZE: Word = 0x1000;

/// The ELF symbol of a 64-bit word that is 1 if the kernel has [`Syscall::DebugPutChar`], in domains
/// built with the feature `printing`.
///
/// Like the table of labels, it is patched by whoever builds an image: in the SDK's
/// `gen_config.json` the option is `PRINTING`. Unpatched it is 0, and nothing is printed.
pub const PRINTING_SYMBOL: &str = "sel4_printing";

/// Where a domain that panics stores a byte, to stop with a fault that says so.
///
/// Ours, not seL4's: in the first pages of memory, which are never mapped. At the fault, `x0`
/// is the address and `x1` the length of the source file's name, and `w2` the line.
pub const PANIC_ADDRESS: Word = 0xdead;
