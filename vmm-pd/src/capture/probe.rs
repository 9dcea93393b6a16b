// SPDX-License-Identifier: BSD-2-Clause
//! The board's constants, read once by a vCPU that has no guest yet.

use channel::VcpuId;
use state::{Register, RegisterFile, Source};

use super::layout::{self, Command, Leave};
use super::{CaptureError, DataPage, Progress};
use crate::exit::Exit;
use crate::port::Port;

/// A probe under way. Debug registers and performance monitor get runs of their own: a kernel may keep guests from
/// them, and then they are no state of a guest's.
#[derive(Debug)]
pub struct Probe {
    vcpu: VcpuId,
    stage: Stage,
    constants: RegisterFile,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Identification,
    Debug,
    Monitor,
}

impl Stage {
    const fn command(self) -> Command {
        match self {
            Self::Identification => Command::Probe,
            Self::Debug => Command::ProbeDebug,
            Self::Monitor => Command::ProbeMonitor,
        }
    }

    /// Whether `register` is read in this stage. A cache that is not there was not read, and no cache's geometry is
    /// zero.
    fn reads(self, register: Register, value: u64) -> bool {
        match register.source() {
            Source::Probe => self == Self::Identification,
            Source::ProbeCaches => self == Self::Identification && value != 0,
            Source::ProbeDebug => self == Self::Debug,
            Source::ProbePmu => self == Self::Monitor,
            _ => false,
        }
    }
}

impl Probe {
    /// Lets the parked `vcpu`, which has not run yet, read the constants.
    pub fn begin<P: Port + DataPage>(port: &mut P, vcpu: VcpuId) -> Result<Self, CaptureError> {
        port.suspend(vcpu)?;
        let stage = Stage::Identification;
        let mut probe = Self {
            vcpu,
            stage,
            constants: RegisterFile::new(),
        };
        probe.enter(port, stage)?;
        Ok(probe)
    }

    fn enter<P: Port + DataPage>(
        &mut self,
        port: &mut P,
        stage: Stage,
    ) -> Result<(), CaptureError> {
        self.stage = stage;
        port.write_page(self.vcpu, layout::REGISTERS, &[0; layout::PROBED.len()]);
        super::run(port, self.vcpu, stage.command())
    }

    /// The vCPU left the stub.
    pub fn on_exit<P: Port + DataPage>(
        &mut self,
        port: &mut P,
        exit: Exit,
    ) -> Result<Progress<RegisterFile>, CaptureError> {
        match exit {
            Exit::SystemRegister(_) if self.stage != Stage::Identification => {}
            exit => {
                if !super::left(port, self.vcpu, exit, Leave::Probed)? {
                    return Ok(Progress::Running);
                }
                self.read(port)?;
            }
        }
        let next = match self.stage {
            Stage::Identification => Stage::Debug,
            Stage::Debug if self.has_monitor() => Stage::Monitor,
            Stage::Debug | Stage::Monitor => {
                return Ok(Progress::Done(core::mem::take(&mut self.constants)));
            }
        };
        self.enter(port, next)?;
        Ok(Progress::Running)
    }

    fn read<P: DataPage>(&mut self, port: &mut P) -> Result<(), CaptureError> {
        let mut words = [0; layout::PROBED.len()];
        port.read_page(self.vcpu, layout::REGISTERS, &mut words);
        for (register, value) in layout::PROBED.iter().zip(words) {
            if self.stage.reads(*register, value) && !self.constants.set(*register, value.into()) {
                return Err(CaptureError::Page {
                    field: Register::name(*register),
                    value,
                });
            }
        }
        Ok(())
    }

    /// `ID_AA64DFR0_EL1.PMUVer`: zero is none, all ones is none that the architecture defines.
    fn has_monitor(&self) -> bool {
        let debug = self.constants.word(Register::ID_AA64DFR0_EL1).unwrap_or(0);
        !matches!(debug >> 8 & 0xf, 0 | 0xf)
    }
}
