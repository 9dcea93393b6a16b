//! The registers of a thread.
//!
//! Responsible for their layout in memory, which the entry and exit code in assembler shares, and
//! for the order in which `TCB_ReadRegisters` and `TCB_WriteRegisters` number them. Must never let
//! a processor state through that leaves EL0 or EL1 ([`sanitise_spsr`]).

use sel4_sys::context;

/// Number of words in a [`Context`].
pub const WORDS: usize = 37;

/// Word of `x0`; `x1` to `x30` follow.
pub const X0: usize = 0;
/// Word of `SP_EL0`.
pub const SP_EL0: usize = 31;
/// Word of the address that execution continues at, `ELR_EL2` on the way out.
pub const NEXT_PC: usize = 32;
/// Word of the processor state, `SPSR_EL2` on the way out.
pub const SPSR: usize = 33;
/// Word of the address that a restart continues at: the system call or faulting instruction.
pub const FAULT_PC: usize = 34;
/// Word of `TPIDR_EL0`.
pub const TPIDR_EL0: usize = 35;
/// Word of `TPIDRRO_EL0`.
pub const TPIDRRO_EL0: usize = 36;

/// `PSTATE` of a domain: EL0t with FIQ and SError masked, as seL4 runs its native threads.
pub const SPSR_DOMAIN: u64 = 0x140;

/// The register numbers of seL4's `seL4_UserContext` as words of a [`Context`].
const ORDER: [u8; context::COUNT] = {
    let mut order = [0; context::COUNT];
    order[context::PC] = word(FAULT_PC);
    order[context::SP] = word(SP_EL0);
    order[context::SPSR] = word(SPSR);
    order[context::TPIDR_EL0] = word(TPIDR_EL0);
    order[context::TPIDRRO_EL0] = word(TPIDRRO_EL0);
    let mut general = 0;
    while general < context::GENERAL.len() {
        order[context::GENERAL[general]] = word(X0 + general);
        general += 1;
    }
    order
};

#[expect(clippy::cast_possible_truncation, reason = "words are below WORDS")]
const fn word(word: usize) -> u8 {
    word as u8
}

/// The registers of a thread, in the order that the entry code stores them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Context {
    /// See the constants of this module.
    pub words: [u64; WORDS],
}

impl Context {
    /// All registers zero.
    pub const ZERO: Self = Self { words: [0; WORDS] };

    /// A general register, `x0` to `x30`.
    #[inline(always)]
    #[must_use]
    pub fn x(&self, register: usize) -> u64 {
        self.words[X0 + register]
    }

    /// Changes a general register.
    #[inline(always)]
    pub fn set_x(&mut self, register: usize, value: u64) {
        self.words[X0 + register] = value;
    }

    /// The register of number `number` in `seL4_UserContext`; 0 if there is none.
    #[inline(always)]
    #[must_use]
    pub fn user_register(&self, number: usize) -> u64 {
        ORDER
            .get(number)
            .and_then(|&word| self.words.get(usize::from(word)))
            .copied()
            .unwrap_or(0)
    }

    /// Changes the register of number `number` in `seL4_UserContext`.
    #[inline(always)]
    pub fn set_user_register(&mut self, number: usize, value: u64, virtual_cpu: bool) {
        let value = if number == context::SPSR {
            sanitise_spsr(value, virtual_cpu)
        } else {
            value
        };
        if let Some(word) = ORDER
            .get(number)
            .and_then(|&word| self.words.get_mut(usize::from(word)))
        {
            *word = value;
        }
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
    fn every_word_but_the_next_pc_has_one_number() {
        let mut words: [u8; context::COUNT] = ORDER;
        words.sort_unstable();
        let expected: Vec<u8> = (0..)
            .take(WORDS)
            .filter(|&word| usize::from(word) != NEXT_PC)
            .collect();
        assert_eq!(words.as_slice(), expected);
    }

    #[test]
    fn numbers_follow_the_interface() {
        let mut registers = Context::ZERO;
        for (register, number) in context::GENERAL.into_iter().enumerate() {
            registers.set_x(register, 0x100 + register as u64);
            assert_eq!(registers.user_register(number), 0x100 + register as u64);
        }
        registers.set_user_register(context::PC, 0x1234, false);
        assert_eq!(registers.words[FAULT_PC], 0x1234);
    }

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
