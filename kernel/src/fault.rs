// SPDX-License-Identifier: BSD-2-Clause
//! Faults: who hears of what a thread did, and what an answer changes.
//!
//! Responsible for the messages' words, which are seL4's (`sel4_sys::fault`), and for what becomes of
//! a domain that nobody answers for: it is stopped and reported, all others continue.

use sel4_sys::fault::{unknown_syscall, user_exception};

use crate::context::{FAULT_PC, NEXT_PC, SP_EL0, SPSR, X0, sanitise_spsr};
use crate::identifier::ThreadId;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::{Fault, Handler, LookupFailure, State};
use crate::report::Report;

/// The words of an unknown system call's message as words of a thread's registers.
const UNKNOWN_SYSCALL_WORDS: [usize; unknown_syscall::REPLY_LENGTH] = {
    let mut words = [X0; unknown_syscall::REPLY_LENGTH];
    let mut register = 0;
    while register < unknown_syscall::FAULT_IP {
        words[unknown_syscall::X0 + register] = X0 + register;
        register += 1;
    }
    words[unknown_syscall::FAULT_IP] = FAULT_PC;
    words[unknown_syscall::SP] = SP_EL0;
    words[unknown_syscall::LR] = NEXT_PC;
    words[unknown_syscall::SPSR] = SPSR;
    words
};

/// The words of a user exception's message as words of a thread's registers.
const USER_EXCEPTION_WORDS: [usize; user_exception::REPLY_LENGTH] = [FAULT_PC, SP_EL0, SPSR];

/// The failures of a lookup by their number in a message (`seL4_LookupFailureType`).
const MISSING_CAPABILITY: u64 = 2;
const GUARD_MISMATCH: u64 = 4;

impl<M: Machine> Kernel<M> {
    /// A domain or guest took a fault to EL2.
    pub fn fault(&mut self, fault: Fault) {
        if let Some(thread) = self.begin() {
            self.raise(thread, fault);
        }
    }

    /// Hands a thread's fault to whoever answers for it.
    pub(crate) fn raise(&mut self, thread: ThreadId, fault: Fault) {
        match self.threads[thread].handler {
            Handler::Domain { endpoint, badge } => {
                self.threads[thread].fault = Some(fault);
                let donate = self.threads[thread].budget.is_some();
                self.send(thread, endpoint, badge, true, false, donate);
            }
            Handler::Monitor => self.stop(thread, fault),
        }
    }

    #[cold]
    fn stop(&mut self, thread: ThreadId, fault: Fault) {
        self.threads[thread].state = State::Inactive;
        if let Some(domain) = thread.domain() {
            let pc = self.threads[thread].registers.words[FAULT_PC];
            self.machine.report(&Report::Stopped { domain, fault, pc });
        }
    }

    /// Writes a fault's message for its receiver and returns how many words it has.
    pub(crate) fn write_fault(
        &mut self,
        faulting: ThreadId,
        fault: &Fault,
        receiver: ThreadId,
    ) -> u64 {
        match *fault {
            Fault::Trap { syndrome } => self.write_words(receiver, &[u64::from(syndrome)]),
            Fault::Memory {
                address,
                syndrome,
                fetch,
            } => {
                let pc = self.threads[faulting].registers.words[FAULT_PC];
                self.write_words(
                    receiver,
                    &[pc, address, u64::from(fetch), u64::from(syndrome)],
                )
            }
            Fault::Maintenance { list_register } => {
                let index = list_register.map_or(u64::MAX, u64::from);
                self.write_words(receiver, &[index])
            }
            Fault::PrivateInterrupt { intid } => self.write_words(receiver, &[u64::from(intid)]),
            _ => self.write_rare_fault(faulting, fault, receiver),
        }
    }

    #[cold]
    fn write_rare_fault(&mut self, faulting: ThreadId, fault: &Fault, receiver: ThreadId) -> u64 {
        match *fault {
            Fault::Capability {
                address,
                receiving,
                failure,
            } => {
                let pc = self.threads[faulting].registers.words[FAULT_PC];
                let start = [pc, address, u64::from(receiving)];
                match failure {
                    LookupFailure::MissingCapability => {
                        let [pc, address, phase] = start;
                        self.write_words(receiver, &[pc, address, phase, MISSING_CAPABILITY, 0])
                    }
                    LookupFailure::GuardMismatch {
                        bits_left,
                        guard_bits,
                    } => {
                        let [pc, address, phase] = start;
                        let (left, guard) = (u64::from(bits_left), u64::from(guard_bits));
                        let words = [pc, address, phase, GUARD_MISMATCH, left, 0, guard];
                        self.write_words(receiver, &words)
                    }
                }
            }
            Fault::UnknownSyscall { number } => {
                let mut words = [0; unknown_syscall::LENGTH];
                for (word, register) in words.iter_mut().zip(UNKNOWN_SYSCALL_WORDS) {
                    *word = self.threads[faulting].registers.words[register];
                }
                words[unknown_syscall::SYSCALL] = number;
                self.write_words(receiver, &words)
            }
            Fault::UserException { syndrome } => {
                let mut words = [0; user_exception::LENGTH];
                for (word, register) in words.iter_mut().zip(USER_EXCEPTION_WORDS) {
                    *word = self.threads[faulting].registers.words[register];
                }
                words[user_exception::NUMBER] = u64::from(syndrome);
                self.write_words(receiver, &words)
            }
            _ => 0,
        }
    }

    /// Writes words of a message and returns their number.
    #[inline(always)]
    pub(crate) fn write_words(&mut self, receiver: ThreadId, words: &[u64]) -> u64 {
        for (index, &word) in words.iter().enumerate() {
            self.set_word(receiver, index, word);
        }
        words.len() as u64
    }

    /// Applies the answer to a fault. Returns whether the thread continues.
    pub(crate) fn answer_fault(
        &mut self,
        fault: &Fault,
        faulting: ThreadId,
        answering: ThreadId,
    ) -> bool {
        match fault {
            Fault::UnknownSyscall { .. } => {
                self.apply_answer(faulting, answering, &UNKNOWN_SYSCALL_WORDS)
            }
            Fault::UserException { .. } => {
                self.apply_answer(faulting, answering, &USER_EXCEPTION_WORDS)
            }
            _ => true,
        }
    }

    #[cold]
    fn apply_answer(
        &mut self,
        faulting: ThreadId,
        answering: ThreadId,
        registers: &[usize],
    ) -> bool {
        let tag = self.message_info(answering);
        let virtual_cpu = self.threads[faulting].vcpu.is_some();
        let length = usize::try_from(tag.length()).unwrap_or(0);
        for (index, &register) in registers.iter().enumerate().take(length) {
            let word = self.word(answering, index);
            let word = if register == SPSR {
                sanitise_spsr(word, virtual_cpu)
            } else {
                word
            };
            self.threads[faulting].registers.words[register] = word;
        }
        tag.label() == 0
    }
}
