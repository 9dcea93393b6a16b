// SPDX-License-Identifier: BSD-2-Clause
//! Switching the processor from one thread to another.
//!
//! Responsible for the registers that are not in [`Context`]: address space, thread pointers,
//! FP and SIMD, virtual CPU. Must never let a thread see what another left in one of them.
//!
//! [`Context`]: crate::context::Context

use crate::context::{TPIDR_EL0, TPIDRRO_EL0};
use crate::identifier::ThreadId;
use crate::kernel::Kernel;
use crate::machine::Machine;

impl<M: Machine> Kernel<M> {
    /// Gives the processor to the current thread.
    pub(crate) fn switch_world(&mut self) {
        if let Some(previous) = self.loaded_thread {
            let words = &mut self.threads[previous].registers.words;
            (words[TPIDR_EL0], words[TPIDRRO_EL0]) = self.machine.thread_pointers();
        }
        self.loaded_thread = self.current;
        let Some(thread) = self.current else {
            // Idle: a guest's timer and list registers must not interrupt.
            self.switch_vcpu(None);
            return;
        };
        self.switch_vcpu(self.threads[thread].vcpu);
        if let Some(space) = self.spaces[thread] {
            self.machine.enter_space(space);
        }
        let words = &self.threads[thread].registers.words;
        self.machine
            .set_thread_pointers(words[TPIDR_EL0], words[TPIDRRO_EL0]);
        self.switch_floating_point(thread);
    }

    /// Most domains do without FP and SIMD registers: for them a guest's stay loaded, behind a
    /// trap.
    fn switch_floating_point(&mut self, thread: ThreadId) {
        let Some(own) = self.threads[thread].floating_point else {
            self.machine.trap_floating_point(true);
            return;
        };
        self.machine.trap_floating_point(false);
        if self.loaded_floating_point != Some(own) {
            if let Some(previous) = self.loaded_floating_point.replace(own) {
                self.machine
                    .save_floating_point(&mut self.floating_point[previous]);
            }
            self.machine.load_floating_point(&self.floating_point[own]);
        }
    }
}
