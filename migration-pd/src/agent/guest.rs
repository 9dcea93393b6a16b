// SPDX-License-Identifier: BSD-2-Clause
//! The board's guest, as `vmm-pd` reports it.

use super::{Core, ram_bytes};
use crate::handover::source;
use crate::port::Port;
use channel::{Message, ProtocolError, Ticks, vmm};
use protocol::MoveFailure;
use protocol::management::{Event, Failure, Phase, StatusReport};
use state::Register;
use state::legal::Illegal;

/// What is known of the guest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guest {
    status: Option<vmm::Status>,
    /// It is to continue as soon as it is paused: a move was called off while it was stopping.
    resumes: bool,
    /// Since when its time has been frozen and should not have been.
    behind_since: Option<u64>,
}

impl Guest {
    pub(super) fn phase(&self) -> Phase {
        self.status.map_or(Phase::Starting, |status| status.phase)
    }

    /// The identity of the bundle that it is started from, if that is known.
    pub(super) fn bundle(&self) -> Option<u64> {
        let status = self.status.filter(|status| status.bundle != 0)?;
        Some(status.bundle)
    }
}

impl Core<'_> {
    /// Asks `vmm-pd` how the guest is, and tells whom it concerns.
    pub(super) fn look_at_guest<P: Port>(&mut self, port: &mut P) {
        let answer = port.vmm(&vmm::Request::Status);
        let Ok(status) = answer.and_then(|answer| vmm::Status::decode(&answer)) else {
            return;
        };
        let before = self.guest.phase();
        self.guest.status = Some(status);
        let phase = self.guest.phase();
        if phase != Phase::Empty {
            self.cleared = 0;
        }
        if phase == before {
            return;
        }
        // It was about this phase's end only: a guest that is paused later does not continue.
        let resumes = core::mem::take(&mut self.guest.resumes);
        let event = Event::PhaseChanged(self.status_report(port));
        self.event(&event);
        match phase {
            Phase::Stopped if resumes => {
                self.resume_guest(port, self.guest.behind_since);
            }
            Phase::Stopped => self.source_event(port, source::Event::GuestStopped),
            Phase::Off | Phase::Failed | Phase::Empty => {
                let failure = MoveFailure::GuestEnded { phase };
                self.source_event(port, source::Event::Failed(failure));
            }
            _ => {}
        }
    }

    /// The guest is to be paused; it may be so already.
    pub(super) fn stop_guest<P: Port>(&mut self, port: &mut P) {
        if self.guest.phase() == Phase::Stopped {
            self.source_event(port, source::Event::GuestStopped);
            return;
        }
        let stopped = order(port, &vmm::Request::Stop);
        self.look_at_guest(port);
        if let Err(reason) = stopped {
            let failure = MoveFailure::Export {
                domain: protocol::Domain::Vmm,
                reason,
            };
            self.source_event(port, source::Event::Failed(failure));
        }
    }

    /// The guest is to run, now or as soon as it can, with its time made up for `behind_since`.
    pub(super) fn resume_guest<P: Port>(&mut self, port: &mut P, behind_since: Option<u64>) {
        self.guest.resumes = self.guest.phase() == Phase::Stopping;
        self.guest.behind_since = behind_since.filter(|_| self.guest.resumes);
        if !self.guest.resumes {
            if let Some(since) = behind_since {
                let advance = port.now().saturating_sub(since);
                // A guest whose clock is behind is better than one that is paused for ever.
                let _ = self.let_own_time_continue(port, Ticks(advance));
            }
            // A refusal shows in the phase, which the host is told.
            let _ = order(port, &vmm::Request::Resume);
            self.look_at_guest(port);
        }
    }

    /// The guest is to stay where it stops, whatever was to become of it.
    pub(super) const fn let_guest_stay(&mut self) {
        self.guest.resumes = false;
    }

    /// The guest is to be discarded, and RAM zero.
    pub(super) fn discard_guest<P: Port>(&mut self, port: &mut P) {
        let _ = order(port, &vmm::Request::Discard);
        self.look_at_guest(port);
    }

    pub(super) fn status_report<P: Port>(&mut self, port: &mut P) -> StatusReport {
        let now = port.now();
        let status = self.guest.status;
        StatusReport {
            phase: self.guest.phase(),
            vcpus: status.map_or(0, |status| status.vcpus),
            failure: status.map_or(Failure::None, |status| status.failure),
            detail: status.map_or(0, |status| status.detail),
            program_counter: status.map_or(0, |status| status.program_counter),
            ram_bytes: ram_bytes(port),
            newest_move: self.destination.memory().newest(),
            last_move: self.current_report(now).or(self.last),
        }
    }
}

/// Makes a request that is answered with a word; the error is the refusal's reason, 0 for none.
pub(super) fn order<P: Port>(port: &mut P, request: &vmm::Request) -> Result<u64, u64> {
    reason_of(
        port.vmm(request)
            .and_then(|answer| vmm::decode_answer(&answer)),
    )
}

/// What a peer domain's refusal of a register's value is about.
pub(super) fn illegal_value(answer: &Message) -> Option<Illegal> {
    let channel::IllegalValue {
        vcpu,
        register,
        value,
        bits,
    } = answer.illegal_value()?;
    Some(Illegal {
        vcpu: vcpu.into(),
        register: Register::from_key(register)?,
        value,
        bits,
    })
}

/// A peer domain's answer, or its reason.
pub(super) fn reason_of(answer: Result<u64, ProtocolError>) -> Result<u64, u64> {
    answer.map_err(|error| match error {
        ProtocolError::Refused { reason } => reason,
        _ => 0,
    })
}
