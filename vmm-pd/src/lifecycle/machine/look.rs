// SPDX-License-Identifier: BSD-2-Clause
//! A look at a vCPU, whether it hangs, for an operator who asks.
//!
//! Responsible for: the registers that [`hang`] judges by, of a vCPU that runs as of one that is paused. Must never: stop
//! a vCPU for it, or write anything to it.

use channel::VcpuId;
use channel::vmm::Phase;
use hang::{Hang, Registers};

use super::{Machine, MachineError, Run};
use crate::port::{COUNT_STATE, Frame, Port, VcpuRegister};

impl Machine {
    /// What a vCPU hangs in, if it does.
    pub(crate) fn look<P: Port>(&mut self, port: &mut P, vcpu: VcpuId) -> Option<Hang> {
        let registers = match self.phase {
            Phase::Running => self.registers_of_running(port, vcpu),
            Phase::Stopped | Phase::Imported => self.paused.saved(vcpu)?.hang_registers(),
            _ => None,
        }?;
        let hang = registers.hang(|ipa| port.ram_read(ipa))?;
        Some(hang.after(self.vcpu(vcpu).lost))
    }

    /// An exception is taken to a vector where nothing is. What was taken before that is noted: the registers will speak of
    /// this one only.
    pub(crate) fn note_lost<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        program_counter: u64,
    ) -> Result<(), MachineError> {
        let registers = registers(port, vcpu)?;
        let again = registers.is_vector(registers.return_address);
        if registers.is_vector(program_counter) && !again {
            self.vcpu(vcpu).lost = Some(registers.taken(|ipa| port.ram_read(ipa)));
        }
        Ok(())
    }

    fn registers_of_running<P: Port>(&mut self, port: &mut P, vcpu: VcpuId) -> Option<Registers> {
        let runs = matches!(self.vcpu(vcpu).run, Run::Running | Run::Waiting);
        if !runs || self.activity.concerns(vcpu) {
            return None;
        }
        // A kernel that refuses shows at the vCPU's next exit.
        registers(port, vcpu).ok()
    }
}

fn registers<P: Port>(port: &mut P, vcpu: VcpuId) -> Result<Registers, MachineError> {
    let frame = port.read(vcpu, COUNT_STATE)?;
    Ok(Registers {
        program_counter: frame.program_counter(),
        state: frame.state(),
        vectors: port.read_vcpu(vcpu, VcpuRegister::VBAR)?,
        return_address: port.read_vcpu(vcpu, VcpuRegister::ElrEl1)?,
        saved_state: port.read_vcpu(vcpu, VcpuRegister::SpsrEl1)?,
        syndrome: port.read_vcpu(vcpu, VcpuRegister::ESR)?,
        regime: crate::exit::abort::regime(port, vcpu)?,
    })
}
