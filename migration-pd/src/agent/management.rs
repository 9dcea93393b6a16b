// SPDX-License-Identifier: BSD-2-Clause
//! What the host may ask of a board.

use super::guest::{order, reason_of};
use super::{Core, ram_bytes};
use crate::handover::memory::Past;
use crate::handover::source::{self, Leaving};
use crate::handover::{Source, destination};
use crate::port::Port;
use crate::ram::GuestRam;
use channel::VcpuId;
use channel::vmm::{self, Refusal};
use protocol::frame::Frame;
use protocol::heap;
use protocol::management::{
    Answer, Figures, Looked, MoveReport, Phase, Request, Stage, StartMove, Welcome,
};
use protocol::{Domain, MoveFailure, MoveId, RequestError};

impl Core<'_> {
    pub(super) fn request<P: Port>(&mut self, port: &mut P, frame: Frame<'_>) {
        let Ok(request) = Request::decode(frame.kind, frame.payload) else {
            self.answer(frame.tag, &Answer::Refused(RequestError::NotUnderstood));
            return;
        };
        match request {
            Request::Describe => return self.describe(port, frame.tag),
            Request::Examine(domain) => return self.examine(port, frame.tag, domain),
            _ => {}
        }
        let answer = self.carry_out(port, request);
        self.answer(frame.tag, &answer.unwrap_or_else(Answer::Refused));
    }

    fn answer(&mut self, tag: u32, answer: &Answer<'_>) {
        self.outbox
            .message(answer.kind(), tag, |payload| answer.encode(payload));
    }

    fn carry_out<P: Port>(
        &mut self,
        port: &mut P,
        request: Request,
    ) -> Result<Answer<'static>, RequestError> {
        let done = match request {
            Request::Hello => return Ok(Answer::Welcome(self.welcome(port))),
            Request::Status => {
                self.look_at_guest(port);
                return Ok(Answer::Status(self.status_report(port)));
            }
            Request::Statistics => return statistics(port),
            Request::Look => return look(port),
            Request::Query(id) => return Ok(Answer::Move(self.look_up(port, id))),
            Request::Pause => self.pause(port),
            Request::Resume => self.resume(port),
            Request::Discard => self.discard(port),
            Request::Start(start) => self.start(port, &start),
            Request::Cancel(id) => self.cancel(port, id),
            Request::Resolve(id, verdict) => self.resolve(port, id, verdict),
            Request::SetRegister(set) => self.set_register(port, &set),
            Request::Describe | Request::Examine(_) => Err(RequestError::NotUnderstood),
        };
        done.map(|()| Answer::Accepted)
    }

    fn welcome<P: Port>(&mut self, port: &mut P) -> Welcome {
        let now = port.now();
        Welcome {
            ram_bytes: ram_bytes(port),
            counter_frequency: self.frequency,
            uptime_us: self.micros(now),
            pace: self.pace,
        }
    }

    fn describe<P: Port>(&mut self, port: &mut P, tag: u32) {
        let described = self.own_machine(port);
        let answer = match described {
            Ok(length) => Answer::Description(self.record.get(..length).unwrap_or_default()),
            Err(reason) => Answer::Refused(peer(reason)),
        };
        self.outbox
            .message(answer.kind(), tag, |payload| answer.encode(payload));
    }

    /// Puts this board's machine description into the record buffer; its length, or a reason.
    pub(super) fn own_machine<P: Port>(&mut self, port: &mut P) -> Result<usize, u64> {
        let length = order(port, &vmm::Request::Describe)?;
        let length = usize::try_from(length).map_err(|_| 0_u64)?;
        let room = self.record.get_mut(..length).ok_or(0_u64)?;
        port.exported(Domain::Vmm, room).then_some(length).ok_or(0)
    }

    fn pause<P: Port>(&mut self, port: &mut P) -> Result<(), RequestError> {
        self.not_moving()?;
        self.look_at_guest(port);
        match self.guest.phase() {
            Phase::Stopping => {
                // After a move that was called off it would continue.
                self.let_guest_stay();
                Ok(())
            }
            Phase::Stopped | Phase::Imported => Ok(()),
            _ => self.tell_vmm(port, &vmm::Request::Stop),
        }
    }

    fn resume<P: Port>(&mut self, port: &mut P) -> Result<(), RequestError> {
        self.not_moving()?;
        self.look_at_guest(port);
        match self.guest.phase() {
            Phase::Running | Phase::Resuming => Ok(()),
            _ => self.tell_vmm(port, &vmm::Request::Resume),
        }
    }

    fn discard<P: Port>(&mut self, port: &mut P) -> Result<(), RequestError> {
        self.not_moving()?;
        self.look_at_guest(port);
        self.tell_vmm(port, &vmm::Request::Discard)
    }

    fn tell_vmm<P: Port>(
        &mut self,
        port: &mut P,
        request: &vmm::Request,
    ) -> Result<(), RequestError> {
        let done = order(port, request);
        let phase = self.guest.phase();
        self.look_at_guest(port);
        match done {
            Ok(_) => Ok(()),
            Err(reason) if reason == Refusal::WrongPhase as u64 => {
                Err(RequestError::WrongPhase { phase })
            }
            Err(reason) => Err(peer(reason)),
        }
    }

    fn start<P: Port>(&mut self, port: &mut P, start: &StartMove) -> Result<(), RequestError> {
        // The request may be repeated because its answer was lost.
        if self.source.leaving().is_some_and(|it| it.id == start.id) {
            return Ok(());
        }
        self.not_moving()?;
        self.look_at_guest(port);
        let resume = match self.guest.phase() {
            Phase::Running => true,
            Phase::Stopped => false,
            phase => return Err(RequestError::WrongPhase { phase }),
        };
        if self.table.is_none() {
            return Err(RequestError::HeapTooSmall {
                needed: heap::needed(port.ram().pages()),
                available: self.heap_bytes,
            });
        }
        let newest = self.destination.memory().newest();
        if start.id <= newest {
            return Err(RequestError::StaleMove { newest });
        }
        self.destination.note(start.id);
        let now = port.now();
        self.outgoing.begin(start, now);
        let leaving = Leaving {
            id: start.id,
            resume,
        };
        self.source_event(port, source::Event::Start(leaving));
        Ok(())
    }

    fn cancel<P: Port>(&mut self, port: &mut P, id: MoveId) -> Result<(), RequestError> {
        let failure = MoveFailure::Operator;
        if self.source.leaving().is_some_and(|it| it.id == id) {
            if self.source.in_doubt() {
                return Err(RequestError::InDoubt { id });
            }
            self.source_event(port, source::Event::Failed(failure));
            Ok(())
        } else if self.destination.arriving().is_some_and(|it| it.id == id) {
            self.destination_event(port, destination::Event::Failed(failure));
            Ok(())
        } else {
            Err(RequestError::NoSuchMove)
        }
    }

    fn resolve<P: Port>(
        &mut self,
        port: &mut P,
        id: MoveId,
        verdict: protocol::management::Verdict,
    ) -> Result<(), RequestError> {
        if self.source.in_doubt() && self.source.leaving().is_some_and(|it| it.id == id) {
            self.source_event(port, source::Event::Resolved { id, verdict });
            Ok(())
        } else {
            Err(RequestError::NoSuchMove)
        }
    }

    fn look_up<P: Port>(&mut self, port: &mut P, id: MoveId) -> MoveReport {
        let now = port.now();
        let stage = match self.destination.memory().past(id) {
            Past::Taken => Stage::Taken,
            _ => Stage::Unknown,
        };
        [self.current_report(now), self.last]
            .into_iter()
            .flatten()
            .find(|report| report.id == id)
            .unwrap_or(MoveReport {
                id,
                stage,
                failure: None,
                figures: Figures::default(),
            })
    }

    /// Some requests would disturb a move.
    pub(super) fn not_moving(&self) -> Result<(), RequestError> {
        let leaving = self.source.leaving().map(|leaving| leaving.id);
        let arriving = self.destination.arriving().map(|arriving| arriving.id);
        match (self.source, leaving.or(arriving)) {
            (Source::Idle, None) | (_, None) => Ok(()),
            (Source::InDoubt { .. }, Some(id)) => Err(RequestError::InDoubt { id }),
            (_, Some(id)) => Err(RequestError::Moving { id }),
        }
    }
}

fn statistics<P: Port>(port: &mut P) -> Result<Answer<'static>, RequestError> {
    let answer = port.vmm(&vmm::Request::Statistics);
    let decoded = answer.and_then(|answer| vmm::decode_statistics(&answer));
    decoded
        .map(Answer::Statistics)
        .map_err(|error| peer(reason_of(Err(error)).err().unwrap_or(0)))
}

/// Asks of each vCPU; the guest runs on meanwhile.
fn look<P: Port>(port: &mut P) -> Result<Answer<'static>, RequestError> {
    let mut looked = Looked::default();
    for (vcpu, hang) in VcpuId::all().zip(&mut looked) {
        let answer = port.vmm(&vmm::Request::Look { vcpu });
        *hang = answer
            .and_then(|answer| vmm::decode_hang(&answer))
            .map_err(|error| peer(reason_of(Err(error)).err().unwrap_or(0)))?;
    }
    Ok(Answer::Looked(looked))
}

const fn peer(reason: u64) -> RequestError {
    RequestError::PeerDomain {
        domain: Domain::Vmm,
        reason,
    }
}
