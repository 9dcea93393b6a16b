// SPDX-License-Identifier: BSD-2-Clause
//! The console: the PL011 UART, written without interrupts.
//!
//! Responsible for lines of the kernel's own. A domain may own the same UART; the two do not
//! coordinate, and the kernel writes only when it starts and when something has gone wrong.

use core::fmt;
use core::ptr::NonNull;

use safe_mmio::fields::{ReadPure, ReadPureWrite};
use safe_mmio::{UniqueMmioPointer, field, field_shared};

/// Physical address of the UART (QEMU's `hw/arm/virt.c`).
const UART: usize = 0x0900_0000;
/// Its place and size.
pub(crate) const DEVICE: (usize, usize) = (UART, 0x1000);

/// `UARTFR.TXFF`: no room for another byte (DDI 0183, 3.3.3).
const TRANSMIT_FULL: u32 = 1 << 5;
/// `UARTCR.UARTEN` and `TXE` (DDI 0183, 3.3.8).
const ENABLE_TRANSMIT: u32 = 1 | 1 << 8;

/// The UART's registers (DDI 0183, table 3-1).
#[repr(C, align(8))]
struct Pl011 {
    data: ReadPureWrite<u32>,
    reserved_0: [u32; 5],
    flag: ReadPure<u32>,
    reserved_1: [u32; 5],
    control: ReadPureWrite<u32>,
}

const _: () = assert!(core::mem::offset_of!(Pl011, flag) == 0x18);
const _: () = assert!(core::mem::offset_of!(Pl011, control) == 0x30);

/// The console.
pub(crate) struct Console(UniqueMmioPointer<'static, Pl011>);

impl Console {
    /// The console on the UART of QEMU's `virt` machine.
    ///
    /// # Safety
    ///
    /// The UART must be mapped as device memory at its physical address, or the MMU off. No two
    /// consoles may be in use at a time.
    pub(crate) const unsafe fn new() -> Self {
        match NonNull::new(core::ptr::without_provenance_mut(UART)) {
            // SAFETY: the caller vouches for the mapping and for being alone.
            Some(pointer) => Self(unsafe { UniqueMmioPointer::new(pointer) }),
            None => panic!("no device is at address 0"),
        }
    }

    /// Lets the UART transmit.
    pub(crate) fn start(&mut self) {
        let control = field_shared!(self.0, control).read();
        field!(self.0, control).write(control | ENABLE_TRANSMIT);
    }

    fn write_byte(&mut self, byte: u8) {
        while field_shared!(self.0, flag).read() & TRANSMIT_FULL != 0 {}
        field!(self.0, data).write(u32::from(byte));
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.write_byte(b'\r');
            }
            self.write_byte(byte);
        }
        Ok(())
    }
}
