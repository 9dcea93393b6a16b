// SPDX-License-Identifier: BSD-2-Clause
//! Scheduling contexts: how much processor time a thread may use, and when.
//!
//! Responsible for the arithmetic of budgets and periods. Must never let more than the budget be
//! used within any window of one period's length.
//!
//! A scheduling context whose budget equals its period is *round robin*: it always has time, and
//! the budget is only the length of its slice. Any other keeps what it may still use as *refills*,
//! amounts with the time from which each may be used. What is used comes back one period later.
//! That is the sporadic server of Stanovich et al., "Defects of the POSIX Sporadic Server and How
//! to Correct Them" (RTAS 2010), in the form that seL4's MCS kernel gives it with two refills and
//! without the sporadic flag (a Microkit system's configuration): pending refills are delayed to
//! now when the thread starts to run, not when it becomes runnable.

use crate::identifier::{DomainId, ThreadId};

/// Time in ticks of the system counter.
pub type Ticks = u64;

/// Time far enough ahead that sums with it cannot overflow.
const NEVER: Ticks = 1 << 62;

/// An amount of time that may be used from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// From when.
    pub time: Ticks,
    /// How much.
    pub amount: Ticks,
}

/// A scheduling context.
#[derive(Clone, Debug)]
pub struct Budget {
    /// 0 for round robin.
    period: Ticks,
    /// What the refills add up to.
    total: Ticks,
    /// The refill in use.
    head: Refill,
    /// The one after it.
    next: Option<Refill>,
    /// The thread that uses it.
    pub thread: Option<ThreadId>,
    /// The reply object of the last call that passed it on, which leads to those before.
    pub last_call: Option<DomainId>,
    /// The notification that lends it to its passive domain.
    pub notification: Option<DomainId>,
}

impl Budget {
    /// One that nobody uses.
    pub const EMPTY: Self = Self {
        period: 0,
        total: 0,
        head: Refill { time: 0, amount: 0 },
        next: None,
        thread: None,
        last_call: None,
        notification: None,
    };

    /// Gives it `budget` in each `period`, from `now` on.
    pub fn configure(&mut self, budget: Ticks, period: Ticks, now: Ticks) {
        self.period = if budget == period { 0 } else { period };
        self.total = budget;
        self.head = Refill {
            time: now,
            amount: budget,
        };
        self.next = None;
    }

    /// Whether it always has time.
    #[inline(always)]
    #[must_use]
    pub fn is_round_robin(&self) -> bool {
        self.period == 0
    }

    /// The refill in use, or the first that will be.
    #[inline(always)]
    #[must_use]
    pub fn head(&self) -> Refill {
        self.head
    }

    /// Whether the first refill may be used by now.
    #[inline(always)]
    #[must_use]
    pub fn is_ready(&self, now: Ticks) -> bool {
        self.head.time <= now
    }

    /// Whether at least `least` remains of the first refill after `used`.
    #[inline(always)]
    #[must_use]
    pub fn suffices(&self, used: Ticks, least: Ticks) -> bool {
        self.head.amount.saturating_sub(used) >= least
    }

    /// Takes `used` out of the first refill, which has more than that, at a switch to another
    /// thread.
    #[inline(always)]
    pub fn charge(&mut self, used: Ticks, least: Ticks) {
        if self.is_round_robin() {
            // A slice continues where it was interrupted.
            self.head.amount = self.head.amount.saturating_sub(used);
        } else {
            self.charge_refills(used, least);
        }
    }

    /// Takes `used` out at the end of a slice, when less than `least` would remain.
    pub fn end_slice(&mut self, used: Ticks, least: Ticks) {
        if self.is_round_robin() {
            self.head.amount = self.total;
        } else {
            self.charge_refills(used, least);
        }
    }

    /// Delays what may be used already to `now`, when its thread starts to run.
    ///
    /// Returns whether something changed, so that the next timer interrupt must be set again.
    #[inline(always)]
    pub fn start(&mut self, now: Ticks) -> bool {
        if self.is_round_robin() || !self.is_ready(now) {
            return false;
        }
        self.head.time = now;
        if let Some(next) = self.next
            && next.time <= self.head.time + self.head.amount
        {
            self.head.amount += next.amount;
            self.next = None;
        }
        true
    }

