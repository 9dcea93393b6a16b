// SPDX-License-Identifier: BSD-2-Clause
//! The port, for the agent: channels, rings, regions, the counter.

mod memory;

use channel::ring::Duplex;
use channel::{Message, ProtocolError, ids, microkit, timer, vgic, vmm};
use memory::Ram;
use migration_pd::copier::Compressor;
use migration_pd::port::{Place, Port};
use migration_pd::ram::GuestRam;
use protocol::fingerprint::Page;
use protocol::heap::MAX_RECORD;
use protocol::{Domain, Pace};
use region::Region;
use sel4_microkit::{Channel, memory_region_symbol, var};

/// Bytes of `timer-pd`'s regions (`system.xml`); those of the others have [`MAX_RECORD`].
const TIMER_RECORD: usize = 0x1000;

/// What the domain has been given.
pub(crate) struct Shell {
    ram: Ram,
    image: Ram,
    store: Ram,
    rings: Duplex,
    exports: [Region; 3],
    imports: [Region; 3],
}

impl Shell {
    /// The shell, and the memory that the agent works in. Called once.
    pub(crate) fn new() -> (Self, &'static mut [u8], &'static mut Compressor) {
        /// Too large for the stack.
        static mut COMPRESSOR: Compressor = Compressor::small();
        let compressor = &raw mut COMPRESSOR;
        // SAFETY: this runs once, and nothing else names it.
        let compressor = unsafe { &mut *compressor };
        let heap = memory_region_symbol!(migration_heap: *mut u8);
        let heap_size = *var!(migration_heap_size: usize = 0);
        // SAFETY: `system.xml` maps the region, zero, with this size for this domain alone, and
        // this runs once.
        let heap = unsafe { core::slice::from_raw_parts_mut(heap.as_ptr(), heap_size) };
        let shell = Self {
            ram: ram(),
            image: image(),
            store: store(),
            rings: rings(),
            exports: exports(),
            imports: imports(),
        };
        (shell, heap, compressor)
    }
}

fn ram() -> Ram {
    let ram = memory_region_symbol!(guest_ram: *mut u8);
    let size = *var!(guest_ram_size: usize = 0);
    // SAFETY: `system.xml` maps the region with this size for reading and writing, and no
    // reference is ever made into it.
    unsafe { Ram::new(ram, size) }
}

fn image() -> Ram {
    let image = memory_region_symbol!(guest_bundle: *mut u8);
    let size = *var!(guest_bundle_size: usize = 0);
    // SAFETY: `system.xml` maps the region with this size, and no reference is ever made into it. It is for reading:
    // [`Port::store`] is the only writer of bundles, and writes the other one.
    unsafe { Ram::new(image, size) }
}

fn store() -> Ram {
    let store = memory_region_symbol!(bundle_store: *mut u8);
    let size = *var!(bundle_store_size: usize = 0);
    // SAFETY: `system.xml` maps the region with this size for reading and writing, and no reference is ever made into
    // it.
    unsafe { Ram::new(store, size) }
}

fn rings() -> Duplex {
    let sent = memory_region_symbol!(migration_to_link: *mut u8);
    let received = memory_region_symbol!(link_to_migration: *mut u8);
    let sent_size = *var!(migration_to_link_size: usize = 0);
    let received_size = *var!(link_to_migration_size: usize = 0);
    // SAFETY: `system.xml` maps both regions with these sizes, the first for this domain alone to
    // write, and this runs once.
    let rings = unsafe { Duplex::new(sent, sent_size, received, received_size) };
    rings.unwrap_or_else(|error| panic!("{error}"))
}

fn exports() -> [Region; 3] {
    let vmm = memory_region_symbol!(vmm_export: *mut u8);
    let vgic = memory_region_symbol!(vgic_export: *mut u8);
    let timer = memory_region_symbol!(timer_export: *mut u8);
    // SAFETY: `system.xml` maps these regions for reading, with these sizes.
    unsafe {
        [
            Region::new(vmm, MAX_RECORD),
            Region::new(vgic, MAX_RECORD),
            Region::new(timer, TIMER_RECORD),
        ]
    }
}

fn imports() -> [Region; 3] {
    let vmm = memory_region_symbol!(vmm_import: *mut u8);
    let vgic = memory_region_symbol!(vgic_import: *mut u8);
    let timer = memory_region_symbol!(timer_import: *mut u8);
    // SAFETY: `system.xml` maps these regions with these sizes, for this domain alone to write.
    unsafe {
        [
            Region::new(vmm, MAX_RECORD),
            Region::new(vgic, MAX_RECORD),
            Region::new(timer, TIMER_RECORD),
        ]
    }
}

fn choose<T>([vmm, vgic, timer]: &mut [T; 3], domain: Domain) -> &mut T {
    match domain {
        Domain::Vmm => vmm,
        Domain::Vgic => vgic,
        Domain::Timer => timer,
    }
}

impl Shell {
    const fn bundle(&self, place: Place) -> &Ram {
        match place {
            Place::Image => &self.image,
            Place::Store => &self.store,
        }
    }
}

impl Port for Shell {
    type Ram = Ram;

    fn ram(&mut self) -> &mut Ram {
        &mut self.ram
    }

    fn bundle_pages(&self, place: Place) -> u32 {
        self.bundle(place).pages()
    }

    fn bundle_page(&self, place: Place, page: u32, into: &mut Page) {
        self.bundle(place).read(page, into);
    }

    fn store(&mut self, page: u32, from: &Page) {
        self.store.write(page, from);
    }

    fn vmm(&mut self, request: &vmm::Request) -> Result<Message, ProtocolError> {
        microkit::call(Channel::new(ids::migration::VMM), &request.encode())
    }

    fn vgic(&mut self, request: &vgic::Request) -> Result<Message, ProtocolError> {
        microkit::call(Channel::new(ids::migration::VGIC), &request.encode())
    }

    fn timer(&mut self, request: &timer::Request) -> Result<Message, ProtocolError> {
        microkit::call(Channel::new(ids::migration::TIMER), &request.encode())
    }

    fn exported(&mut self, domain: Domain, into: &mut [u8]) -> bool {
        choose(&mut self.exports, domain).get(0, into)
    }

    fn import(&mut self, domain: Domain, record: &[u8]) -> bool {
        choose(&mut self.imports, domain).put(0, record)
    }

    #[inline]
    fn now(&mut self) -> u64 {
        counter::count()
    }

    fn frequency(&self) -> u64 {
        counter::frequency().max(1).into()
    }

    fn ask_for_heartbeat(&mut self) {
        Channel::new(ids::migration::HEARTBEAT).notify();
    }

    fn pace(&self) -> Pace {
        let baud = *var!(link_baud: u64 = 0);
        Pace::line(u32::try_from(baud).unwrap_or(u32::MAX))
    }

    // A peer domain whose counters contradict ours is as good as one that sends and takes nothing:
    // the move ends for silence.

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.rings.producer.push(bytes).unwrap_or(0)
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        self.rings.consumer.pop(into).unwrap_or(0)
    }

    fn flush(&mut self) {
        let sent = self.rings.producer.notify_due();
        let taken = self.rings.consumer.notify_due();
        if sent || taken {
            Channel::new(ids::migration::LINK).notify();
        }
    }

    fn wait(&mut self, space: usize) -> bool {
        let bytes = self.rings.consumer.wait(0).unwrap_or(false);
        let room = space > 0 && self.rings.producer.wait(space).unwrap_or(false);
        bytes || room
    }
}
