// SPDX-License-Identifier: BSD-2-Clause
//! The link's device where it is a virtio console, from the variables that the image holds.

use drivers::virtio::{MmioTransport, Port, VirtIOHeader};
use link_pd::VirtioLink;
use sel4_microkit::{memory_region_symbol, var};

/// The size of a virtio-mmio device's registers (Virtio 1.2, 4.2.2), and of the page it is in.
const DEVICE_SIZE: usize = 0x200;
const PAGE_SIZE: usize = 0x1000;

/// The link's device.
pub(crate) type BoardLink = VirtioLink<MmioTransport<'static>>;

/// The device, set up. Called once.
pub(crate) fn device() -> BoardLink {
    let page = memory_region_symbol!(link_device: *mut u8);
    let queues = memory_region_symbol!(link_queues: *mut u8);
    let queues_physical = *var!(link_queues_paddr: u64 = 0);
    let sent_physical = *var!(migration_to_link_paddr: u64 = 0);
    // Which of the devices in the page.
    let offset = *var!(device_offset: u64 = 0);
    let last = PAGE_SIZE - DEVICE_SIZE;
    let offset = usize::try_from(offset).map_or(last, |offset| offset.min(last));
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
    let port = port.unwrap_or_else(|error| panic!("{error}"));
    VirtioLink::new(port, sent_physical)
}
