// SPDX-License-Identifier: BSD-2-Clause
//! Trapped system register accesses.
//!
//! Responsible for: what the configuration of `HCR_EL2` and `MDCR_EL2` sends here (DDI 0487,
//! D24.2.40, "ISS encoding for an exception from MSR, MRS, or System instruction execution").
//! Must never: give a guest a register that moves with the board, or let a guest fill the console
//! with what it misses.

mod absent;

use channel::VcpuId;

use crate::exit::Syndrome;
use crate::exit::exception::{Exception, is_el0};
use crate::lifecycle::machine::{Machine, MachineError};
use crate::port::{COUNT_STATE, Frame, Port, count_for};
use absent::{Answer, Missing, SystemAccess};

/// `DC ISW`, `DC CSW`, `DC CISW`: caches by set and way, which no kernel of ours traps and no guest depends on.
const fn is_set_way_maintenance(encoding: [u8; 5]) -> bool {
    matches!(encoding, [1, 0, 7, 6 | 10 | 14, 2])
}

impl Machine {
    /// A system register access was trapped.
    pub(crate) fn system_register<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        syndrome: Syndrome,
    ) -> Result<(), MachineError> {
        let access = SystemAccess::of(syndrome);
        let count = count_for(access.register).max(COUNT_STATE);
        let mut frame = port.read(vcpu, count)?;
        let value = match access.register {
            31 => 0,
            register => frame.general(register),
        };
        let answer = match absent::answer(access, is_el0(frame.state()), value) {
            None if is_set_way_maintenance(access.encoding) => Answer::Ignored,
            answer => answer.unwrap_or(Answer::Undefined),
        };
        match answer {
            Answer::Undefined => return self.undefined_instruction(port, vcpu, None),
            Answer::TrapToEl1 => {
                return self.take_exception(port, vcpu, Exception::trapped(syndrome));
            }
            Answer::Value(value) if access.register < 31 => {
                frame.set_general(access.register, value);
            }
            Answer::Missed(missing) => self.miss(port, missing),
            Answer::Value(_) | Answer::Ignored => {}
        }
        frame.set_program_counter(frame.program_counter().wrapping_add(4));
        Ok(port.write(vcpu, &mut frame, count, true)?)
    }

    /// Says on the board's console what the guest asks for in vain: once a guest and kind, when there is room.
    fn miss<P: Port>(&mut self, port: &mut P, missing: Missing) {
        let line = missing.line();
        if self.missed & missing.bit() == 0 && port.console_room() >= line.len() {
            self.missed |= missing.bit();
            line.bytes().for_each(|byte| port.console_put(byte));
        }
    }
}
