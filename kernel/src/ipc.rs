// SPDX-License-Identifier: BSD-2-Clause
//! Messages: send, call, receive, reply.
//!
//! Responsible for the rendezvous at endpoints, for reply objects, and for time that travels with
//! a call. Must never leave a thread in a queue that its state does not name, nor let two threads
//! use one scheduling context.
//!
//! Capabilities do not travel in messages here: `extraCaps` is ignored. The domains send none.

use sel4_sys::{FAST_MESSAGE_REGISTERS, MESSAGE_REGISTERS, MessageInfo};

use crate::identifier::{BudgetId, DomainId, ThreadId};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::{Above, Signal, State};
use crate::scheduler::Action;

/// The register of the badge, and of the capability on the way in.
pub(crate) const BADGE: usize = 0;
/// The register of the message info.
pub(crate) const MESSAGE_INFO: usize = 1;
/// The first of the registers of the message's first words.
pub(crate) const MESSAGE: usize = 2;

impl<M: Machine> Kernel<M> {
    /// The message info that a thread has in its register, with a length that exists.
    #[inline(always)]
    pub(crate) fn message_info(&self, thread: ThreadId) -> MessageInfo {
        let info = MessageInfo::from_word(self.threads[thread].registers.x(MESSAGE_INFO));
        if info.length() > MESSAGE_REGISTERS as u64 {
            MessageInfo::new(info.label(), 0, info.extra_caps(), MESSAGE_REGISTERS as u64)
        } else {
            info
        }
    }

    /// Reads a word of a thread's message.
    #[inline(always)]
    pub(crate) fn word(&self, thread: ThreadId, index: usize) -> u64 {
        if index < FAST_MESSAGE_REGISTERS {
            return self.threads[thread].registers.x(MESSAGE + index);
        }
        match thread.domain() {
            Some(domain) => self.machine.message_word(domain, index),
            None => 0,
        }
    }

    /// Writes a word of a thread's message.
    #[inline(always)]
    pub(crate) fn set_word(&mut self, thread: ThreadId, index: usize, value: u64) {
        if index < FAST_MESSAGE_REGISTERS {
            self.threads[thread].registers.set_x(MESSAGE + index, value);
        } else if let Some(domain) = thread.domain() {
            self.machine.set_message_word(domain, index, value);
        }
    }

    /// Gives a thread the two registers that every answer sets.
    #[inline(always)]
    pub(crate) fn set_result(&mut self, thread: ThreadId, badge: u64, info: MessageInfo) {
        let registers = &mut self.threads[thread].registers;
        registers.set_x(BADGE, badge);
        registers.set_x(MESSAGE_INFO, info.word());
    }

    /// Hands over a message, or a fault if the sender has one.
    fn transfer(&mut self, sender: ThreadId, badge: u64, receiver: ThreadId) {
        let info = if let Some(fault) = self.threads[sender].fault {
            let length = self.write_fault(sender, &fault, receiver);
            MessageInfo::new(fault.label().label(), 0, 0, length)
        } else {
            let info = self.message_info(sender);
            let length = self.copy_message(sender, receiver, info.length());
            MessageInfo::new(info.label(), 0, 0, length)
        };
        self.set_result(receiver, badge, info);
    }

    /// Copies a message's words and returns how many arrived.
    fn copy_message(&mut self, sender: ThreadId, receiver: ThreadId, length: u64) -> u64 {
        let fast = length.min(FAST_MESSAGE_REGISTERS as u64);
        for index in 0..FAST_MESSAGE_REGISTERS {
            if (index as u64) < fast {
                let word = self.threads[sender].registers.x(MESSAGE + index);
                self.threads[receiver]
                    .registers
                    .set_x(MESSAGE + index, word);
            }
        }
        if length > fast
            && let (Some(from), Some(to)) = (sender.domain(), receiver.domain())
        {
            for index in FAST_MESSAGE_REGISTERS..usize::try_from(length).unwrap_or(0) {
                let word = self.machine.message_word(from, index);
                self.machine.set_message_word(to, index, word);
            }
            return length;
        }
        fast
    }

