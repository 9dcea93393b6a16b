// SPDX-License-Identifier: BSD-2-Clause
//! The migration and management link: the shell.
#![no_std]
#![no_main]

use channel::ids::link::{INTERRUPT, MIGRATION};
use channel::ring::Duplex;
use link_pd::Link;
use memory_functions as _;
use sel4_microkit::{
    Channel, ChannelSet, DeferredAction, DeferredActionSlot, Handler, Infallible, debug_println,
    memory_region_symbol, protection_domain, var,
};

#[cfg(any(feature = "cadence-uart", feature = "meson-uart", feature = "pl011"))]
#[path = "shell/serial.rs"]
mod serial;
#[cfg(not(any(feature = "cadence-uart", feature = "meson-uart", feature = "pl011")))]
#[path = "shell/virtio.rs"]
mod virtio;
#[cfg(any(feature = "cadence-uart", feature = "meson-uart", feature = "pl011"))]
use serial::{BoardLink, device};
#[cfg(not(any(feature = "cadence-uart", feature = "meson-uart", feature = "pl011")))]
use virtio::{BoardLink, device};

/// The domain.
struct Shell {
    link: Link<BoardLink>,
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