    fn charge_refills(&mut self, used: Ticks, least: Ticks) {
        let mut used = used;
        while self.head.amount <= used && self.head.time < NEVER {
            used -= self.head.amount;
            match self.next.take() {
                None => self.head.time += self.period,
                Some(next) => {
                    let spent = Refill {
                        time: self.head.time + self.period,
                        ..self.head
                    };
                    self.head = next;
                    self.give_back(spent);
                }
            }
        }
        if used > 0 && self.head.amount > used {
            let spent = Refill {
                time: self.head.time + self.period,
                amount: used,
            };
            self.head.amount -= used;
            self.head.time += used;
            self.give_back(spent);
        }
        if self.head.amount < least
            && let Some(next) = self.next.take()
        {
            // Too little to run on: it joins the next, which must not end any later for that.
            self.head = Refill {
                time: next.time.saturating_sub(self.head.amount),
                amount: next.amount + self.head.amount,
            };
        }
    }

    /// Adds a refill behind the last.
    fn give_back(&mut self, refill: Refill) {
        match &mut self.next {
            None if self.head.time + self.head.amount >= refill.time => {
                self.head.amount += refill.amount;
            }
            None => self.next = Some(refill),
            Some(next) => {
                if next.time + next.amount < refill.time {
                    next.time = refill.time - next.amount;
                }
                next.amount += refill.amount;
            }
        }
    }

    /// What all refills add up to.
    #[cfg(test)]
    fn sum(&self) -> Ticks {
        self.head.amount + self.next.map_or(0, |next| next.amount)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAST: Ticks = 20;

    fn budget(budget: Ticks, period: Ticks) -> Budget {
        let mut context = Budget::EMPTY;
        context.configure(budget, period, 0);
        context
    }

    #[test]
    fn round_robin_continues_with_an_interrupted_slice_and_starts_anew_after_its_end() {
        let mut context = budget(1000, 1000);
        context.charge(400, LEAST);
        assert!(context.suffices(580, LEAST) && !context.suffices(581, LEAST));
        context.end_slice(590, LEAST);
        assert!(context.suffices(980, LEAST) && context.is_ready(0));
    }

    #[test]
    fn what_is_used_up_comes_back_a_period_later() {
        let mut context = budget(300, 1000);
        assert!(context.start(50));
        context.end_slice(300, LEAST);
        assert_eq!(
            context.head(),
            Refill {
                time: 1050,
                amount: 300
            }
        );
        assert!(!context.is_ready(1049) && context.is_ready(1050));
    }

    #[test]
    fn a_part_comes_back_a_period_after_it_was_used() {
        let mut context = budget(300, 1000);
        context.start(0);
        context.charge(100, LEAST);
        assert_eq!(
            context.head(),
            Refill {
                time: 100,
                amount: 200
            }
        );
        context.start(500);
        context.end_slice(200, LEAST);
        assert_eq!(
            context.head(),
            Refill {
                time: 1000,
                amount: 100
            }
        );
        assert_eq!(context.sum(), 300);
    }

    proptest! {
        /// Runs a thread whenever it may and for as long as it is told to; no window of one period
        /// contains more use than the budget.
        #[test]
        fn no_window_of_a_period_exceeds_the_budget(
            total in 40_u64..500,
            slack in 1_u64..1000,
            steps in proptest::collection::vec((0_u64..400, 1_u64..400), 1..60),
        ) {
            let period = total + slack;
            let mut context = budget(total, period);
            let mut now = 0;
            let mut uses: Vec<(Ticks, Ticks)> = Vec::new();
            for (pause, wish) in steps {
                now += pause;
                now = now.max(context.head().time);
                context.start(now);
                prop_assert!(context.suffices(0, LEAST));
                let most = context.head().amount - LEAST;
                if wish <= most {
                    context.charge(wish, LEAST);
                    uses.push((now, wish));
                    now += wish;
                } else {
                    // The timer ends the slice when it is empty.
                    let all = context.head().amount;
                    context.end_slice(all, LEAST);
                    uses.push((now, all));
                    now += all;
                }
                prop_assert_eq!(context.sum(), total);
                let start = uses.last().map_or(0, |&(start, length)| start + length)
                    .saturating_sub(period);
                let used: Ticks = uses.iter()
                    .map(|&(at, length)| (at + length).saturating_sub(at.max(start)))
                    .sum();
                prop_assert!(used <= total, "{used} in a period, budget {total}");
            }
        }
    }
}
