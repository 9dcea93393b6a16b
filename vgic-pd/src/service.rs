// SPDX-License-Identifier: BSD-2-Clause
//! Requests in, answers out.
//!
//! Responsible for: who may ask for what, and that the published view says what the guest would
//! read. It must never let a peer domain's nonsense do more than be refused.

use crate::gic::Gic;
use crate::register::Register;
use channel::vgic::{Answer, Refusal, Request};
use channel::{Message, VcpuId};
use state::record;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// `vmm-pd`.
    Vmm,
    /// `migration-pd`.
    Migration,
}

/// The most bytes that a record of this machine has.
pub const MAX_RECORD: usize = 2048;

/// The memory regions of the domain.
pub trait Regions {
    /// Writes a word of a vCPU's page of the published view, which `vmm-pd` reads.
    fn publish(&mut self, vcpu: VcpuId, offset: u32, word: u32);

    /// The region that records are exported into. Nobody else writes it.
    fn export(&mut self) -> &mut [u8];

    /// A private copy of the first `length` bytes of the region that records are imported from;
    /// nothing if that is more than [`MAX_RECORD`].
    fn import(&mut self, length: usize) -> Option<&[u8]>;
}

/// The domain: the interrupt controller, and the regions in which others see it.
#[derive(Debug)]
pub struct Service<R> {
    gic: Gic,
    regions: R,
    /// The answer that is being put together; here, so that each request need not make one.
    answer: Answer,
}

impl<R: Regions> Service<R> {
    /// No machine yet.
    pub const fn new(regions: R) -> Self {
        Self {
            gic: Gic::new(),
            regions,
            answer: Answer::new(0),
        }
    }

    /// The regions.
    pub const fn regions_mut(&mut self) -> &mut R {
        &mut self.regions
    }

    /// Carries out the request that `message` is, and puts the answer in its place.
    #[inline]
    pub fn handle(&mut self, caller: Caller, message: &mut Message) {
        let Ok(request) = Request::decode(message) else {
            *message = Message::not_understood();
            return;
        };
        let allowed = match caller {
            Caller::Vmm => true,
            Caller::Migration => matches!(request, Request::Export | Request::Import { .. }),
        };
        let carried_out = if allowed {
            self.carry_out(request, message)
        } else {
            Err(Refusal::NotYours)
        };
        if let Err(refusal) = carried_out {
            *message = Message::refused(refusal as u64);
        }
    }

    #[inline]
    fn carry_out(&mut self, request: Request, message: &mut Message) -> Result<(), Refusal> {
        let Self { gic, answer, .. } = self;
        match request {
            Request::Read {
                vcpu,
                offset,
                width,
            } => gic.read(vcpu, offset, width, answer)?,
            Request::Write {
                vcpu,
                offset,
                width,
                value,
            } => {
                gic.write(vcpu, offset, width, value, answer)?;
                self.publish_after_write(vcpu, offset);
            }
            Request::SetLine { vcpu, intid, level } => gic.set_line(vcpu, intid, level, answer)?,
            Request::Maintenance {
                vcpu,
                list_register,
            } => gic.maintenance(vcpu, list_register, answer)?,
            Request::Refill { vcpu } => gic.refill(vcpu, answer)?,
            Request::Power { vcpu, on } => gic.set_power(vcpu, on, answer)?,
            Request::Offer { vcpu } => gic.offer(vcpu, answer)?,
            _ => return self.carry_out_rarely(request, message),
        }
        self.answer.encode_into(message);
        Ok(())
    }

    /// The requests that no running guest causes.
    #[cold]
    fn carry_out_rarely(&mut self, request: Request, message: &mut Message) -> Result<(), Refusal> {
        let mut value = 0;
        match request {
            Request::ListRegisterEntries { vcpu, hold } => {
                *message = self.gic.entries(vcpu, hold)?.encode();
                return Ok(());
            }
            Request::Restore { vcpu } => {
                *message = self.gic.restore(vcpu)?.encode();
                return Ok(());
            }
            Request::Captured {
                vcpu,
                interface,
                found,
            } => {
                let answer = &mut self.answer;
                self.gic.captured(vcpu, interface, found, answer)?;
                value = answer.value;
            }
            Request::Export => value = self.export()?,
            Request::Import { length } => self.import(length)?,
            Request::Reset { vcpus } => {
                self.gic.reset(vcpus)?;
                self.publish_all();
            }
            _ => {}
        }
        *message = Answer::new(value).encode();
        Ok(())
    }

    fn export(&mut self) -> Result<u64, Refusal> {
        let exported = self.gic.export()?;
        let length = record::encode(&exported, self.regions.export());
        // What is exported is in range, and the region is larger than any record: system.xml.
        length
            .map(|length| length as u64)
            .map_err(|_| Refusal::OutOfRange)
    }

    fn import(&mut self, length: u32) -> Result<(), Refusal> {
        let length = usize::try_from(length).map_err(|_| Refusal::BadRecord)?;
        let bytes = self.regions.import(length).ok_or(Refusal::BadRecord)?;
        let imported = record::decode(bytes).map_err(|_| Refusal::BadRecord)?;
        self.gic.import(&imported)?;
        self.publish_all();
        Ok(())
    }

    #[inline]
    fn publish_after_write(&mut self, vcpu: VcpuId, offset: u32) {
        for word in Gic::view_after_write(offset) {
            let register = Register::at(word);
            for reader in self.gic.all().iter() {
                if reader == vcpu || register.is_shared() {
                    let value = self.gic.word(reader, register);
                    self.regions.publish(reader, word, value);
                }
            }
        }
    }

    fn publish_all(&mut self) {
        for word in Gic::view_offsets() {
            let register = Register::at(word);
            for reader in VcpuId::all() {
                let value = self.gic.word(reader, register);
                self.regions.publish(reader, word, value);
            }
        }
    }
}
