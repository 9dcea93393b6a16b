// SPDX-License-Identifier: BSD-2-Clause
//! A vCPU as good as new, whatever ran on it.
//!
//! A guest that switched itself off, was stopped or starts again leaves interrupts behind in list registers and active
//! priorities in the CPU interface; seL4 has no call that takes them back. The next guest would get its
//! predecessor's interrupts, or none at all.

use channel::VcpuId;
use channel::timer::VirtualTimer;
use channel::vgic::{Answer, CpuInterface, RestorePlan};
use state::RegisterFile;

use super::layout::{Command, Leave};
use super::{CaptureError, DataPage, Features, Progress, Restore};
use crate::exit::Exit;
use crate::port::Port;

/// A cleaning under way: first the list registers, then everything else, as a restore of nothing.
#[derive(Debug)]
pub struct Clean {
    vcpu: VcpuId,
    features: Features,
    restore: Option<Restore>,
}

/// The registers of a vCPU that never ran.
static NOTHING: RegisterFile = RegisterFile::new();

impl Clean {
    /// Begins to clean the suspended `vcpu`. Nobody needs to know what is in its list registers.
    pub fn begin<P: Port + DataPage>(
        port: &mut P,
        vcpu: VcpuId,
        features: Features,
    ) -> Result<Self, CaptureError> {
        super::park(port, vcpu)?;
        super::run(port, vcpu, Command::Scrub)?;
        Ok(Self {
            vcpu,
            features,
            restore: None,
        })
    }

    /// The vCPU left the stub.
    pub fn on_exit<P: Port + DataPage>(
        &mut self,
        port: &mut P,
        exit: Exit,
    ) -> Result<Progress<()>, CaptureError> {
        if let Exit::Maintenance(_) = exit {
            port.resume(self.vcpu)?;
            return Ok(Progress::Running);
        }
        if let Some(restore) = &mut self.restore {
            let progress = restore.on_exit(port, exit, &NOTHING)?;
            if progress == Progress::Running {
                return Ok(Progress::Running);
            }
            port.acknowledge_timer(self.vcpu)?;
            return Ok(Progress::Done(()));
        }
        if super::left(port, self.vcpu, exit, Leave::Scrubbed)? {
            let plan = RestorePlan {
                interface: CpuInterface::default(),
                active: Answer::new(0),
            };
            let timer = VirtualTimer::default();
            let restore = Restore::begin(port, self.vcpu, self.features, &NOTHING, &timer, &plan)?;
            self.restore = Some(restore);
        }
        Ok(Progress::Running)
    }
}
