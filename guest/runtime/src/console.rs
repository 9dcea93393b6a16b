//! The console: a PL011 (Arm DDI 0183), polled. Already set up by whoever started the guest.

use core::fmt;

use crate::mmio;

/// Where the UART is, from the guest's machine as documented (QEMU's `virt` map).
pub const UART: usize = 0x0900_0000;
/// `UARTDR`, the data register (DDI 0183, 3.3.1).
pub const UARTDR: usize = UART;
/// `UARTFR`, the flag register (3.3.3).
pub const UARTFR: usize = UART + 0x18;
/// `UARTCR`, the control register (3.3.8).
const UARTCR: usize = UART + 0x30;

/// `UARTIMSC`, the interrupt mask (3.3.10).
const UARTIMSC: usize = UART + 0x38;

const FR_RXFE: u32 = 1 << 4;
const FR_TXFF: u32 = 1 << 5;
/// `UARTEN`, `TXE`, `RXE`.
const CR_ON: u32 = 1 << 0 | 1 << 8 | 1 << 9;

/// `RXIM`: interrupt when something was received.
const IMSC_RXIM: u32 = 1 << 4;

/// The UART. One vCPU writes to it.
#[derive(Debug)]
pub struct Console;

impl Console {
    /// Switches transmitter and receiver on.
    pub fn enable() {
        mmio::write(UARTCR, CR_ON);
    }

    /// Sends one byte when there is room.
    pub fn send(byte: u8) {
        while mmio::read(UARTFR) & FR_TXFF != 0 {}
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
