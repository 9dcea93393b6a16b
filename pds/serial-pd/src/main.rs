// SPDX-License-Identifier: BSD-2-Clause
//! The console UART: the shell.
#![no_std]
#![no_main]

use channel::ids::serial::{INTERRUPT, VMM};
use channel::ring::Duplex;
use drivers::Mmio;
use memory_functions as _;
use sel4_microkit::{
    Channel, ChannelSet, DeferredAction, DeferredActionSlot, Handler, Infallible, debug_println,
    memory_region_symbol, protection_domain, var,
};
use serial_pd::Serial;

#[cfg(feature = "aux-uart")]
use drivers::AuxUart as BoardUart;
#[cfg(feature = "cadence-uart")]
use drivers::CadenceUart as BoardUart;
#[cfg(feature = "meson-uart")]
use drivers::MesonUart as BoardUart;
#[cfg(not(any(feature = "aux-uart", feature = "cadence-uart", feature = "meson-uart")))]
use drivers::Pl011 as BoardUart;

/// Sizes of the regions, as `system.xml` has them.
const UART_SIZE: usize = 0x1000;
const RING_SIZE: usize = 0x4000;

/// The domain.
struct Shell {
    serial: Serial<BoardUart<Mmio>>,
    deferred: DeferredActionSlot,
}

#[protection_domain]
fn init() -> Shell {
    let input = memory_region_symbol!(serial_to_vmm: *mut u8);
    let output = memory_region_symbol!(vmm_to_serial: *mut u8);
    // SAFETY: `system.xml` maps both regions with this size, the first for this domain alone to
    // write, and this runs once.
    let rings = unsafe { Duplex::new(input, RING_SIZE, output, RING_SIZE) };
    let rings = rings.unwrap_or_else(|error| panic!("{error}"));
    let mut shell = Shell {
        serial: Serial::new(uart(), rings),
        deferred: DeferredActionSlot::new(),
    };
    shell.work();
    shell
}

/// The board's UART. What differs between boards, the image builder writes into these variables.
fn uart() -> BoardUart<Mmio> {
    let page = memory_region_symbol!(console_uart: *mut u32);
    let clock = *var!(device_clock: u64 = 0);
    let baud = *var!(device_baud: u64 = 0);
    let offset = *var!(device_offset: u64 = 0);
    let offset = usize::try_from(offset).map_or(UART_SIZE, |offset| offset.min(UART_SIZE));
    // SAFETY: `system.xml` maps the page with the UART's registers there, uncached, and this runs
    // once. The offset stays within the page.
    let registers = unsafe { Mmio::new(page.byte_add(offset), UART_SIZE - offset) };
    let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    BoardUart::new(registers, word(clock), word(baud))
}

impl Shell {
    fn work(&mut self) {
        match self.serial.work() {
            Ok(true) => Channel::new(VMM).notify(),
            Ok(false) => {}
            Err(error) => {
                debug_println!("serial-pd: the console stops: {error}");
                // What waits goes nowhere, and who waits for it is told.
                if self.serial.work() == Ok(true) {
                    Channel::new(VMM).notify();
                }
            }
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
        } else if self.serial.rests() {
            // Until its next period.
            sel4::r#yield();
        }
        Ok(())
    }

    fn take_deferred_action(&mut self) -> Option<DeferredAction> {
        self.deferred.take()
    }
}
