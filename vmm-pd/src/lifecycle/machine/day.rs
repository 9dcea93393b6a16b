// SPDX-License-Identifier: BSD-2-Clause
//! The clock of the day, with the machine around it.
//!
//! Responsible for: the guest's count for the clock, its interrupt line, its alarm at `timer-pd`, and what becomes of it
//! when a guest starts again. Must never: keep a time of its own.

use channel::timer::{self, Count};
use channel::vgic::Request;
use channel::{Intid, Ticks};

use super::{FIRST, Machine, MachineError};
use crate::devices::clock::Clock;
use crate::lifecycle::gate::RunPermit;
use crate::port::Port;

impl Machine {
    /// The machine's count, from the one who knows.
    pub(crate) fn count<P: Port>(&self, port: &mut P) -> Result<Count, MachineError> {
        Ok(Count::decode(&port.timer(&timer::Request::Count)?)?)
    }

    /// The clock at power-on. The first time it is what the board was told, and later what it was before: a reset of the
    /// machine does not reach it.
    pub(super) fn start_clock<P: Port>(
        &mut self,
        port: &mut P,
        time: RunPermit,
    ) -> Result<(), MachineError> {
        let Count { frequency, .. } = self.count(port)?;
        let told = || port.time_of_day().wrapping_mul(frequency.into());
        let day = self.day.take().unwrap_or_else(told);
        self.clock = Clock::new(day.wrapping_add(time.offset().0), frequency);
        self.clock_line = false;
        Ok(())
    }

    /// Time is about to stop for good, on this board: what the clock is by the board's count.
    pub(super) fn note_day(&mut self) {
        if let Some(time) = self.time {
            self.day = Some(self.clock.ahead().wrapping_sub(time.offset().0));
        }
    }

    /// A load from the clock.
    pub(crate) fn read_clock<P: Port>(
        &mut self,
        port: &mut P,
        offset: u32,
        width: u8,
    ) -> Result<u32, MachineError> {
        let count = if Clock::shows_count(offset) {
            self.count(port)?.count
        } else {
            Ticks(0)
        };
        Ok(self.clock.read(offset, width, count.0))
    }

    /// A store to the clock.
    pub(crate) fn write_clock<P: Port>(
        &mut self,
        port: &mut P,
        offset: u32,
        value: u32,
    ) -> Result<(), MachineError> {
        let Count { count, .. } = self.count(port)?;
        self.clock.write(offset, value, count.0);
        self.set_alarm(port)
    }

    /// Has `timer-pd` tell when the clock is what it is to match; or it is already, and interrupts.
    pub(crate) fn set_alarm<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        if let Some(due) = self.clock.due() {
            let deadline = Ticks(due);
            let passed = timer::decode_answer(&port.timer(&timer::Request::Alarm { deadline })?)?;
            if passed == 1 {
                self.clock.match_now();
            }
        }
        self.update_clock_line(port)
    }

    /// The clock's interrupt line may have changed.
    fn update_clock_line<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        let level = self.clock.interrupt_line();
        if level != self.clock_line {
            self.clock_line = level;
            let (vcpu, intid) = (FIRST, Intid::CLOCK);
            self.ask_vgic(port, &Request::SetLine { vcpu, intid, level })?;
        }
        Ok(())
    }
}
