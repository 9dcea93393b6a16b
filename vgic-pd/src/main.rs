// SPDX-License-Identifier: BSD-2-Clause
//! `vgic-pd`, the shell: requests from channels, state from and into memory regions.
//!
//! Responsible for: the memory regions and channels that `system.xml` gives this domain. Must
//! never: decide.
#![no_std]
#![no_main]

use channel::vgic::DISTRIBUTOR_SIZE;
use channel::{MAX_VCPUS, Message, VcpuId, ids, microkit};
use core::ptr::NonNull;
use memory_functions as _;
use region::Region;
use sel4_microkit::{
    Channel, ChannelSet, Handler, Infallible, MessageInfo, memory_region_symbol, protection_domain,
};
use vgic_pd::{Caller, MAX_RECORD, Regions, Service};

/// Bytes of a vCPU's page of the published view.
const PAGE: usize = DISTRIBUTOR_SIZE as usize;
/// Bytes of the regions for records (`system.xml`).
const RECORD_REGION: usize = 0x8000;

const _: () = assert!(MAX_RECORD <= RECORD_REGION);

/// The regions as they are mapped.
struct Memory {
    view: NonNull<[u32]>,
    export: Region,
    import: Region,
    /// What was imported last, out of the peer domain's reach.
    copy: [u8; MAX_RECORD],
}

impl Regions for Memory {
    #[inline]
    fn publish(&mut self, vcpu: VcpuId, offset: u32, word: u32) {
        let index = (vcpu.index() * PAGE + offset as usize) / size_of::<u32>();
        if offset < DISTRIBUTOR_SIZE && index < self.view.len() {
            // SAFETY: within the region, which is mapped and writable; volatile, because `vmm-pd`
            // reads it.
            unsafe { self.view.cast::<u32>().add(index).write_volatile(word) }
        }
    }

    fn export(&mut self) -> &mut [u8] {
        // SAFETY: no other domain can write the region (`system.xml`), and this domain only through the slice that
        // borrows `self`.
        unsafe { self.export.owned() }
    }

    fn import(&mut self, length: usize) -> Option<&[u8]> {
        let copy = self.copy.get_mut(..length)?;
        self.import.get(0, copy).then_some(&*copy)
    }
}

/// The domain.
struct Vgic {
    service: Service<Memory>,
    /// The message that is being handled.
    message: Message,
}

#[protection_domain]
fn init() -> Vgic {
    // SAFETY: the regions are mapped and as long (`system.xml`), and no reference points into them.
    let record = |base| unsafe { Region::new(base, RECORD_REGION) };
    Vgic {
        service: Service::new(Memory {
            view: memory_region_symbol!(vgic_view: *mut [u32], n = MAX_VCPUS * PAGE / 4),
            export: record(memory_region_symbol!(vgic_export: *mut u8)),
            import: record(memory_region_symbol!(vgic_import: *mut u8)),
            copy: [0; MAX_RECORD],
        }),
        message: Message::new(0),
    }
}

impl Handler for Vgic {
    type Error = Infallible;

    #[inline]
    fn protected(
        &mut self,
        channel: Channel,
        info: MessageInfo,
    ) -> Result<MessageInfo, Infallible> {
        let caller = match channel.index() {
            ids::vgic::VMM => Some(Caller::Vmm),
            ids::vgic::MIGRATION => Some(Caller::Migration),
            _ => None,
        };
        match (caller, microkit::take_into(&info, &mut self.message)) {
            (Some(caller), Ok(())) => self.service.handle(caller, &mut self.message),
            _ => self.message = Message::not_understood(),
        }
        Ok(microkit::put(&self.message))
    }

    /// No channel of this domain is for notifications.
    fn notified(&mut self, _: ChannelSet) -> Result<(), Infallible> {
        Ok(())
    }
}
