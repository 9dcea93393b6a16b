// SPDX-License-Identifier: BSD-2-Clause
//! The kernel: all objects, and the frame of every entry.
//!
//! Responsible for what an entry has in common with every other: charging the time that passed,
//! and deciding at the end which thread continues. What an entry is about is in the other modules,
//! each of which adds its part to [`Kernel`].

use crate::budget::{Budget, Ticks};
use crate::capability::CapabilitySpaces;
use crate::context::{Context, FAULT_PC, NEXT_PC};
use crate::identifier::{
    BudgetId, DomainId, FloatingPointId, Identifier, THREADS, Table, ThreadId, VcpuId,
};
use crate::interrupt::Interrupts;
use crate::machine::{FloatingPoint, Machine, Space};
use crate::object::{Endpoint, Notification, Reply, State, Thread};
use crate::queue::{Queue, Threads};
use crate::scheduler::{Action, Ready};
use crate::vcpu::Vcpu;

/// The kernel of one processor. Everything runs with interrupts masked, one entry at a time.
///
/// What every entry touches comes first, where the processor reaches it with one instruction.
#[derive(Debug)]
#[repr(C)]
pub struct Kernel<M> {
    /// The time of this entry.
    pub(crate) now: Ticks,
    /// What has been used of the current scheduling context and is not charged yet.
    pub(crate) consumed: Ticks,
    /// When the timer will interrupt.
    pub(crate) deadline: Ticks,
    /// The least budget that a thread runs on, in ticks.
    pub(crate) least_budget: Ticks,
    /// The thread whose turn it is; none: the processor is idle.
    pub(crate) current: Option<ThreadId>,
    /// The scheduling context that is being used.
    pub(crate) current_budget: Option<BudgetId>,
    /// The thread whose registers outside [`Context`] the processor holds.
    pub(crate) loaded_thread: Option<ThreadId>,
    /// Whose FP and SIMD registers the processor holds.
    pub(crate) loaded_floating_point: Option<FloatingPointId>,
    /// The virtual CPU whose system registers the processor holds.
    pub(crate) loaded_vcpu: Option<VcpuId>,
    /// Whether that virtual CPU's own mode is on, not the domains'.
    pub(crate) vcpu_active: bool,
    /// Whether the virtual timer's interrupt is masked.
    pub(crate) timer_masked: bool,
    /// Whether the next timer interrupt must be set anew.
    pub(crate) reprogram: bool,
    /// What is to be decided at the end of this entry.
    pub(crate) action: Action,
    /// Threads that could run had they budget, by the time when they will.
    pub(crate) delayed: Queue,
    /// Threads that could run, by priority.
    pub(crate) ready: Ready,
    /// The hardware.
    pub machine: M,
    /// The address space of each thread.
    pub(crate) spaces: Table<Option<Space>, THREADS>,
    /// Each domain's endpoint.
    pub(crate) endpoints: Table<Endpoint, { DomainId::COUNT }>,
    /// Each domain's notification.
    pub(crate) notifications: Table<Notification, { DomainId::COUNT }>,
    /// Each domain's reply object.
    pub(crate) replies: Table<Reply, { DomainId::COUNT }>,
    /// Which domains become passive when they ask the monitor.
    pub(crate) passive: Table<bool, { DomainId::COUNT }>,
    /// Scheduling contexts.
    pub(crate) budgets: Table<Budget, THREADS>,
    /// Threads of domains and virtual CPUs.
    pub(crate) threads: Threads,
    /// Virtual CPUs.
    pub(crate) vcpus: Table<Vcpu, { VcpuId::COUNT }>,
    /// Who receives which interrupt.
    pub(crate) interrupts: Interrupts,
    /// Each domain's capabilities.
    pub(crate) capabilities: CapabilitySpaces,
    /// FP and SIMD registers of the threads that may use them.
    pub(crate) floating_point: Table<FloatingPoint, { FloatingPointId::COUNT }>,
}

impl<M: Machine> Kernel<M> {
    /// A kernel without domains.
    #[must_use]
    pub const fn new(machine: M) -> Self {
        Self {
            machine,
            threads: Table::new([const { Thread::EMPTY }; THREADS]),
            budgets: Table::new([const { Budget::EMPTY }; THREADS]),
            endpoints: Table::new([const { Endpoint::EMPTY }; DomainId::COUNT]),
            notifications: Table::new([const { Notification::EMPTY }; DomainId::COUNT]),
            replies: Table::new([const { Reply::EMPTY }; DomainId::COUNT]),
            passive: Table::new([false; DomainId::COUNT]),
            capabilities: CapabilitySpaces::EMPTY,
            vcpus: Table::new([const { Vcpu::INITIAL }; VcpuId::COUNT]),
            interrupts: Interrupts::EMPTY,
            floating_point: Table::new([const { FloatingPoint::ZERO }; FloatingPointId::COUNT]),
            spaces: Table::new([None; THREADS]),
            current: None,
            action: Action::Choose,
            ready: Ready::EMPTY,
            delayed: Queue::EMPTY,
            current_budget: None,
            now: 0,
            deadline: Ticks::MAX,
            consumed: 0,
            reprogram: true,
            least_budget: 1,
            loaded_thread: None,
            loaded_floating_point: None,
            loaded_vcpu: None,
            vcpu_active: false,
            timer_masked: true,
        }
    }

    /// The thread whose turn it is.
    #[must_use]
    pub fn current(&self) -> Option<ThreadId> {
        self.current
    }

    /// Whether a guest's system registers are in force, which tells how to read a fault's address.
    #[inline(always)]
    #[must_use]
    pub fn is_guest_active(&self) -> bool {
        self.vcpu_active
    }

    /// Starts an entry on behalf of the current thread: charges the time since the last.
    ///
    /// Returns no thread if its slice has ended; it will repeat what it did when it has time again.
    #[inline(always)]
    pub(crate) fn begin(&mut self) -> Option<ThreadId> {
        let thread = self.current?;
        self.update_time();
        if self.check_budget() {
            return Some(thread);
        }
        if self.threads[thread].is_runnable() {
            self.threads[thread].state = State::Restart;
        }
        None
    }

    /// Ends an entry after which nobody but the current thread can be meant to continue, as most
    /// invocations are: returns its registers. Nothing: [`Self::finish`] has to decide.
    #[inline(always)]
    pub fn finish_undisturbed(&mut self) -> Option<&mut Context> {
        let undisturbed =
            self.action == Action::Resume && !self.reprogram && self.delayed.is_empty();
        let thread = &mut self.threads[self.current?];
        (undisturbed && thread.state == State::Running && thread.budget.is_some())
            .then_some(&mut thread.registers)
    }

    /// Ends an entry: decides which thread continues, and gives it the processor.
    ///
    /// Returns its registers, or nothing if the processor is to idle until the next interrupt.
    pub fn finish(&mut self) -> Option<&mut Context> {
        self.schedule();
        if self.current != self.loaded_thread {
            self.switch_world();
        }
        let thread = self.current?;
        let thread = &mut self.threads[thread];
        if thread.state == State::Restart {
            thread.registers.words[NEXT_PC] = thread.registers.words[FAULT_PC];
            thread.state = State::Running;
        }
        Some(&mut thread.registers)
    }
}
