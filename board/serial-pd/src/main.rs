//! The console UART: the shell.
#![no_std]
#![no_main]

use channel::ids::serial::{INTERRUPT, VMM};
use channel::ring::Duplex;
use drivers::{Divisor, Mmio, Pl011};
use memory_functions as _;
use sel4_microkit::{
    Channel, ChannelSet, DeferredAction, DeferredActionSlot, Handler, Infallible, debug_println,
    memory_region_symbol, protection_domain,
};
use serial_pd::Serial;

/// Sizes of the regions, as `system.xml` has them.
const UART_SIZE: usize = 0x1000;
const RING_SIZE: usize = 0x4000;
/// `UARTCLK` of QEMU's virt board in hertz, and the line's speed: QEMU heeds neither.
const DIVISOR: Divisor = Divisor::new(24_000_000, 115_200);

/// The domain.
struct Shell {
    serial: Serial<Pl011<Mmio>>,
    deferred: DeferredActionSlot,
}

#[protection_domain]
fn init() -> Shell {
    let uart = memory_region_symbol!(console_uart: *mut u32);
    let input = memory_region_symbol!(serial_to_vmm: *mut u8);
    let output = memory_region_symbol!(vmm_to_serial: *mut u8);
    // SAFETY: `system.xml` maps the UART's registers there, uncached, and this runs once.
    let registers = unsafe { Mmio::new(uart, UART_SIZE) };
    // SAFETY: `system.xml` maps both regions with this size, the first for this domain alone to
    // write, and this runs once.
    let rings = unsafe { Duplex::new(input, RING_SIZE, output, RING_SIZE) };
    let rings = rings.unwrap_or_else(|error| panic!("{error}"));
    let mut shell = Shell {
        serial: Serial::new(Pl011::new(registers, DIVISOR), rings),
        deferred: DeferredActionSlot::new(),
    };
    shell.work();
    shell
}

impl Shell {
    fn work(&mut self) {
        match self.serial.work() {
            Ok(true) => Channel::new(VMM).notify(),
            Ok(false) => {}
            Err(error) => debug_println!("serial-pd: vmm-pd is not to be understood: {error}"),
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
