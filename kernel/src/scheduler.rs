// SPDX-License-Identifier: BSD-2-Clause
//! Which thread runs, and for how long.
//!
//! Responsible for the order of threads: strictly by priority, round robin among equals, with
//! seL4's rules for who goes first among them. A thread that becomes able to run is put *before*
//! its equals, as is one that a thread of higher priority interrupts; only one whose slice has
//! ended goes behind them. Must never run a thread without budget.

use crate::budget::Ticks;
use crate::identifier::{BudgetId, ThreadId};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::queue::{Queue, Threads};

/// Number of priorities, seL4's `CONFIG_NUM_PRIORITIES`.
const PRIORITIES: usize = 256;

/// Priorities that one word of the map of occupied queues covers.
const WORD: usize = 64;

/// What is to be decided at the end of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The current thread continues if it can.
    Resume,
    /// The first thread of the highest priority runs.
    Choose,
    /// This thread became able to run; it is in no queue yet, because it likely runs at once.
    Consider(ThreadId),
}

/// Threads that could run and whose turn it is not.
#[derive(Debug)]
pub struct Ready {
    queues: [Queue; PRIORITIES],
    occupied: [u64; PRIORITIES / WORD],
}

impl Ready {
    /// Without threads.
    pub const EMPTY: Self = Self {
        queues: [Queue::EMPTY; PRIORITIES],
        occupied: [0; PRIORITIES / WORD],
    };

    /// The highest priority that a thread waits at.
    #[inline(always)]
    #[must_use]
    pub fn highest(&self) -> Option<u8> {
        let (index, word) = self
            .occupied
            .iter()
            .enumerate()
            .rev()
            .find(|&(_, &word)| word != 0)?;
        #[expect(clippy::cast_possible_truncation, reason = "below PRIORITIES")]
        Some((index * WORD + word.ilog2() as usize) as u8)
    }

    /// The threads of a priority.
    #[cfg(test)]
    pub(crate) fn queue(&self, priority: u8) -> &Queue {
        &self.queues[usize::from(priority)]
    }

    fn add(&mut self, threads: &mut Threads, thread: ThreadId, first: bool) {
        let priority = usize::from(threads[thread].priority);
        if first {
            self.queues[priority].prepend(threads, thread);
        } else {
            self.queues[priority].append(threads, thread);
        }
        self.occupied[priority / WORD] |= 1 << (priority % WORD);
    }

