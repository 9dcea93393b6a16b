// SPDX-License-Identifier: BSD-2-Clause
//! The registers of a thread.
//!
//! Responsible for their layout in memory, which the entry and exit code in assembler shares: the
//! order of seL4's `seL4_UserContext`, in which `TCB_ReadRegisters` and `TCB_WriteRegisters` number
//! them, so that both only copy. Must never let a processor state through that leaves EL0 or EL1
//! ([`sanitise_spsr`]).

use sel4_sys::context;

/// Number of words in a [`Context`].
pub const WORDS: usize = context::COUNT + 1;

/// Word of the address that a restart continues at: the system call or faulting instruction.
pub const FAULT_PC: usize = context::PC;
/// Word of `SP_EL0`.
pub const SP_EL0: usize = context::SP;
/// Word of the processor state, `SPSR_EL2` on the way out.
pub const SPSR: usize = context::SPSR;
/// Word of `x0`; `x1` to `x8` follow. The others are where `sel4_sys::context::GENERAL` says.
pub const X0: usize = context::X0;
/// Word of `TPIDR_EL0`.
pub const TPIDR_EL0: usize = context::TPIDR_EL0;
/// Word of `TPIDRRO_EL0`.
pub const TPIDRRO_EL0: usize = context::TPIDRRO_EL0;
/// Word of the address that execution continues at, `ELR_EL2` on the way out. It has no number.
pub const NEXT_PC: usize = context::COUNT;

/// `PSTATE` of a domain: EL0t with FIQ and SError masked, as seL4 runs its native threads.
pub const SPSR_DOMAIN: u64 = 0x140;

/// The registers of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Context {
    /// See the constants of this module.
    pub words: [u64; WORDS],
}

impl Context {
    /// All registers zero.
    pub const ZERO: Self = Self { words: [0; WORDS] };

    /// One of `x0` to `x8`, those that system calls use.
    #[inline(always)]
    #[must_use]
    pub fn x(&self, register: usize) -> u64 {
        self.words[X0 + register]
    }

    /// Changes one of `x0` to `x8`.
    #[inline(always)]
    pub fn set_x(&mut self, register: usize, value: u64) {
        self.words[X0 + register] = value;
    }
}

/// The processor state that a thread gets for one that somebody asks for: a thread with a virtual
/// CPU may be in EL0t, EL1t or EL1h (AArch64 only); any other keeps its condition flags.
#[inline(always)]
#[must_use]
pub fn sanitise_spsr(value: u64, virtual_cpu: bool) -> u64 {
    const EL0T: u64 = 0;
    const EL1T: u64 = 4;
    const EL1H: u64 = 5;
    match value & 0x1f {
        EL0T | EL1T | EL1H if virtual_cpu => value,
        _ => value & 0xf000_0000 | SPSR_DOMAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_is_given_a_state_above_el1_or_in_aarch32() {
        for value in 0..=0x3ff {
            for virtual_cpu in [false, true] {
                let state = sanitise_spsr(value, virtual_cpu) & 0x1f;
                assert!([0, 4, 5].contains(&state));
                assert!(virtual_cpu || state == 0);
            }
        }
        assert_eq!(sanitise_spsr(0xf000_03c9, true), 0xf000_0140);
        assert_eq!(sanitise_spsr(0x3c5, true), 0x3c5);
    }
}
