// SPDX-License-Identifier: BSD-2-Clause
//! The link's device where it is a UART, from the variables that the image holds.

use drivers::Mmio;
use link_pd::SerialLink;
use sel4_microkit::{memory_region_symbol, var};

#[cfg(feature = "cadence-uart")]
use drivers::CadenceUart as BoardUart;
#[cfg(feature = "meson-uart")]
use drivers::MesonUart as BoardUart;
#[cfg(feature = "pl011")]
use drivers::Pl011 as BoardUart;

/// The size of the page with the UART (`system.xml`).
const PAGE_SIZE: usize = 0x1000;

/// The link's device.
pub(crate) type BoardLink = SerialLink<BoardUart<Mmio>>;

/// The device, set up. Called once.
pub(crate) fn device() -> BoardLink {
    let page = memory_region_symbol!(link_device: *mut u32);
    let clock = *var!(device_clock: u64 = 0);
    let baud = *var!(device_baud: u64 = 0);
    let offset = *var!(device_offset: u64 = 0);
    // What only a link over virtio uses, `system.xml` sets all the same.
    let _ = memory_region_symbol!(link_queues: *mut u8);
    let _ = *var!(link_queues_paddr: u64 = 0);
    let _ = *var!(migration_to_link_paddr: u64 = 0);
    let offset = usize::try_from(offset).map_or(PAGE_SIZE, |offset| offset.min(PAGE_SIZE));
    // SAFETY: `system.xml` maps the page with the UART's registers there, uncached, for this
    // domain alone, and this runs once. The offset stays within the page.
    let registers = unsafe { Mmio::new(page.byte_add(offset), PAGE_SIZE - offset) };
    let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    SerialLink::new(BoardUart::new(registers, word(clock), word(baud)))
}
