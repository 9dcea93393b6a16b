// SPDX-License-Identifier: BSD-2-Clause
//! The general registers of a vCPU whose instruction is carried out for it.
//!
//! Responsible for: what register 31 is, the stack pointer or zero. Must never: write anything to the vCPU but its `SP_EL1`.

use channel::VcpuId;

use crate::exit::address::Operands;
use crate::lifecycle::machine::{Machine, MachineError};
use crate::port::{COUNT_ALL, Frame, Port, VcpuRegister};

/// The registers, and `SP_EL1` if that is the stack pointer.
pub(super) struct Registers<F> {
    pub(super) frame: F,
    el1_stack: Option<u64>,
    program_counter: u64,
}

/// `PSTATE`: at EL1 with its own stack pointer.
const fn uses_el1_stack(state: u64) -> bool {
    state & 0xf == 5
}

impl Machine {
    /// The registers of a vCPU, with its instruction at `program_counter`.
    pub(super) fn registers<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        program_counter: u64,
    ) -> Result<Registers<P::Frame>, MachineError> {
        let frame = port.read(vcpu, COUNT_ALL)?;
        let el1_stack = if uses_el1_stack(frame.state()) {
            Some(port.read_vcpu(vcpu, VcpuRegister::SpEl1)?)
        } else {
            None
        };
        Ok(Registers {
            frame,
            el1_stack,
            program_counter,
        })
    }
}

impl<F: Frame> Registers<F> {
    /// Sets a general register; 31 is given up.
    pub(super) fn set(&mut self, register: u8, value: u64) {
        if register < 31 {
            self.frame.set_general(register, value);
        }
    }

    /// Sets a base register; 31 is the stack pointer.
    pub(super) fn set_base<P: Port<Frame = F>>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        register: u8,
        value: u64,
    ) -> Result<(), MachineError> {
        if register < 31 {
            self.frame.set_general(register, value);
        } else if self.el1_stack.is_some() {
            port.write_vcpu(vcpu, VcpuRegister::SpEl1, value)?;
        } else {
            self.frame.set_stack_pointer(value);
        }
        Ok(())
    }
}

impl<F: Frame> Operands for Registers<F> {
    fn base(&self, register: u8) -> u64 {
        match (register, self.el1_stack) {
            (31, Some(stack)) => stack,
            (31, None) => self.frame.stack_pointer(),
            _ => self.frame.general(register),
        }
    }

    fn index(&self, register: u8) -> u64 {
        match register {
            31 => 0,
            _ => self.frame.general(register),
        }
    }

    fn program_counter(&self) -> u64 {
        self.program_counter
    }
}
