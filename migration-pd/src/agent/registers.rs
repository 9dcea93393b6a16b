// SPDX-License-Identifier: BSD-2-Clause
//! A paused guest, looked at and changed by its operator, a register at a time.
//!
//! Responsible for: getting a domain's record, and asking the domain that a register belongs to for
//! another value. Must never: do so while the guest runs or moves, or decide what may be set; that
//! is for the domain to say.

use super::Core;
use super::guest::{illegal_value, reason_of};
use crate::port::Port;
use channel::vmm::Refusal;
use channel::{Ticks, VcpuId, timer, vgic, vmm};
use protocol::management::{Answer, Phase, SetRegister};
use protocol::{Domain, RequestError};
use state::{Class, Policy, Register, TimerRecordV1, record};

impl Core<'_> {
    /// Answers with what a domain holds of the guest.
    pub(super) fn examine<P: Port>(&mut self, port: &mut P, tag: u32, domain: Domain) {
        let exported = self.must_be_paused(port).and_then(|()| {
            self.export(port, domain)
                .map_err(|reason| RequestError::PeerDomain { domain, reason })
        });
        let answer = match exported {
            Ok(length) => {
                let record = self.record.get(..length).unwrap_or_default();
                Answer::Examined(domain, record)
            }
            Err(error) => Answer::Refused(error),
        };
        self.outbox
            .message(answer.kind(), tag, |payload| answer.encode(payload));
    }

    /// Gives a register another value.
    pub(super) fn set_register<P: Port>(
        &mut self,
        port: &mut P,
        set: &SetRegister,
    ) -> Result<(), RequestError> {
        self.must_be_paused(port)?;
        let SetRegister {
            vcpu,
            register: key,
            value,
        } = *set;
        let bad = RequestError::BadRegister {
            vcpu,
            register: key,
        };
        let of_timer = Register::from_key(key)
            .filter(|it| it.class() == Class::Timer && it.policy() == Policy::Write);
        if let Some(register) = of_timer {
            return self.set_timer(port, vcpu.into(), register, value, bad);
        }
        let vcpu = VcpuId::try_from(u64::from(vcpu)).map_err(|_| bad)?;
        let request = vmm::Request::SetRegister {
            vcpu,
            register: key,
            value,
        };
        let answer = port.vmm(&request);
        if let Some(illegal) = answer.as_ref().ok().and_then(illegal_value) {
            return Err(illegal.into());
        }
        match reason_of(answer.and_then(|answer| vmm::decode_answer(&answer))) {
            Ok(_) => Ok(()),
            Err(reason) if reason == Refusal::BadRegister as u64 => Err(bad),
            Err(reason) => Err(peer(Domain::Vmm, reason)),
        }
    }

    /// `timer-pd` takes over its own record with one value changed; time is frozen meanwhile.
    fn set_timer<P: Port>(
        &mut self,
        port: &mut P,
        vcpu: usize,
        register: Register,
        value: u128,
        bad: RequestError,
    ) -> Result<(), RequestError> {
        let failed = |reason| peer(Domain::Timer, reason);
        let length = self.export(port, Domain::Timer).map_err(failed)?;
        let bytes = self.record.get(..length).unwrap_or_default();
        let mut timers: TimerRecordV1 = record::decode(bytes).map_err(|_| failed(0))?;
        if vcpu < timers.vcpus.len() {
            state::legal::check_timer_change(&timers, vcpu, register, value)?;
        }
        if !timers.set_register(vcpu, register, value) {
            return Err(bad);
        }
        let length = record::encode(&timers, self.record.as_mut_slice()).map_err(|_| failed(0))?;
        self.import_timer(port, length, Ticks(0)).map_err(failed)
    }

    /// The time of a paused guest here advances by so much: `timer-pd` takes over its own record with that
    /// added. If it does not, the error is its reason, and nothing has changed.
    pub(super) fn let_own_time_continue<P: Port>(
        &mut self,
        port: &mut P,
        advance: Ticks,
    ) -> Result<(), u64> {
        let length = self.export(port, Domain::Timer)?;
        self.import_timer(port, length, advance)
    }

    /// `timer-pd` takes over what the record buffer begins with.
    fn import_timer<P: Port>(
        &self,
        port: &mut P,
        length: usize,
        advance: Ticks,
    ) -> Result<(), u64> {
        let record = self.record.get(..length).unwrap_or_default();
        if !port.import(Domain::Timer, record) {
            return Err(0);
        }
        let length = u32::try_from(length).map_err(|_| 0_u64)?;
        let taken = port
            .timer(&timer::Request::Import { length, advance })
            .and_then(|answer| timer::decode_answer(&answer));
        reason_of(taken).map(|_| ())
    }

    /// A guest's registers are somewhere only while it is paused.
    fn must_be_paused<P: Port>(&mut self, port: &mut P) -> Result<(), RequestError> {
        self.not_moving()?;
        self.look_at_guest(port);
        match self.guest.phase() {
            Phase::Stopped | Phase::Imported => Ok(()),
            phase => Err(RequestError::WrongPhase { phase }),
        }
    }

    /// Puts a domain's record into the record buffer; its length, or the domain's reason.
    pub(super) fn export<P: Port>(&mut self, port: &mut P, domain: Domain) -> Result<usize, u64> {
        let exported = match domain {
            Domain::Vmm => port
                .vmm(&vmm::Request::Export)
                .and_then(|answer| vmm::decode_answer(&answer)),
            Domain::Vgic => port
                .vgic(&vgic::Request::Export)
                .and_then(|answer| vgic::Answer::decode(&answer))
                .map(|answer| answer.value),
            Domain::Timer => port
                .timer(&timer::Request::Export)
                .and_then(|answer| timer::decode_answer(&answer)),
        };
        let length = reason_of(exported)?;
        let length = usize::try_from(length).map_err(|_| 0_u64)?;
        let record = self.record.get_mut(..length).ok_or(0_u64)?;
        port.exported(domain, record).then_some(length).ok_or(0)
    }
}

const fn peer(domain: Domain, reason: u64) -> RequestError {
    RequestError::PeerDomain { domain, reason }
}