    /// Sends a message or fault of `thread` to a domain's endpoint.
    pub(crate) fn send(
        &mut self,
        thread: ThreadId,
        endpoint: DomainId,
        badge: u64,
        block: bool,
        call: bool,
        donate: bool,
    ) {
        let receiver = self.endpoints[endpoint]
            .queue
            .head()
            .filter(|_| self.endpoints[endpoint].receivers);
        let Some(receiver) = receiver else {
            if block {
                self.threads[thread].state = State::Sending {
                    endpoint,
                    badge,
                    call,
                };
                self.wait_at(endpoint, thread, false);
            }
            return;
        };
        self.endpoints[endpoint]
            .queue
            .remove(&mut self.threads, receiver);
        self.transfer(thread, badge, receiver);
        let reply = match self.threads[receiver].state {
            State::Receiving { reply, .. } => reply,
            _ => None,
        };
        self.threads[receiver].state = State::Running;
        if let Some(reply) = reply {
            self.replies[reply].thread = None;
        }
        if call || self.threads[thread].fault.is_some() {
            self.await_reply(thread, receiver, reply, donate);
        } else if let Some(budget) = self.threads[thread].budget
            && donate
            && self.threads[receiver].budget.is_none()
        {
            self.donate(budget, receiver);
        }
        self.consider(receiver);
    }

    /// Puts a thread into the queue of an endpoint, behind those of its priority and above.
    fn wait_at(&mut self, endpoint: DomainId, thread: ThreadId, receiver: bool) {
        let priority = self.threads[thread].priority;
        let endpoint = &mut self.endpoints[endpoint];
        endpoint.receivers = receiver;
        endpoint
            .queue
            .insert(&mut self.threads, thread, |other| other.priority < priority);
    }

    /// Receives a message at the thread's endpoint, or a signal of its notification.
    pub(crate) fn receive(
        &mut self,
        thread: ThreadId,
        endpoint: DomainId,
        block: bool,
        reply: Option<DomainId>,
    ) {
        if let Some(reply) = reply
            && let Some(caller) = self.replies[reply].thread
            && caller != thread
        {
            // A caller that was never answered is forgotten.
            self.cancel_wait(caller);
        }
        if let Some(domain) = thread.domain() {
            if let Signal::Pending(badge) = self.notifications[domain].signal {
                self.take_signal(thread, domain, badge);
                return;
            }
            if block {
                self.return_budget(thread, domain);
            }
        }
        let sender = self.endpoints[endpoint]
            .queue
            .head()
            .filter(|_| !self.endpoints[endpoint].receivers);
        match sender {
            Some(sender) => self.receive_from(thread, endpoint, sender, reply),
            None if block => {
                self.threads[thread].state = State::Receiving { endpoint, reply };
                if let Some(reply) = reply {
                    self.replies[reply].thread = Some(thread);
                }
                self.wait_at(endpoint, thread, true);
            }
            None => self.threads[thread].registers.set_x(BADGE, 0),
        }
    }

    /// Takes the message of a thread that waits to send.
    fn receive_from(
        &mut self,
        thread: ThreadId,
        endpoint: DomainId,
        sender: ThreadId,
        reply: Option<DomainId>,
    ) {
        let State::Sending { badge, call, .. } = self.threads[sender].state else {
            return;
        };
        self.endpoints[endpoint]
            .queue
            .remove(&mut self.threads, sender);
        self.transfer(sender, badge, thread);
        if call || self.threads[sender].fault.is_some() {
            let donate = self.threads[sender].budget.is_some();
            self.await_reply(sender, thread, reply, donate);
        } else {
            self.threads[sender].state = State::Running;
            self.consider(sender);
        }
    }

