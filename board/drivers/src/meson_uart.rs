// SPDX-License-Identifier: BSD-2-Clause
//! The UART of Amlogic's Meson SoCs (S905 datasheet, revision 1.1.4, section "UART"; the S905X3's
//! is the same).
//!
//! Responsible for: 8 data bits, no parity, one stop bit, FIFOs, interrupts. Must never: rely on
//! FIFOs deeper than 64 bytes, which all of them have.
//!
//! Receive and transmit share an interrupt, which the device trees call edge-triggered. Whether the line is a level, the
//! causes or'd, or pulses for each byte, no document says: everything here goes by what the status says, which is right
//! for both.

use crate::uart::check;
use crate::{Registers, Uart, UartError};
use bitflags::bitflags;

// Offsets of the registers (S905 datasheet, "UART", register description).
const WRITE_FIFO: usize = 0x00;
const READ_FIFO: usize = 0x04;
const CONTROL: usize = 0x08;
const STATUS: usize = 0x0c;
const MISC: usize = 0x10;
const REG5: usize = 0x14;

/// Bytes that each FIFO holds.
const FIFO_DEPTH: usize = 64;

bitflags! {
    /// `UART_CONTROL`. Parity, stop bits and length are zero: none, one, eight.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Control: u32 {
        const TRANSMIT_ENABLE = 1 << 12;
        const RECEIVE_ENABLE = 1 << 13;
        /// No CTS and RTS.
        const TWO_WIRE = 1 << 15;
        const TRANSMIT_RESET = 1 << 22;
        const RECEIVE_RESET = 1 << 23;
        const CLEAR_ERRORS = 1 << 24;
        const RECEIVE_INTERRUPT = 1 << 27;
        const TRANSMIT_INTERRUPT = 1 << 28;
    }

    /// `UART_STATUS`.
    #[derive(Clone, Copy)]
    struct Status: u32 {
        /// A parity or framing error, or a byte written to a full FIFO, since it was cleared.
        const ERRORS = 0b111 << 16;
        const RECEIVE_EMPTY = 1 << 20;
        const TRANSMIT_FULL = 1 << 21;
        const _ = !0;
    }
}

/// `UART_REG5`: the divisor below counts, and it divides a third of the crystal's clock.
const USE_NEW_BAUD: u32 = 1 << 23;
const USE_CRYSTAL: u32 = 1 << 24;
const CRYSTAL_PRESCALER: u32 = 3;
/// Bits of the divisor in `UART_REG5`.
const DIVISOR: u32 = 0x7f_ffff;
/// `UART_MISC`: interrupt from one received byte on, and when fewer than 32 are left to send.
const LEVELS: u32 = 32 << 8 | 1;

/// What `UART_REG5` is for `baud` bits a second from a crystal of `clock` hertz.
fn divisor(clock: u32, baud: u32) -> u32 {
    let (clock, baud) = (clock / CRYSTAL_PRESCALER, baud.max(1));
    let count = (u64::from(clock) + u64::from(baud) / 2) / u64::from(baud);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most a u32 divided by 3"
    )]
    let count = count.saturating_sub(1) as u32;
    USE_NEW_BAUD | USE_CRYSTAL | count.min(DIVISOR)
}

/// A Meson UART.
#[derive(Debug)]
pub struct MesonUart<R> {
    registers: R,
    control: Control,
}

impl<R: Registers> MesonUart<R> {
    /// Sets the UART up for `baud` bits a second from a crystal of `clock` hertz, without
    /// interrupts. What is still in the FIFOs is lost.
    pub fn new(mut registers: R, clock: u32, baud: u32) -> Self {
        let control = Control::TWO_WIRE | Control::TRANSMIT_ENABLE | Control::RECEIVE_ENABLE;
        let reset = Control::TRANSMIT_RESET | Control::RECEIVE_RESET | Control::CLEAR_ERRORS;
        registers.write(CONTROL, (Control::TWO_WIRE | reset).bits());
        registers.write(REG5, divisor(clock, baud));
        registers.write(MISC, LEVELS);
        registers.write(CONTROL, control.bits());
        Self { registers, control }
    }

    fn status(&mut self) -> Status {
        Status::from_bits_retain(self.registers.read(STATUS))
    }

    fn set_interrupt(&mut self, interrupt: Control, enabled: bool) {
        let before = self.control;
        self.control.set(interrupt, enabled);
        if self.control != before {
            self.registers.write(CONTROL, self.control.bits());
        }
    }
}

impl<R: Registers> Uart for MesonUart<R> {
    /// What `UART_CONTROL` keeps; the others of its bits are pulses.
    fn check(&mut self) -> Result<(), UartError> {
        let kept = Control::all() - Control::CLEAR_ERRORS;
        let found = self.registers.read(CONTROL) & kept.bits();
        check(CONTROL, self.control.bits(), found)
    }

    fn transmit(&mut self, bytes: &[u8]) -> usize {
        for (count, byte) in bytes.iter().enumerate() {
            if self.status().contains(Status::TRANSMIT_FULL) {
                return count;
            }
            self.registers.write(WRITE_FIFO, (*byte).into());
        }
        bytes.len()
    }

    /// The status counts errors since it was cleared and not by byte: a damaged byte is passed on.
    fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let mut taken = 0;
        for place in bytes.iter_mut().take(FIFO_DEPTH) {
            if self.status().contains(Status::RECEIVE_EMPTY) {
                break;
            }
            let [byte, ..] = self.registers.read(READ_FIFO).to_le_bytes();
            *place = byte;
            taken += 1;
        }
        taken
    }

    fn interrupt_on_room(&mut self, enabled: bool) {
        self.set_interrupt(Control::TRANSMIT_INTERRUPT, enabled);
    }

    fn interrupt_on_input(&mut self, enabled: bool) {
        self.set_interrupt(Control::RECEIVE_INTERRUPT, enabled);
    }

    /// The interrupts follow from the FIFOs; errors are all that is to be cleared.
    fn acknowledge(&mut self) {
        if self.status().intersects(Status::ERRORS) {
            let clear = self.control | Control::CLEAR_ERRORS;
            self.registers.write(CONTROL, clear.bits());
            self.registers.write(CONTROL, self.control.bits());
        }
    }

    /// One look at the status for both causes: with a look for each, one could come while the other is looked at.
    fn is_interrupting(&mut self) -> bool {
        let status = self.status();
        let on = |interrupt| self.control.contains(interrupt);
        on(Control::RECEIVE_INTERRUPT) && !status.contains(Status::RECEIVE_EMPTY)
            || on(Control::TRANSMIT_INTERRUPT) && !status.contains(Status::TRANSMIT_FULL)
    }
}

#[cfg(any(test, feature = "host"))]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
