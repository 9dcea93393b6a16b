// SPDX-License-Identifier: BSD-2-Clause
//! The guest's devices that `vmm-pd` is: the UART and the clock of the day.

pub mod clock;
pub mod console;