    fn remove(&mut self, threads: &mut Threads, thread: ThreadId) {
        let priority = usize::from(threads[thread].priority);
        self.queues[priority].remove(threads, thread);
        if self.queues[priority].is_empty() {
            self.occupied[priority / WORD] &= !(1 << (priority % WORD));
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// Whether a thread could run now.
    #[inline(always)]
    pub(crate) fn is_schedulable(&self, thread: ThreadId) -> bool {
        let thread = &self.threads[thread];
        thread.is_runnable() && thread.budget.is_some() && !thread.delayed
    }

    /// Puts a thread before its equals, unless it is in their queue already.
    pub(crate) fn enqueue(&mut self, thread: ThreadId) {
        if !self.threads[thread].queued {
            self.threads[thread].queued = true;
            self.ready.add(&mut self.threads, thread, true);
        }
    }

    /// Puts a thread behind its equals, unless it is in their queue already.
    fn append(&mut self, thread: ThreadId) {
        if !self.threads[thread].queued {
            self.threads[thread].queued = true;
            self.ready.add(&mut self.threads, thread, false);
        }
    }

    /// Takes a thread out of the queues of those that could run or have to wait for budget.
    #[inline(always)]
    pub(crate) fn dequeue(&mut self, thread: ThreadId) {
        if self.threads[thread].queued {
            self.threads[thread].queued = false;
            self.ready.remove(&mut self.threads, thread);
        }
        if self.threads[thread].delayed {
            self.end_delay(thread);
        }
    }

    fn end_delay(&mut self, thread: ThreadId) {
        self.reprogram |= self.delayed.head() == Some(thread);
        self.delayed.remove(&mut self.threads, thread);
        self.threads[thread].delayed = false;
    }

    /// Notes that a thread became able to run.
    #[inline(always)]
    pub(crate) fn consider(&mut self, thread: ThreadId) {
        if self.threads[thread].budget.is_none() || self.threads[thread].delayed {
            return;
        }
        if self.action == Action::Resume {
            self.action = Action::Consider(thread);
        } else {
            // More than one: they have to queue.
            self.choose_anew();
            self.enqueue(thread);
        }
    }

    /// Has the end of this entry look at all queues.
    pub(crate) fn choose_anew(&mut self) {
        if let Action::Consider(thread) = self.action
            && self.is_schedulable(thread)
        {
            self.enqueue(thread);
        }
        self.action = Action::Choose;
    }

    /// Decides which thread continues.
    pub(crate) fn schedule(&mut self) {
        self.end_delays();
        let running = self.current.filter(|&thread| self.is_schedulable(thread));
        if self.action == Action::Resume && running == self.current {
            if self.reprogram {
                self.switch_budget();
            }
            return;
        }
        if let Some(thread) = running {
            self.enqueue(thread);
        }
        match core::mem::replace(&mut self.action, Action::Resume) {
            Action::Consider(candidate) => self.compare(candidate, running),
            Action::Choose | Action::Resume => self.choose(),
        }
        self.switch_budget();
    }

    /// Runs the candidate or whoever goes before it.
    fn compare(&mut self, candidate: ThreadId, running: Option<ThreadId>) {
        let priority = self.threads[candidate].priority;
        let current = self.current.map(|thread| self.threads[thread].priority);
        // A candidate that is above the current thread is above everybody.
        let may_be_lower = current.is_none_or(|current| priority < current);
        if may_be_lower
            && self
                .ready
                .highest()
                .is_some_and(|highest| highest > priority)
        {
            self.enqueue(candidate);
            self.choose();
        } else if running.is_some() && current == Some(priority) {
            self.append(candidate);
            self.choose();
        } else {
            self.current = Some(candidate);
        }
    }

    fn choose(&mut self) {
        self.current = self
            .ready
            .highest()
            .and_then(|priority| self.ready.queues[usize::from(priority)].head());
        if let Some(thread) = self.current {
            self.dequeue(thread);
        }
    }

    /// Charges the scheduling context that was used, and starts to use the current thread's.
    fn switch_budget(&mut self) {
        let next = self.current.and_then(|thread| self.threads[thread].budget);
        if next != self.current_budget {
            self.reprogram = true;
            if let Some(next) = next {
                self.budgets[next].start(self.now);
            }
        }
        if self.reprogram {
            if let Some(current) = self.current_budget {
                self.budgets[current].charge(self.consumed, self.least_budget);
            }
            self.consumed = 0;
            self.current_budget = next;
            self.set_deadline();
            self.reprogram = false;
        }
    }

    /// Sets the timer to the end of the current slice or the next delay, whichever is first.
    ///
    /// A timer that is set to an earlier moment is left alone, because setting it is dear and the
    /// switch to come likely wants that moment again: at worst it interrupts once for nothing. Only
    /// an idle processor is not to be woken for nothing.
    fn set_deadline(&mut self) {
        let slice = self
            .current_budget
            .map(|budget| self.now + self.budgets[budget].head().amount);
        let delay = self.delayed.head().and_then(|thread| self.delay_of(thread));
        let deadline = match (slice, delay) {
            (Some(slice), Some(delay)) => slice.min(delay),
            (one, other) => one.or(other).unwrap_or(Ticks::MAX),
        };
        if deadline < self.deadline || self.current.is_none() {
            self.deadline = deadline;
            self.machine.set_deadline(deadline);
        }
    }

    /// The timer has interrupted: ends its cause.
    pub(crate) fn stop_timer(&mut self) {
        self.deadline = Ticks::MAX;
        self.machine.set_deadline(Ticks::MAX);
    }

    fn delay_of(&self, thread: ThreadId) -> Option<Ticks> {
        self.threads[thread]
            .budget
            .map(|budget| self.budgets[budget].head().time)
    }

    /// Reads the clock.
    #[inline(always)]
    pub(crate) fn update_time(&mut self) {
        let now = self.machine.time();
        self.consumed += now - self.now;
        self.now = now;
    }

    /// Ends the current slice if too little remains of it. Returns whether enough does.
    #[inline(always)]
    pub(crate) fn check_budget(&mut self) -> bool {
        let Some(budget) = self.current_budget else {
            return true;
        };
        if self.budgets[budget].suffices(self.consumed, self.least_budget) {
            return true;
        }
        self.end_slice(self.consumed);
        false
    }

    /// Gives up the rest of the slice.
    pub(crate) fn give_up_slice(&mut self) {
        if let Some(budget) = self.current_budget {
            self.end_slice(self.budgets[budget].head().amount);
        }
    }

    #[cold]
    fn end_slice(&mut self, used: Ticks) {
        self.consumed = 0;
        let Some(budget) = self.current_budget else {
            return;
        };
        self.budgets[budget].end_slice(used, self.least_budget);
        if let Some(thread) = self.current
            && self.is_schedulable(thread)
        {
            if self.has_budget(budget) {
                self.append(thread);
            } else {
                self.delay(budget);
            }
            self.choose_anew();
            self.reprogram = true;
        }
    }

    /// Whether a scheduling context may be used now.
    #[inline(always)]
    pub(crate) fn has_budget(&self, budget: BudgetId) -> bool {
        let budget = &self.budgets[budget];
        budget.is_ready(self.now) && budget.suffices(0, self.least_budget)
    }

    /// Has the thread of a scheduling context wait until that may be used.
    pub(crate) fn delay(&mut self, budget: BudgetId) {
        let Some(thread) = self.budgets[budget].thread else {
            return;
        };
        self.dequeue(thread);
        let time = self.budgets[budget].head().time;
        let budgets = &self.budgets;
        self.delayed.insert(&mut self.threads, thread, |other| {
            other
                .budget
                .is_some_and(|other| budgets[other].head().time > time)
        });
        self.threads[thread].delayed = true;
        self.reprogram = true;
    }

    /// Makes a thread wait if it could run but has no budget.
    pub(crate) fn delay_if_exhausted(&mut self, thread: ThreadId) {
        if let Some(budget) = self.threads[thread].budget
            && self.is_schedulable(thread)
            && !self.has_budget(budget)
        {
            self.delay(budget);
        }
    }

    /// Lets those run whose time has come.
    fn end_delays(&mut self) {
        while let Some(thread) = self.delayed.head() {
            if self.delay_of(thread).is_none_or(|time| time > self.now) {
                break;
            }
            self.end_delay(thread);
            self.consider(thread);
        }
    }
}
