// SPDX-License-Identifier: BSD-2-Clause
//! Whether a board can take a machine: what the guest sees must not change.

use super::{Core, ram_bytes};
use crate::bundle;
use crate::port::{Place, Port};
use crate::ram::GuestRam;
use protocol::failure::layout;
use protocol::heap;
use protocol::management::Phase;
use protocol::transfer::{Offer, OfferedBundle};
use protocol::{Domain, MoveFailure, kind};
use state::admission::{OtherCore, Refusal};
use state::coverage::beyond_records;
use state::{MachineRecordV2, Register, record};
use vm::PAGE_SIZE;

impl Core<'_> {
    /// Whether this board could take what is offered, leaving other moves aside.
    pub(super) fn admit<P: Port>(
        &mut self,
        port: &mut P,
        offer: &Offer,
        machine: &[u8],
    ) -> Result<(), MoveFailure> {
        self.look_at_guest(port);
        if let Some(leaving) = self.source.leaving() {
            return Err(MoveFailure::Busy { id: leaving.id });
        }
        if self.guest.phase() != Phase::Empty {
            return Err(MoveFailure::Occupied {
                phase: self.guest.phase(),
            });
        }
        let destination_bytes = ram_bytes(port);
        if offer.ram_bytes != destination_bytes {
            return Err(MoveFailure::RamSize {
                source_bytes: offer.ram_bytes,
                destination_bytes,
            });
        }
        if self.table.is_none() {
            return Err(MoveFailure::HeapTooSmall {
                needed: heap::needed(port.ram().pages()),
                available: self.heap_bytes,
            });
        }
        let theirs = decode(machine).ok_or(MoveFailure::Malformed { kind: kind::OFFER })?;
        let length = self
            .own_machine(port)
            .map_err(|reason| MoveFailure::Record {
                domain: Domain::Vmm,
                reason,
            })?;
        let ours = self.record.get(..length).and_then(decode);
        let ours = ours.ok_or(MoveFailure::Record {
            domain: Domain::Vmm,
            reason: 0,
        })?;
        let other_core = match offer.accept_core {
            true => OtherCore::Accepted,
            false => OtherCore::Refused,
        };
        compare(&theirs, &ours, other_core)?;
        self.look_for_bundle(port, offer.bundle)
    }

    /// Whether what the guest is started from is to be sent, and whether there is room for it.
    fn look_for_bundle<P: Port>(
        &mut self,
        port: &mut P,
        offered: Option<OfferedBundle>,
    ) -> Result<(), MoveFailure> {
        self.incoming.wanted = offered
            .filter(|offered| bundle::find(port, offered.identity, self.scratch.page).is_none());
        let room = port.bundle_pages(Place::Store);
        match self.incoming.wanted {
            Some(wanted) if wanted.pages > room => Err(MoveFailure::BundleRoom {
                needed: bytes_of(wanted.pages),
                available: bytes_of(room),
            }),
            _ => Ok(()),
        }
    }
}

const fn bytes_of(pages: u32) -> u64 {
    pages as u64 * PAGE_SIZE as u64
}

/// Whether a guest of this description has nothing that its records lack.
pub(super) fn check_coverage(machine: &[u8]) -> Result<(), MoveFailure> {
    let baseline = decode(machine).map(|machine| machine.baseline);
    let feature = baseline.and_then(|it| beyond_records(&it.constants));
    feature.map_or(Ok(()), |feature| Err(MoveFailure::State(feature)))
}

fn decode(bytes: &[u8]) -> Option<MachineRecordV2> {
    record::decode(bytes).ok()
}

/// Compares what the guest has seen with what it would see here.
fn compare(
    theirs: &MachineRecordV2,
    ours: &MachineRecordV2,
    other_core: OtherCore,
) -> Result<(), MoveFailure> {
    state::admission::compare(theirs, ours, other_core).map_err(|refusal| {
        if let Refusal::State { feature, .. } = refusal {
            return MoveFailure::State(feature);
        }
        let (item, needed, found) = match refusal {
            Refusal::RamBase {
                source_base,
                destination_base,
            } => (layout::RAM_BASE, source_base, destination_base),
            Refusal::RamSize { needed, available } => (layout::RAM_SIZE, needed, available),
            Refusal::Vcpus { needed, available } => {
                (layout::VCPUS, needed.into(), available.into())
            }
            Refusal::Gic { needed, available } => (layout::GIC, needed.into(), available.into()),
            Refusal::Interrupts { needed, available } => {
                (layout::INTERRUPTS, needed.into(), available.into())
            }
            Refusal::State { feature, .. } => (feature.register.identifier().value(), 0, 0),
            // That it can be read says that there is one to be had.
            Refusal::GuestDebug => (Register::MDRAR_EL1.identifier().value(), 1, 0),
            Refusal::Missing { register, .. } => (identifier(register), 0, 0),
            Refusal::Different {
                register,
                needed,
                found,
                ..
            }
            | Refusal::Field {
                register,
                needed,
                found,
                ..
            } => (identifier(register), needed, found),
        };
        MoveFailure::Machine {
            item,
            needed,
            found,
        }
    })
}

/// The public identifier of the register that has this name.
fn identifier(name: &str) -> u64 {
    Register::ALL
        .into_iter()
        .find(|register| register.name() == name)
        .map_or(0, |register| register.identifier().value())
}
