// SPDX-License-Identifier: BSD-2-Clause
//! Microkit for a domain: its entry, its event loop, its channels and its patched symbols.
//!
//! This is the part of rust-sel4's `sel4-microkit` crate (version 5.0.0) that the domains use, with
//! the names and signatures of that crate, written for stable Rust. Building the domains against
//! the original instead must work, so nothing here may be public that the original lacks.
//!
//! Responsible for what libmicrokit does for a C domain. It must never decide anything for a
//! domain: policy is the [`Handler`]'s.
//!
//! Neither crate has accessors for the vCPUs of a domain's virtual machine. A fault of vCPU `i`
//! arrives as one of [`Child`] `i`, and the domain makes the capabilities itself:
//! `sel4::cap::Tcb::from_bits(266 + i)` is the vCPU's thread (`BASE_VM_TCB_CAP` in `microkit.h`),
//! `sel4::cap::VCpu::from_bits(330 + i)` the vCPU (`BASE_VCPU_CAP`).

#![no_std]

mod channel;
mod defer;
mod entry;
mod handler;
mod ipc;
mod message;
mod printing;
mod symbols;

pub use channel::{Channel, Child, IrqAckError};
pub use defer::{DeferredAction, DeferredActionInterface, DeferredActionSlot};
pub use handler::{Handler, Infallible, Never, NullHandler};
pub use ipc::{ChannelSet, DisplayChannelSet};
pub use message::{
    MessageInfo, MessageLabel, MessageRegisterValue, get_mr, set_mr, with_msg_bytes,
    with_msg_bytes_mut, with_msg_regs, with_msg_regs_mut,
};
#[cfg(feature = "printing")]
pub use sel4::{debug_print, debug_println};
pub use sel4_microkit_macros::protection_domain;
pub use symbols::{pd_is_passive, pd_name};

/// Makes a function `fn() -> impl Handler` the start of the domain: `init = function`.
#[macro_export]
macro_rules! declare_protection_domain {
    { init = $init:expr $(,)? } => {
        const _: () = {
            /// Where the domain starts, on the stack that Microkit gave it.
            #[unsafe(no_mangle)]
            extern "C" fn _start() -> ! {
                $crate::_private::run_main($init)
            }
        };
    };
}

/// For the macros of this crate.
#[doc(hidden)]
pub mod _private {
    pub use crate::entry::run_main;
    pub use sel4::_private::Patched;
}
