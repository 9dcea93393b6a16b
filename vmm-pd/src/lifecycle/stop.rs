// SPDX-License-Identifier: BSD-2-Clause
//! Pause and resume: start-up, stop, resume, export and import.
//!
//! Responsible for: the order in which the parts of a machine are stopped and started, so that
//! nothing is captured that still moves. Must never: let a vCPU run before all have their state
//! and the timers' gate has opened.
//!
//! Stopping: all vCPUs are suspended, then time is frozen, then each vCPU runs the capture stub,
//! one after the other; `vgic-pd` and `timer-pd` get their parts as they are found. Resuming is
//! the reverse. Both need vCPUs to run the stub, so they advance exit by exit
//! ([`Machine::stub_exit`]) and end in a change of phase.

mod load;
mod rearrange;
mod records;

use channel::timer::{self, VirtualTimer};
use channel::vgic::{Answer, ListRegisterEntries, Request as VgicRequest, RestorePlan};
use channel::vmm::{Phase, Refusal, Request, answer, encode_hang, encode_statistics};
use channel::{Intid, MAX_VCPUS, Message, VcpuId};
use state::{PowerV1, RegisterFile, VcpuV1};

use crate::capture::{
    self, Capture, Captured, Clean, Features, Probe, Progress, Restore, Restored,
};
use crate::exit::Exit;
use crate::lifecycle::gate::RunPermit;
use crate::lifecycle::machine::{FIRST, Machine, MachineError, Run, Vcpu, understood};
use crate::port::Port;
use load::Load;

/// What a vCPU runs the capture stub for.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, and no heap to put it on"
)]
pub(crate) enum Activity {
    /// Nothing: an exit is the guest's.
    None,
    /// To read the board's constants.
    Probe(Probe),
    /// To be captured.
    Capture(VcpuId, Capture),
    /// To be restored; with its timer.
    Restore(VcpuId, Restore, VirtualTimer),
    /// To be made as good as new, after its guest has gone.
    Clean(VcpuId, Clean, Afterwards),
    /// To leave again, so that the next slice of what the guest starts from is loaded.
    Load(Load),
    /// To have its list registers emptied, while the guest runs.
    Drain(VcpuId, Capture, RunPermit),
    /// To have them filled with what belongs there; with its timer.
    Refill(VcpuId, Restore, VirtualTimer, RunPermit),
}

/// What follows when all vCPUs are as good as new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// The machine is empty and waits for a guest.
    Empty,
    /// The guest starts again.
    Restart,
}

impl Activity {
    /// Whether an exit of `vcpu` is the stub's.
    #[inline]
    pub(crate) fn concerns(&self, vcpu: VcpuId) -> bool {
        match self {
            Self::None => false,
            Self::Probe(_) | Self::Load(_) => vcpu == FIRST,
            Self::Capture(stopped, _)
            | Self::Restore(stopped, ..)
            | Self::Clean(stopped, ..)
            | Self::Drain(stopped, ..)
            | Self::Refill(stopped, ..) => *stopped == vcpu,
        }
    }
}

/// A paused machine, and what is known of the board.
#[derive(Debug, Default)]
pub(crate) struct Paused {
    /// The board's constants, once the probe has read them.
    constants: RegisterFile,
    features: Features,
    /// The vCPUs, while the machine is paused.
    saved: [VcpuV1; MAX_VCPUS],
    /// The vCPUs that are ready to be resumed.
    restored: [Option<(Restored, VirtualTimer)>; MAX_VCPUS],
}

impl Paused {
    /// What the board is to a guest that is started on it.
    pub(crate) const fn constants(&self) -> &RegisterFile {
        &self.constants
    }

    /// Discards the guest, not the board.
    pub(crate) fn discard(&mut self) {
        self.saved = Default::default();
        self.restored = Default::default();
    }

    /// A paused vCPU.
    pub(crate) fn saved(&self, vcpu: VcpuId) -> Option<&VcpuV1> {
        self.saved.get(vcpu.index())
    }

    fn saved_mut(&mut self, vcpu: VcpuId) -> &mut VcpuV1 {
        let [first, second, third, fourth] = &mut self.saved;
        match vcpu.index() {
            0 => first,
            1 => second,
            2 => third,
            _ => fourth,
        }
    }
}

