// SPDX-License-Identifier: BSD-2-Clause
//! The console: a PL011 (Arm DDI 0183), polled, and as its reset leaves it: like many a guest that was made for QEMU's
//! `virt`, this one never sets `UARTEN`, and sends a byte when the one before has left.

use core::fmt;

use crate::mmio;

/// Where the UART is, from the guest's machine as documented (QEMU's `virt` map).
pub const UART: usize = 0x0900_0000;
/// `UARTDR`, the data register (DDI 0183, 3.3.1).
pub const UARTDR: usize = UART;
/// `UARTFR`, the flag register (3.3.3).
pub const UARTFR: usize = UART + 0x18;
/// `UARTIMSC`, the interrupt mask (3.3.10).
const UARTIMSC: usize = UART + 0x38;

const FR_BUSY: u32 = 1 << 3;
const FR_RXFE: u32 = 1 << 4;

/// `RXIM`: interrupt when something was received.
const IMSC_RXIM: u32 = 1 << 4;

/// The UART. One vCPU writes to it.
#[derive(Debug)]
pub struct Console;

impl Console {
    /// Sends one byte when the UART is idle.
    pub fn send(byte: u8) {
        while mmio::read(UARTFR) & FR_BUSY != 0 {}
        mmio::write(UARTDR, u32::from(byte));
    }

    /// Whether its interrupt is raised for as long as something that was typed is there.
    pub fn interrupt_when_typed(interrupt: bool) {
        mmio::write(UARTIMSC, if interrupt { IMSC_RXIM } else { 0 });
    }

    /// A byte that was typed, if there is one.
    #[must_use]
    pub fn receive() -> Option<u8> {
        (mmio::read(UARTFR) & FR_RXFE == 0).then(|| mmio::read(UARTDR).to_le_bytes()[0])
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                Self::send(b'\r');
            }
            Self::send(byte);
        }
        Ok(())
    }
}

/// Prints a line on the console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        let _ = ::core::fmt::Write::write_fmt(
            &mut $crate::console::Console,
            ::core::format_args!("{}\n", ::core::format_args!($($argument)*)),
        );
    }};
}
