// SPDX-License-Identifier: BSD-2-Clause
//! System calls.
//!
//! Responsible for their phases, in seL4's order: find the capability, use it, then receive. Must
//! never do anything for a number that is not a system call of the MCS interface: the caller's
//! fault handler hears of it.
//!
//! A guest's `HVC` comes here too, as on seL4. Its capability space has nothing in it, so that the
//! most it gets is an error in its own registers or a fault that its VMM hears of.

use sel4_sys::{MessageInfo, Syscall, SyscallError};

use crate::identifier::{DomainId, ThreadId};
use crate::invocation::{Outcome, Refusal};
use crate::ipc::BADGE;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::{Capability, CapabilitySpace, Fault, LookupFailure, State};
use crate::report::Report;

/// The register of the reply capability.
const REPLY: usize = 6;
/// The register of the system call's number.
const NUMBER: usize = 7;
/// The register of the capability that `NBSendRecv` sends to.
const NB_SEND_RECV_DESTINATION: usize = 8;

/// How a capability is used.
#[derive(Clone, Copy, Debug)]
struct Use {
    /// Wait for a receiver; without it, an unsuccessful use has no effect, not even a fault.
    block: bool,
    /// Wait for an answer.
    call: bool,
    /// Let a receiver without time have the sender's.
    donate: bool,
    /// Something is received afterwards, so the use cannot be an invocation of a thread.
    first_phase: bool,
}

const SEND: Use = Use {
    block: true,
    call: false,
    donate: false,
    first_phase: false,
};
const NB_SEND: Use = Use {
    block: false,
    ..SEND
};
const CALL: Use = Use {
    block: true,
    call: true,
    donate: true,
    first_phase: false,
};
const FIRST_PHASE: Use = Use {
    block: false,
    call: false,
    donate: true,
    first_phase: true,
};

impl<M: Machine> Kernel<M> {
    /// The current thread made a system call.
    pub fn system_call(&mut self) {
        let Some(thread) = self.begin() else {
            return;
        };
        let number = self.threads[thread].registers.x(NUMBER);
        match Syscall::from_word(number) {
            Some(Syscall::ReplyRecv) => {
                self.use_capability(thread, self.threads[thread].registers.x(REPLY), FIRST_PHASE);
                self.receive_call(thread, true, true);
            }
            Some(Syscall::Call) => {
                self.use_capability(thread, self.threads[thread].registers.x(BADGE), CALL);
            }
            Some(Syscall::Recv) => self.receive_call(thread, true, true),
            call => self.rare_system_call(thread, call, number),
        }
    }

    fn rare_system_call(&mut self, thread: ThreadId, call: Option<Syscall>, number: u64) {
        let register = |register| self.threads[thread].registers.x(register);
        match call {
            Some(Syscall::Send) => self.use_capability(thread, register(BADGE), SEND),
            Some(Syscall::NBSend) => self.use_capability(thread, register(BADGE), NB_SEND),
            Some(Syscall::NBSendRecv) => {
                self.use_capability(thread, register(NB_SEND_RECV_DESTINATION), FIRST_PHASE);
                self.receive_call(thread, true, true);
            }
            Some(Syscall::NBSendWait) => {
                self.use_capability(thread, register(REPLY), FIRST_PHASE);
                self.receive_call(thread, true, false);
            }
            Some(Syscall::NBRecv) => self.receive_call(thread, false, true),
            Some(Syscall::Wait) => self.receive_call(thread, true, false),
            Some(Syscall::NBWait) => self.receive_call(thread, false, false),
            Some(Syscall::Yield) => self.give_up_slice(),
            // A release kernel prints nothing for anybody.
            Some(Syscall::Call | Syscall::ReplyRecv | Syscall::Recv | Syscall::DebugPutChar)
            | None => self.raise(thread, Fault::UnknownSyscall { number }),
        }
    }