impl Machine {
    /// Starts: first the stub reads what board this is, then the guest boots, if there is one.
    pub fn start<P: Port>(&mut self, port: &mut P) {
        let mut vcpus = VcpuId::all();
        let probe = vcpus
            .try_for_each(|vcpu| capture::set_up(port, vcpu))
            .and_then(|()| Probe::begin(port, FIRST));
        match probe {
            Ok(probe) => self.activity = Activity::Probe(probe),
            Err(error) => self.fail(port, FIRST, error.into()),
        }
    }

    /// Answers `migration-pd`.
    pub fn request<P: Port>(&mut self, port: &mut P, request: Request) -> Message {
        let done = match (request, self.phase) {
            (Request::Status, _) => return self.status().encode(),
            (Request::Statistics, _) => return encode_statistics(&self.statistics),
            (Request::Look { vcpu }, _) => return encode_hang(self.look(port, vcpu)),
            (Request::Describe, phase) if phase != Phase::Starting => return self.describe(port),
            (Request::Export, Phase::Stopped | Phase::Imported) => return self.export(port),
            (
                Request::SetRegister {
                    vcpu,
                    register,
                    value,
                },
                Phase::Stopped | Phase::Imported,
            ) => return self.set_register(vcpu, register, value),
            (Request::Import { length }, Phase::Empty) => return self.import(port, length),
            (Request::Stop, Phase::Running) => self.stop(port),
            (Request::Resume, Phase::Stopped | Phase::Imported) => self.resume(port),
            (
                Request::Discard,
                Phase::Empty | Phase::Stopped | Phase::Imported | Phase::Off | Phase::Failed,
            ) => self.clean(port, Afterwards::Empty),
            _ => return Message::refused(Refusal::WrongPhase as u64),
        };
        if let Err(error) = done {
            self.fail(port, FIRST, error);
        }
        answer(0)
    }

