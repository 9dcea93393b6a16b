//! The migration and management link: the shell.
#![no_std]
#![no_main]

use channel::ids::link::{INTERRUPT, MIGRATION};
use channel::ring::Duplex;
use drivers::virtio::{MmioTransport, Port, VirtIOHeader};
use link_pd::{Link, VirtioLink};
use memory_functions as _;
use sel4_microkit::{
    Channel, ChannelSet, DeferredAction, DeferredActionSlot, Handler, Infallible, debug_println,
    memory_region_symbol, protection_domain, var,
};

/// The size of a virtio-mmio device's registers (Virtio 1.2, 4.2.2), and of the page it is in.
const DEVICE_SIZE: usize = 0x200;
const PAGE_SIZE: usize = 0x1000;

/// The domain.
struct Shell {
    link: Link<VirtioLink<MmioTransport<'static>>>,
    deferred: DeferredActionSlot,
}

#[protection_domain]
fn init() -> Shell {
    let mut shell = Shell {
        link: Link::new(device(), rings()),
        deferred: DeferredActionSlot::new(),
    };
    shell.work();
    shell
}

fn rings() -> Duplex {
    let received = memory_region_symbol!(link_to_migration: *mut u8);
    let sent = memory_region_symbol!(migration_to_link: *mut u8);
    let received_size = *var!(link_to_migration_size: usize = 0);
    let sent_size = *var!(migration_to_link_size: usize = 0);
    // SAFETY: `system.xml` maps both regions with these sizes, the first for this domain alone to
    // write, and this runs once.
    let rings = unsafe { Duplex::new(received, received_size, sent, sent_size) };
    rings.unwrap_or_else(|error| panic!("{error}"))
}

fn device() -> VirtioLink<MmioTransport<'static>> {
    let page = memory_region_symbol!(link_device: *mut u8);
    let queues = memory_region_symbol!(link_queues: *mut u8);
    let queues_physical = *var!(link_queues_paddr: u64 = 0);
    let sent_physical = *var!(migration_to_link_paddr: u64 = 0);
    // Which of the devices in the page, the image builder writes there.
    let offset = *var!(device_offset: u64 = 0);
    let offset = usize::try_from(offset).unwrap_or(0);
    let offset = offset.min(PAGE_SIZE - DEVICE_SIZE);
    // SAFETY: `system.xml` maps the page with the device's registers there, uncached, for this
    // domain alone, and this runs once. The device stays within the page.
    let transport = unsafe {
        let header = page.add(offset).cast::<VirtIOHeader>();
        MmioTransport::new(header, DEVICE_SIZE)
    };
    let transport = transport.unwrap_or_else(|error| panic!("{error}"));
    // SAFETY: `system.xml` maps a region of the size of a `PortMemory` there, zero, for this
    // domain alone, and gives its physical address; this runs once.
    let port = unsafe { Port::new(transport, queues.cast(), queues_physical) };
    VirtioLink::new(
        port.unwrap_or_else(|error| panic!("{error}")),
        sent_physical,
    )
}

impl Shell {
    fn work(&mut self) {
        match self.link.work() {
            Ok(true) => Channel::new(MIGRATION).notify(),
            Ok(false) => {}
            Err(error) => debug_println!("link-pd: the link stops: {error}"),
        }
    }
}

impl Handler for Shell {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        self.work();
        let interrupt = Channel::new(INTERRUPT);
        if channels.contains(interrupt) {
            // The slot is empty: an action is taken out before the next event.
            let _ = self.deferred.defer_irq_ack(interrupt);
        }
        Ok(())
    }

    fn take_deferred_action(&mut self) -> Option<DeferredAction> {
        self.deferred.take()
    }
}