    /// Uses the capability at `address` with the message in the thread's registers.
    fn use_capability(&mut self, thread: ThreadId, address: u64, how: Use) {
        let capability = match self
            .capabilities
            .lookup(self.threads[thread].capabilities, address)
        {
            Ok(capability) => capability,
            Err(failure) => {
                if how.block {
                    self.raise(
                        thread,
                        Fault::Capability {
                            address,
                            receiving: false,
                            failure,
                        },
                    );
                }
                return;
            }
        };
        match capability {
            Capability::Endpoint { domain, badge } => {
                self.send(thread, domain, badge, how.block, how.call, how.donate);
            }
            Capability::Reply { domain } => {
                self.reply(thread, domain);
                self.complete(thread, how.call, Ok(Outcome::Done));
            }
            Capability::Notification { domain, badge } => {
                self.signal(domain, badge);
                self.complete(thread, how.call, Ok(Outcome::Done));
            }
            Capability::Monitor => self.ask_monitor(thread, how),
            _ => {
                let result = self.invoke(thread, capability, how.call, how.first_phase);
                self.complete(thread, how.call, result);
            }
        }
    }

    /// Tells a caller how an invocation went, unless the invocation has done so.
    fn complete(&mut self, thread: ThreadId, call: bool, result: Result<Outcome, Refusal>) {
        if !call {
            return;
        }
        let info = match result {
            Ok(Outcome::Answered) => return,
            Ok(Outcome::Done) => MessageInfo::default(),
            Err(refusal) => {
                let length = self.write_words(thread, refusal.words());
                MessageInfo::new(refusal.error.label(), 0, 0, length)
            }
        };
        self.set_result(thread, 0, info);
    }

    /// Stands in for Microkit's monitor. It knows one request, from a passive domain that has
    /// initialised, and answers nobody.
    #[cold]
    fn ask_monitor(&mut self, thread: ThreadId, how: Use) {
        let Some(domain) = thread.domain() else {
            return;
        };
        let label = self.message_info(thread).label();
        if label == 0 {
            self.make_passive(domain);
        } else {
            self.machine
                .report(&Report::UnknownRequest { domain, label });
        }
        if how.call {
            self.threads[thread].state = State::Inactive;
        }
    }

    /// Receives from the capability that the thread names.
    fn receive_call(&mut self, thread: ThreadId, block: bool, with_reply: bool) {
        let address = self.threads[thread].registers.x(BADGE);
        let failure = match self
            .capabilities
            .lookup(self.threads[thread].capabilities, address)
        {
            Ok(Capability::Endpoint { domain, .. }) if self.owns(thread, domain) => {
                let reply = if with_reply {
                    self.find_reply(thread)
                } else {
                    Ok(None)
                };
                match reply {
                    Ok(reply) => self.receive(thread, domain, block, reply),
                    Err(fault) => self.raise(thread, fault),
                }
                return;
            }
            Ok(Capability::Notification { domain, .. }) if self.owns(thread, domain) => {
                self.wait(thread, domain, block);
                return;
            }
            Ok(_) => LookupFailure::MissingCapability,
            Err(failure) => failure,
        };
        self.raise(
            thread,
            Fault::Capability {
                address,
                receiving: true,
                failure,
            },
        );
    }

    /// Whether a thread is a domain's: only that receives what is sent to the domain.
    #[inline(always)]
    fn owns(&self, thread: ThreadId, domain: DomainId) -> bool {
        self.threads[thread].capabilities == CapabilitySpace::Domain(domain)
    }

    /// The reply object that a thread offers to its caller.
    #[inline(always)]
    fn find_reply(&self, thread: ThreadId) -> Result<Option<DomainId>, Fault> {
        let address = self.threads[thread].registers.x(REPLY);
        let failure = match self
            .capabilities
            .lookup(self.threads[thread].capabilities, address)
        {
            Ok(Capability::Reply { domain }) => return Ok(Some(domain)),
            Ok(_) => LookupFailure::MissingCapability,
            Err(failure) => failure,
        };
        Err(Fault::Capability {
            address,
            receiving: true,
            failure,
        })
    }
}

impl Refusal {
    /// A null capability, or one that cannot be used so.
    pub(crate) const INVALID_CAPABILITY: Self =
        Self::with(SyscallError::InvalidCapability, [0, 0], 1);
}
