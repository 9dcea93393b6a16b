// SPDX-License-Identifier: BSD-2-Clause
//! Exceptions that the guest takes because of what it did.
//!
//! Responsible for: entering the guest's own exception vector as the architecture describes
//! (DDI 0487, D1.3 and `AArch64.TakeException`). Must never: be used for interrupts, which the
//! virtual CPU interface delivers.

use channel::VcpuId;

use crate::exit::{Syndrome, class};
use crate::lifecycle::machine::{Machine, MachineError, STATE_RESET};
use crate::port::{COUNT_STATE, Frame, Port, VcpuRegister};

/// A synchronous exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exception {
    /// `ESR_EL1`.
    syndrome: u64,
    /// `FAR_EL1`, if the exception has one.
    address: Option<u64>,
}

/// `ESR_ELx.IL`: a 32-bit instruction.
const INSTRUCTION_LENGTH: u64 = 1 << 25;
/// `ESR_ELx.EC` 0: an undefined instruction.
const UNKNOWN: u64 = 0;
/// Fault status code: synchronous external abort, not on a table walk.
const EXTERNAL_ABORT: u64 = 0x10;
/// The same on a table walk at level 0; levels 1 to 3 follow.
const EXTERNAL_ABORT_ON_WALK: u64 = 0x14;
/// `ESR_ELx.FnV`: `FAR_ELx` does not hold the address.
const ADDRESS_NOT_VALID: u64 = 1 << 10;
/// What of a data abort's syndrome is the guest's business as well: `WnR`, `CM`. What describes the access is not, because
/// `ISV` is always clear for aborts taken to EL1 (DDI 0487, ESR_ELx).
const KEPT: u64 = 1 << 6 | 1 << 8;
/// `PSTATE.M` and what it says: the exception level, and which stack pointer.
const MODE: u64 = 0xf;
/// `PSTATE.nRW`: AArch32.
const EXECUTION_STATE: u64 = 1 << 4;
/// `PSTATE.IT`, in AArch32.
const CONDITIONAL: u64 = 0x0600_fc00;
const MODE_EL0: u64 = 0x0;
const MODE_EL1_OWN_STACK: u64 = 0x5;

impl Exception {
    /// An instruction that does not exist on this machine.
    pub(crate) const fn undefined() -> Self {
        Self {
            syndrome: UNKNOWN << 26 | INSTRUCTION_LENGTH,
            address: None,
        }
    }

    /// What a control register of EL1 would have trapped to EL1, with the syndrome that it then has.
    pub(crate) const fn trapped(syndrome: Syndrome) -> Self {
        Self {
            syndrome: syndrome.0,
            address: None,
        }
    }

    /// A debug exception that came to EL2 although it is EL1's (DDI 0487, D2.3.2): what EL1 would have taken. Of a
    /// watchpoint nobody has kept the address.
    const fn debug(syndrome: Syndrome, from_el0: bool) -> Self {
        let class = syndrome.class();
        let same = !from_el0 && class != class::BRK;
        let address = if class == class::WATCHPOINT_LOWER {
            Some(0)
        } else {
            None
        };
        let unknown = if address.is_some() {
            ADDRESS_NOT_VALID
        } else {
            0
        };
        Self {
            syndrome: syndrome.0 | (same as u64) << 26 | unknown,
            address,
        }
    }

    /// Nothing answers at the address of a load, a store or a fetch. `address` is the virtual
    /// address, where it is known; seL4 reports the intermediate physical one only.
    ///
    /// With `level`, it was the walk of the guest's own tables that found no memory, at that level (`S1PTW`). `FnV` is
    /// reserved there (DDI 0487, ESR_ELx), so without an address it is an abort like any other.
    pub(crate) const fn external_abort(
        abort: Syndrome,
        fetch: bool,
        from_el0: bool,
        address: Option<u64>,
        level: Option<u32>,
    ) -> Self {
        let class = match (fetch, from_el0) {
            (true, true) => class::INSTRUCTION_ABORT_LOWER,
            (true, false) => class::INSTRUCTION_ABORT_SAME,
            (false, true) => class::DATA_ABORT_LOWER,
            (false, false) => class::DATA_ABORT_SAME,
        };
        let kept = if fetch { 0 } else { abort.0 & KEPT };
        let (status, address) = match (address, level) {
            (Some(address), Some(level)) => (EXTERNAL_ABORT_ON_WALK | level as u64 & 3, address),
            (Some(address), None) => (EXTERNAL_ABORT, address),
            (None, _) => (EXTERNAL_ABORT | ADDRESS_NOT_VALID, 0),
        };
        Self {
            syndrome: class << 26 | INSTRUCTION_LENGTH | kept | status,
            address: Some(address),
        }
    }
}

/// Runs in the guest's user mode.
pub(crate) const fn is_el0(state: u64) -> bool {
    state & MODE == MODE_EL0
}

/// Runs a 32-bit program, always in the guest's user mode.
pub(crate) const fn is_32_bit(state: u64) -> bool {
    state & EXECUTION_STATE != 0
}

/// A 32-bit program is inside an IT block: the next instructions depend on a condition that is part of the state.
pub(crate) const fn is_conditional(state: u64) -> bool {
    is_32_bit(state) && state & CONDITIONAL != 0
}

/// The offset of the vector for a synchronous exception, from where the vCPU was.
const fn vector(state: u64) -> u64 {
    match state & MODE {
        MODE_EL0 if is_32_bit(state) => 0x600,
        MODE_EL0 => 0x400,
        MODE_EL1_OWN_STACK => 0x200,
        _ => 0,
    }
}

impl Machine {
    /// Makes the vCPU take `exception` at `program_counter`, and lets it run.
    pub(crate) fn take_exception<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        exception: Exception,
    ) -> Result<(), MachineError> {
        let mut frame = port.read(vcpu, COUNT_STATE)?;
        port.write_vcpu(vcpu, VcpuRegister::ElrEl1, frame.program_counter())?;
        port.write_vcpu(vcpu, VcpuRegister::SpsrEl1, frame.state())?;
        port.write_vcpu(vcpu, VcpuRegister::ESR, exception.syndrome)?;
        if let Some(address) = exception.address {
            port.write_vcpu(vcpu, VcpuRegister::FAR, address)?;
        }
        let base = port.read_vcpu(vcpu, VcpuRegister::VBAR)?;
        frame.set_program_counter(base.wrapping_add(vector(frame.state())));
        frame.set_state(STATE_RESET);
        Ok(port.write(vcpu, &mut frame, COUNT_STATE, true)?)
    }

    /// A debug exception is for the guest itself, wherever the processor was told to take it.
    pub(crate) fn take_debug_exception<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        syndrome: Syndrome,
    ) -> Result<(), MachineError> {
        let state = port.read(vcpu, COUNT_STATE)?.state();
        self.take_exception(port, vcpu, Exception::debug(syndrome, is_el0(state)))
    }

    /// The instruction that the vCPU exited with does not exist. `program_counter` is where the
    /// kernel says it is, when the fault message does.
    pub(crate) fn undefined_instruction<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        program_counter: Option<u64>,
    ) -> Result<(), MachineError> {
        if let Some(program_counter) = program_counter {
            let mut frame = port.read(vcpu, crate::port::COUNT_PROGRAM_COUNTER)?;
            frame.set_program_counter(program_counter);
            port.write(vcpu, &mut frame, crate::port::COUNT_PROGRAM_COUNTER, false)?;
        }
        self.take_exception(port, vcpu, Exception::undefined())
    }
}
