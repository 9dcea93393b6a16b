// SPDX-License-Identifier: BSD-2-Clause
//! Register-level drivers of the boards' devices.
//!
//! Responsible for: what a device's manual says about its registers and queues, and nothing else.
//! Must never: wait in a loop for a device (a domain sleeps until the interrupt), or know what
//! the bytes mean that pass through. A driver is generic over its [`Registers`] or its virtio
//! transport, so that it is tested on the host against a fake that behaves as the manual says.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod alarm;
mod aux_uart;
mod bcm_timer;
mod cadence_uart;
#[cfg(any(test, feature = "host"))]
pub mod fake;
mod meson_timer;
mod meson_uart;
mod pl011;
mod registers;
mod ttc;
mod uart;
pub mod virtio;

pub use alarm::{Alarm, rescale};
pub use aux_uart::AuxUart;
pub use bcm_timer::BcmTimer;
pub use cadence_uart::CadenceUart;
pub use meson_timer::MesonTimer;
pub use meson_uart::MesonUart;
pub use pl011::Pl011;
pub use registers::{Mmio, Registers};
pub use ttc::Ttc;
pub use uart::{EndlessInterrupt, Rounds, Uart, UartError};
