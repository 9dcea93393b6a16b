// SPDX-License-Identifier: BSD-2-Clause
//! Copying and filling memory, for programs that have no floating-point registers.
//!
//! Responsible for: `memcpy`, `memmove` and `memset` of the bare-metal programs, in place of the
//! compiler's. Those copy byte by byte whenever source and destination are aligned differently,
//! which cost a vCPU's exit more than everything else in it. Must never: be used on Device memory,
//! where unaligned accesses fault; registers are accessed one at a time, as volatile.
//!
//! A program gets these functions by naming the crate: `use memory_functions as _;`.
#![cfg_attr(not(test), no_std)]

#[cfg(all(target_arch = "aarch64", target_os = "none"))]
core::arch::global_asm!(include_str!("memory.S"), options(raw));
