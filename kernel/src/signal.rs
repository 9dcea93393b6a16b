// SPDX-License-Identifier: BSD-2-Clause
//! Notifications: signals and what waits for them.
//!
//! Responsible for collecting badges and waking the domain they are for. Must never lose a badge.

use crate::identifier::{DomainId, ThreadId};
use crate::ipc::BADGE;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::object::{Signal, State};

impl<M: Machine> Kernel<M> {
    /// Adds a badge to a domain's notification and wakes its thread if that waits.
    pub(crate) fn signal(&mut self, domain: DomainId, badge: u64) {
        let thread = ThreadId::of_domain(domain);
        match self.notifications[domain].signal {
            Signal::Pending(earlier) => {
                self.notifications[domain].signal = Signal::Pending(earlier | badge);
            }
            Signal::Awaited => self.wake(thread, domain, badge),
            Signal::None => {
                if matches!(self.threads[thread].state, State::Receiving { .. }) {
                    self.wake(thread, domain, badge);
                } else {
                    self.notifications[domain].signal = Signal::Pending(badge);
                }
            }
        }
    }

    fn wake(&mut self, thread: ThreadId, domain: DomainId, badge: u64) {
        self.cancel_wait(thread);
        self.threads[thread].state = State::Running;
        self.threads[thread].registers.set_x(BADGE, badge);
        self.lend_budget(thread, domain);
        if self.is_schedulable(thread) {
            self.consider(thread);
        }
    }

    /// Takes what a domain's notification holds.
    pub(crate) fn take_signal(&mut self, thread: ThreadId, domain: DomainId, badge: u64) {
        self.threads[thread].registers.set_x(BADGE, badge);
        self.notifications[domain].signal = Signal::None;
        self.lend_budget(thread, domain);
    }

    /// Waits for a signal of the thread's own notification.
    pub(crate) fn wait(&mut self, thread: ThreadId, domain: DomainId, block: bool) {
        match self.notifications[domain].signal {
            Signal::Pending(badge) => self.take_signal(thread, domain, badge),
            Signal::None | Signal::Awaited if block => {
                self.threads[thread].state = State::Waiting {
                    notification: domain,
                };
                self.notifications[domain].signal = Signal::Awaited;
                self.return_budget(thread, domain);
            }
            Signal::None | Signal::Awaited => self.threads[thread].registers.set_x(BADGE, 0),
        }
    }

    /// Gives a thread without time the notification's, if nobody uses that.
    fn lend_budget(&mut self, thread: ThreadId, domain: DomainId) {
        if self.threads[thread].budget.is_none()
            && let Some(budget) = self.notifications[domain].budget
            && self.budgets[budget].thread.is_none()
        {
            self.donate(budget, thread);
            self.delay_if_exhausted(thread);
        }
    }

    /// Takes the notification's time back from a thread that is about to wait.
    #[inline(always)]
    pub(crate) fn return_budget(&mut self, thread: ThreadId, domain: DomainId) {
        if let Some(budget) = self.notifications[domain].budget
            && self.threads[thread].budget == Some(budget)
        {
            self.threads[thread].budget = None;
            self.budgets[budget].thread = None;
        }
    }

    /// Does what Microkit's monitor does for a passive domain that has initialised: from now on
    /// its scheduling context belongs to its notification.
    pub(crate) fn make_passive(&mut self, domain: DomainId) {
        let budget = ThreadId::of_domain(domain).own_budget();
        let free = self.notifications[domain].budget.is_none()
            && self.budgets[budget].notification.is_none();
        if free && self.passive[domain] {
            self.notifications[domain].budget = Some(budget);
            self.budgets[budget].notification = Some(domain);
        }
    }
}