    /// A vCPU that runs the stub left it, or was interrupted in it.
    #[cold]
    #[inline(never)]
    pub(crate) fn stub_exit<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        exit: Exit,
    ) -> Result<(), MachineError> {
        match &mut self.activity {
            Activity::None => Ok(()),
            Activity::Probe(probe) => match probe.on_exit(port, exit)? {
                Progress::Running => Ok(()),
                Progress::Done(constants) => self.probed(port, constants),
            },
            Activity::Capture(_, capture) => {
                let registers = &mut self.paused.saved_mut(vcpu).registers;
                match capture.on_exit(port, exit, registers)? {
                    Progress::Running => Ok(()),
                    Progress::Done(captured) => self.captured(port, vcpu, &captured),
                }
            }
            Activity::Drain(_, capture, time) => {
                let time = *time;
                let registers = &mut self.paused.saved_mut(vcpu).registers;
                match capture.on_exit(port, exit, registers)? {
                    Progress::Running => Ok(()),
                    Progress::Done(captured) => self.taken_out(port, vcpu, &captured, time),
                }
            }
            Activity::Refill(_, restore, timer, time) => {
                let (timer, time) = (*timer, *time);
                let registers = &self.paused.saved_mut(vcpu).registers;
                match restore.on_exit(port, exit, registers)? {
                    Progress::Running => Ok(()),
                    Progress::Done(restored) => self.refilled(port, vcpu, restored, timer, time),
                }
            }
            Activity::Restore(_, restore, timer) => {
                let timer = *timer;
                let registers = &self.paused.saved_mut(vcpu).registers;
                match restore.on_exit(port, exit, registers)? {
                    Progress::Running => Ok(()),
                    Progress::Done(restored) => self.restored(port, vcpu, restored, timer),
                }
            }
            Activity::Load(load) => {
                let load = *load;
                self.load_left(port, load, exit)
            }
            Activity::Clean(_, clean, afterwards) => {
                let afterwards = *afterwards;
                match clean.on_exit(port, exit)? {
                    Progress::Running => Ok(()),
                    Progress::Done(()) => {
                        *self.vcpu(vcpu) = Vcpu::default();
                        self.clean_next(port, afterwards)
                    }
                }
            }
        }
    }

    /// The guest is gone: makes every vCPU that it used as good as new, one after the other, so
    /// that the next guest inherits nothing. Seen from outside, the board starts.
    pub(crate) fn clean<P: Port>(
        &mut self,
        port: &mut P,
        afterwards: Afterwards,
    ) -> Result<(), MachineError> {
        self.halt(port)?;
        self.set_phase(port, Phase::Starting);
        self.clean_next(port, afterwards)
    }

    fn clean_next<P: Port>(
        &mut self,
        port: &mut P,
        afterwards: Afterwards,
    ) -> Result<(), MachineError> {
        self.activity = Activity::None;
        let used = VcpuId::all().find(|vcpu| {
            let known = self.vcpu(*vcpu);
            known.started || known.injected.iter().any(Option::is_some)
        });
        match (used, afterwards) {
            (Some(vcpu), _) => {
                let clean = Clean::begin(port, vcpu, self.paused.features)?;
                self.activity = Activity::Clean(vcpu, clean, afterwards);
                Ok(())
            }
            (None, Afterwards::Empty) => self.discard(port),
            (None, Afterwards::Restart) => self.restart(port),
        }
    }

    fn probed<P: Port>(
        &mut self,
        port: &mut P,
        constants: RegisterFile,
    ) -> Result<(), MachineError> {
        self.activity = Activity::None;
        self.paused.features = Features::of(&constants);
        self.paused.constants = constants;
        match self.boot {
            None => {
                port.console_drop();
                port.set_rom(false);
                self.set_phase(port, Phase::Empty);
                Ok(())
            }
            Some(boot) if boot.vcpus == 0 => Err(MachineError::BadBundle),
            Some(boot) => self.load_guest(port, Load::first(boot)),
        }
    }

    /// Suspends everything, and captures it.
    fn stop<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        self.set_phase(port, Phase::Stopping);
        for vcpu in self.present() {
            if !self.activity.concerns(vcpu) {
                port.suspend(vcpu)?;
            }
            self.take_from_sleepers(port, vcpu)?;
        }
        match self.activity {
            Activity::None => self.capture_all(port),
            // A vCPU whose list registers are being rearranged gets its state back first.
            _ => Ok(()),
        }
    }

    /// All vCPUs are suspended: freezes time, and begins with the first.
    fn capture_all<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        self.rearrange = 0;
        understood(&port.timer(&timer::Request::Freeze)?)?;
        self.time = None;
        self.paused.saved = Default::default();
        self.capture_next(port, FIRST.index())
    }

    /// Captures the vCPUs from number `next` on; the machine is paused when there are no more.
    fn capture_next<P: Port>(&mut self, port: &mut P, next: usize) -> Result<(), MachineError> {
        self.activity = Activity::None;
        for vcpu in self.present().skip(next) {
            let known = *self.vcpu(vcpu);
            if known.started || known.injected.iter().any(Option::is_some) {
                self.activity = Activity::Capture(vcpu, self.begin_capture(port, vcpu)?);
                return Ok(());
            }
            let timer = VirtualTimer::default();
            understood(&port.timer(&timer::Request::Save { vcpu, timer })?)?;
        }
        self.set_phase(port, Phase::Stopped);
        Ok(())
    }

    fn begin_capture<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
    ) -> Result<Capture, MachineError> {
        let entries = ListRegisterEntries::decode(
            &port.vgic(&VgicRequest::ListRegisterEntries { vcpu, hold: true })?,
        )?;
        let features = self.paused.features;
        let asserted = self.vcpu(vcpu).timer_asserted;
        let registers = &mut self.paused.saved_mut(vcpu).registers;
        let capture = Capture::begin(port, vcpu, features, &entries, asserted, registers)?;
        Ok(capture)
    }

    fn captured<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        captured: &Captured,
    ) -> Result<(), MachineError> {
        let timer = self.hand_over_interface(port, vcpu, captured)?;
        understood(&port.timer(&timer::Request::Save { vcpu, timer })?)?;
        let known = self.vcpu(vcpu);
        let power = if matches!(known.run, Run::Off | Run::SwitchingOff) {
            PowerV1::Off
        } else {
            PowerV1::On
        };
        let waiting = known.run == Run::Waiting;
        let saved = self.paused.saved_mut(vcpu);
        saved.power = power;
        saved.waiting = waiting;
        self.capture_next(port, vcpu.index() + 1)
    }

    /// Gives `vgic-pd` what a capture found, and forgets what was in list registers. Returns the timer.
    fn hand_over_interface<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        captured: &Captured,
    ) -> Result<VirtualTimer, MachineError> {
        let Captured {
            timer,
            interface,
            found,
        } = *captured;
        let answer = Answer::decode(&port.vgic(&VgicRequest::Captured {
            vcpu,
            interface,
            found,
        })?)?;
        let injected = core::mem::take(&mut self.vcpu(vcpu).injected);
        self.note_emptied(vcpu);
        // The timer's interrupt had ended, and with its end the kernel is to unmask it.
        let ended = (injected.iter().enumerate()).any(|(register, intid)| {
            answer.value & 1 << register != 0 && *intid == Some(Intid::VIRTUAL_TIMER)
        });
        Ok(VirtualTimer {
            asserted: timer.asserted && !ended,
            ..timer
        })
    }

    /// Begins to resume the machine.
    fn resume<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        self.set_phase(port, Phase::Resuming);
        self.paused.restored = Default::default();
        for vcpu in self.present() {
            let on = self.paused.saved_mut(vcpu).power != PowerV1::Off;
            self.ask_vgic(port, &VgicRequest::Power { vcpu, on })?;
        }
        self.restore_next(port, FIRST.index())
    }

    /// Restores the vCPUs from number `next` on; lets them go when there are no more.
    fn restore_next<P: Port>(&mut self, port: &mut P, next: usize) -> Result<(), MachineError> {
        self.activity = Activity::None;
        for vcpu in self.present().skip(next) {
            let plan = RestorePlan::decode(&port.vgic(&VgicRequest::Restore { vcpu })?)?;
            let timer = VirtualTimer::decode(&port.timer(&timer::Request::Load { vcpu })?)?;
            // A vCPU that never ran has no registers, which a restore takes for zeros.
            let has_active = plan.active.injections().next().is_some();
            if has_active || !self.paused.saved_mut(vcpu).registers.is_empty() {
                let restore = self.begin_restore(port, vcpu, &timer, &plan)?;
                self.activity = Activity::Restore(vcpu, restore, timer);
                return Ok(());
            }
            self.ask_vgic(port, &VgicRequest::Refill { vcpu })?;
        }
        self.let_go(port)
    }

    fn begin_restore<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        timer: &VirtualTimer,
        plan: &RestorePlan,
    ) -> Result<Restore, MachineError> {
        let features = self.paused.features;
        let registers = &self.paused.saved_mut(vcpu).registers;
        let restore = Restore::begin(port, vcpu, features, registers, timer, plan)?;
        for injection in plan.active.injections() {
            self.note_injection(injection);
        }
        self.vcpu(vcpu).started = true;
        Ok(restore)
    }

    fn restored<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: VcpuId,
        restored: Restored,
        timer: VirtualTimer,
    ) -> Result<(), MachineError> {
        self.activity = Activity::None;
        if let Some(slot) = self.paused.restored.get_mut(vcpu.index()) {
            *slot = Some((restored, timer));
        }
        self.ask_vgic(port, &VgicRequest::Refill { vcpu })?;
        self.restore_next(port, vcpu.index() + 1)
    }

    /// All vCPUs are in place: time runs, and they run.
    fn let_go<P: Port>(&mut self, port: &mut P) -> Result<(), MachineError> {
        let time = self.open_gate(port)?;
        let mut ready = [None; MAX_VCPUS];
        for (vcpu, ready) in self.present().zip(&mut ready) {
            let restored = self
                .paused
                .restored
                .get_mut(vcpu.index())
                .and_then(Option::take);
            let saved = self.paused.saved.get(vcpu.index());
            let (Some((restored, timer)), Some(saved)) = (restored, saved) else {
                continue;
            };
            *ready = Some(restored.give_time(port, &saved.registers, time)?);
            let runs = saved.power != PowerV1::Off;
            let known = self.vcpu(vcpu);
            known.timer_asserted = timer.asserted;
            known.run = if runs { Run::Running } else { Run::Off };
        }
        self.set_phase(port, Phase::Running);
        for (ready, saved) in ready.into_iter().zip(&self.paused.saved) {
            if let Some(ready) = ready {
                ready.release(port, &saved.registers, saved.power != PowerV1::Off)?;
            }
        }
        // What came while the guest was paused has been notified already, and what it wrote on another board waits for
        // this one's terminal.
        self.send_console_output(port);
        self.take_console_input(port);
        self.update_console_line(port)?;
        self.set_alarm(port)
    }
}
