//! The board's constants, read once by a vCPU that has no guest yet.

use channel::VcpuId;
use state::{Register, RegisterFile, Source};

use super::layout::{self, Command, Leave};
use super::{CaptureError, DataPage, Progress};
use crate::exit::Exit;
use crate::port::{Port, VcpuRegister};

/// A probe under way.
#[derive(Debug)]
pub struct Probe {
    vcpu: VcpuId,
}

impl Probe {
    /// Lets `vcpu`, which has not run yet, read the constants.
    pub fn begin<P: Port + DataPage>(port: &mut P, vcpu: VcpuId) -> Result<Self, CaptureError> {
        port.suspend(vcpu)?;
        port.write_vcpu(vcpu, VcpuRegister::VMPIDR, super::identity(vcpu))?;
        super::prepare(port, vcpu)?;
        port.write_page(vcpu, layout::REGISTERS, &[0; layout::PROBED.len()]);
        super::run(port, vcpu, Command::Probe)?;
        Ok(Self { vcpu })
    }

    /// The vCPU left the stub.
    pub fn on_exit<P: Port + DataPage>(
        &mut self,
        port: &mut P,
        exit: Exit,
    ) -> Result<Progress<RegisterFile>, CaptureError> {
        if !super::left(port, self.vcpu, exit, Leave::Probed)? {
            return Ok(Progress::Running);
        }
        let mut words = [0; layout::PROBED.len()];
        port.read_page(self.vcpu, layout::REGISTERS, &mut words);
        let mut constants = RegisterFile::new();
        for (register, value) in layout::PROBED.iter().zip(words) {
            // A cache or a monitor that is not there was not read; no register that is reads as zero.
            let absent = value == 0 && register.source() != Source::Probe;
            if !absent && !constants.set(*register, value.into()) {
                return Err(CaptureError::Page {
                    field: Register::name(*register),
                    value,
                });
            }
        }
        Ok(Progress::Done(constants))
    }
}
