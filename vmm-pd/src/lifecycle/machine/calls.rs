// SPDX-License-Identifier: BSD-2-Clause
//! Calls by `SMC`: PSCI and the SMC calling convention (DEN 0022D.b, DEN 0028D).
//!
//! Responsible for: what a vCPU gets for an answer, and switching vCPUs on and off. Must never: carry out a call whose
//! arguments name what the guest does not have.

use super::{Machine, MachineError, Run, STATE_RESET};
use crate::capture::identity;
use crate::exit::Syndrome;
use crate::exit::psci::{Call, result};
use crate::lifecycle::gate::RunPermit;
use crate::lifecycle::stop::Afterwards;
use crate::port::{Frame, Port, VcpuRegister};
use channel::VcpuId;
use channel::vgic::Request;
use channel::vmm::Phase;
use vm::SCTLR_EL1_RESET;

/// The affinity fields of `MPIDR_EL1`.
const MPIDR_AFFINITY: u64 = 0xff_00ff_ffff;

impl Machine {
    #[inline]
    pub(super) fn secure_monitor_call<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        syndrome: Syndrome,
    ) -> Result<(), MachineError> {
        const WITHOUT_ARGUMENTS: usize = crate::port::count_for(0);
        const WITH_ARGUMENTS: usize = crate::port::count_for(3);
        let mut frame = port.read(vcpu, WITHOUT_ARGUMENTS)?;
        let mut refused = Ok(());
        // Only an immediate of zero is a call (DEN 0028D 2.4).
        let call = if syndrome.immediate() == 0 {
            Call::decode(frame.general(0), || match port.read(vcpu, WITH_ARGUMENTS) {
                Ok(all) => [all.general(1), all.general(2), all.general(3)],
                Err(error) => {
                    refused = Err(error);
                    [0; 3]
                }
            })
        } else {
            Call::Answer(result::NOT_SUPPORTED)
        };
        refused?;
        let program_counter = frame.program_counter();
        frame.set_program_counter(program_counter.wrapping_add(4));
        let answer = match call {
            Call::Answer(value) => value,
            Call::Answers(values) => return self.answer_all(port, vcpu, values),
            Call::Implementations => {
                let values = self.discovery.version(&self.baseline);
                return self.answer_all(port, vcpu, values);
            }
            Call::Implementation(number) => {
                let values = self.discovery.implementation(&mut self.baseline, number);
                return self.answer_all(port, vcpu, values);
            }
            Call::On {
                target,
                entry,
                context,
            } => self.switch_on(port, target, entry, context)?,
            Call::AffinityInfo { target, level } => self.affinity_info(target, level),
            Call::Suspend => {
                frame.set_general(0, result::SUCCESS);
                port.write(vcpu, &mut frame, WITHOUT_ARGUMENTS, false)?;
                return self.wait(port, vcpu);
            }
            Call::Off => return self.switch_off(port, vcpu),
            Call::SystemOff => {
                self.stopped_at = program_counter;
                self.halt(port)?;
                self.set_phase(port, Phase::Off);
                return Ok(());
            }
            Call::SystemReset => {
                self.stopped_at = program_counter;
                return if self.own_boot(port).is_some() {
                    self.clean(port, Afterwards::Restart)
                } else {
                    Err(MachineError::NoBundle)
                };
            }
        };
        frame.set_general(0, answer);
        Ok(port.write(vcpu, &mut frame, WITHOUT_ARGUMENTS, true)?)
    }

    /// Resumes a vCPU behind its call, with an answer in `x0` to `x3`.
    fn answer_all<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        values: [u64; 4],
    ) -> Result<(), MachineError> {
        const COUNT: usize = crate::port::count_for(3);
        let mut frame = port.read(vcpu, COUNT)?;
        frame.set_program_counter(frame.program_counter().wrapping_add(4));
        for (register, value) in (0..).zip(values) {
            frame.set_general(register, value);
        }
        Ok(port.write(vcpu, &mut frame, COUNT, true)?)
    }

    fn affinity_info(&mut self, target: u64, level: u64) -> u64 {
        match self.by_affinity(target) {
            Some(vcpu) if level == 0 => u64::from(self.vcpu(vcpu).run == Run::Off),
            _ => result::INVALID_PARAMETERS,
        }
    }

    fn by_affinity(&self, target: u64) -> Option<VcpuId> {
        self.present()
            .find(|vcpu| identity(*vcpu) & MPIDR_AFFINITY == target)
    }

    fn switch_on<P: Port>(
        &mut self,
        port: &mut P,
        target: u64,
        entry: u64,
        context: u64,
    ) -> Result<u64, MachineError> {
        let Some(vcpu) = self.by_affinity(target) else {
            return Ok(result::INVALID_PARAMETERS);
        };
        if self.vcpu(vcpu).run != Run::Off {
            return Ok(result::ALREADY_ON);
        }
        if port.ram_read(entry & !7).is_none() {
            return Ok(result::INVALID_ADDRESS);
        }
        // A guest that calls runs, and then time does.
        let Some(time) = self.time else {
            return Ok(result::INTERNAL_FAILURE);
        };
        self.start_vcpu(port, vcpu, time, [entry, context])?;
        self.drop_timer_line(port, vcpu)?;
        self.ask_vgic(port, &Request::Power { vcpu, on: true })?;
        Ok(result::SUCCESS)
    }

    /// The vCPU has called `CPU_OFF`. What is pending in its list registers is withdrawn first, and goes to others.
    fn switch_off<P: Port>(&mut self, port: &mut P, vcpu: VcpuId) -> Result<(), MachineError> {
        port.suspend(vcpu)?;
        self.vcpu(vcpu).run = Run::SwitchingOff;
        self.take_from_sleepers(port, vcpu)?;
        self.ask_vgic(port, &Request::Power { vcpu, on: false })?;
        if self.rearrange & 1 << vcpu.index() == 0 {
            self.vcpu(vcpu).run = Run::Off;
        }
        Ok(())
    }

    /// Starts a vCPU as PSCI describes (DEN 0022D.b 6.4).
    pub(crate) fn start_vcpu<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        time: RunPermit,
        [entry, context]: [u64; 2],
    ) -> Result<(), MachineError> {
        for (register, value) in [
            (VcpuRegister::SCTLR, SCTLR_EL1_RESET),
            (VcpuRegister::CPACR, 0),
            // Not the stub's: a guest that takes an exception before it has vectors is to be found where it then is.
            (VcpuRegister::VBAR, 0),
            (VcpuRegister::CntvCtl, 0),
            (VcpuRegister::Cntvoff, time.offset().0),
            (VcpuRegister::Cntkctl, 0),
        ] {
            port.write_vcpu(vcpu, register, value)?;
        }
        let state = self.vcpu(vcpu);
        (state.run, state.started) = (Run::Running, true);
        let mut frame = P::Frame::default();
        frame.set_program_counter(entry);
        frame.set_state(STATE_RESET);
        frame.set_general(0, context);
        Ok(port.write(vcpu, &mut frame, crate::port::COUNT_ALL, true)?)
    }
}
