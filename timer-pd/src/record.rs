// SPDX-License-Identifier: BSD-2-Clause
//! The record of the machine's time.
//!
//! Responsible for: turning a frozen machine's time into [`TimerRecordV1`] and back. It must never
//! accept a record of a counter with another frequency: nothing here could make up for that.

use crate::gate::Gate;
use crate::timers::Timers;
use channel::Ticks;
use channel::timer::{Refusal, VirtualTimer};
use state::{TimerRecordV1, VcpuTimerV1};

const _: () = assert!(state::MAX_VCPUS == channel::MAX_VCPUS);

impl Timers {
    /// The record of a frozen machine, whose counter has `frequency`.
    pub fn export(&self, frequency: u32) -> Result<TimerRecordV1, Refusal> {
        let Gate::Frozen(frozen) = self.gate else {
            return Err(Refusal::Running);
        };
        if self.vcpus == 0 {
            return Err(Refusal::NotLoaded);
        }
        let timers = self.saved.iter().take(self.vcpus);
        Ok(TimerRecordV1 {
            frequency,
            count: frozen.count().0,
            vcpus: timers
                .map(|timer| VcpuTimerV1 {
                    control: timer.control,
                    compare: timer.compare.0,
                    kernel_control: timer.kernel_control,
                    asserted: timer.asserted,
                })
                .collect(),
        })
    }

    /// Takes over a record on a board whose counter has `frequency`, all or nothing, with
    /// `advance` added to the count. The machine is frozen, and no vCPU has its timer.
    pub fn import(
        &mut self,
        record: &TimerRecordV1,
        advance: Ticks,
        frequency: u32,
    ) -> Result<(), Refusal> {
        if matches!(self.gate, Gate::Running(_)) {
            return Err(Refusal::Running);
        }
        if record.frequency != frequency {
            return Err(Refusal::BadRecord);
        }
        let count = Ticks(record.count.wrapping_add(advance.0));
        let mut imported = Self::standing_at(record.vcpus.len(), count);
        for (saved, timer) in imported.saved.iter_mut().zip(&record.vcpus) {
            *saved = VirtualTimer {
                control: timer.control,
                compare: Ticks(timer.compare),
                kernel_control: timer.kernel_control,
                asserted: timer.asserted,
            };
        }
        *self = imported;
        Ok(())
    }
}