    /// Has a caller wait for the answer through `reply`; without one it is never answered.
    ///
    /// A callee without time of its own gets the caller's until it answers.
    fn await_reply(
        &mut self,
        caller: ThreadId,
        callee: ThreadId,
        reply: Option<DomainId>,
        donate: bool,
    ) {
        let Some(reply) = reply else {
            self.threads[caller].state = State::Inactive;
            return;
        };
        self.replies[reply].thread = Some(caller);
        self.threads[caller].state = State::Calling { reply };
        if let Some(budget) = self.threads[caller].budget
            && donate
            && self.threads[callee].budget.is_none()
        {
            let earlier = self.budgets[budget].last_call.replace(reply);
            if let Some(earlier) = earlier {
                self.replies[earlier].above = Above::Call(reply);
            }
            self.replies[reply].below = earlier;
            self.replies[reply].above = Above::Budget(budget);
            self.donate(budget, callee);
        }
    }

    /// Answers whoever waits for the answer through `reply`.
    pub(crate) fn reply(&mut self, answering: ThreadId, reply: DomainId) {
        let Some(caller) = self.replies[reply].thread else {
            return;
        };
        if !matches!(self.threads[caller].state, State::Calling { .. }) {
            return;
        }
        self.end_call(reply, caller);
        if let Some(fault) = self.threads[caller].fault {
            let resumes = self.answer_fault(&fault, caller, answering);
            self.threads[caller].fault = None;
            self.threads[caller].state = if resumes {
                State::Restart
            } else {
                State::Inactive
            };
        } else {
            self.transfer(answering, 0, caller);
            self.threads[caller].state = State::Running;
        }
        if let Some(budget) = self.threads[caller].budget
            && self.threads[caller].is_runnable()
        {
            if self.has_budget(budget) {
                self.consider(caller);
            } else {
                self.delay(budget);
            }
        }
    }

    /// Unlinks a caller from its reply object; time that it lent comes back.
    fn end_call(&mut self, reply: DomainId, caller: ThreadId) {
        if let Above::Budget(budget) = self.replies[reply].above {
            let below = self.replies[reply].below.take();
            self.budgets[budget].last_call = below;
            if let Some(below) = below {
                self.replies[below].above = Above::Budget(budget);
            }
            self.replies[reply].above = Above::Nothing;
            if self.threads[caller].budget.is_none() {
                self.donate(budget, caller);
            }
        } else {
            self.unstack(reply);
        }
        self.replies[reply].thread = None;
        self.threads[caller].state = State::Inactive;
    }

    /// Takes a reply object out of the middle of a stack of calls, which breaks there.
    fn unstack(&mut self, reply: DomainId) {
        match core::mem::replace(&mut self.replies[reply].above, Above::Nothing) {
            Above::Call(above) => self.replies[above].below = None,
            Above::Budget(budget) => self.budgets[budget].last_call = None,
            Above::Nothing => {}
        }
        if let Some(below) = self.replies[reply].below.take() {
            self.replies[below].above = Above::Nothing;
        }
    }

    /// Ends whatever a thread waits for. It is inactive afterwards if it waited.
    pub(crate) fn cancel_wait(&mut self, thread: ThreadId) {
        self.threads[thread].fault = None;
        match self.threads[thread].state {
            State::Inactive | State::Running | State::Restart => return,
            State::Sending { endpoint, .. } => {
                self.endpoints[endpoint]
                    .queue
                    .remove(&mut self.threads, thread);
            }
            State::Receiving { endpoint, reply } => {
                self.endpoints[endpoint]
                    .queue
                    .remove(&mut self.threads, thread);
                if let Some(reply) = reply {
                    self.replies[reply].thread = None;
                }
            }
            State::Calling { reply } => {
                // Time that it lent stays with the callee.
                self.unstack(reply);
                self.replies[reply].thread = None;
            }
            State::Waiting { notification } => {
                self.notifications[notification].signal = Signal::None;
            }
        }
        self.threads[thread].state = State::Inactive;
    }

    /// Gives a scheduling context to a thread that has none.
    pub(crate) fn donate(&mut self, budget: BudgetId, to: ThreadId) {
        if let Some(from) = self.budgets[budget].thread {
            self.dequeue(from);
            self.threads[from].budget = None;
            if self.action == Action::Consider(from) {
                self.choose_anew();
            }
        }
        self.budgets[budget].thread = Some(to);
        self.threads[to].budget = Some(budget);
    }
}
