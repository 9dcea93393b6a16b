// SPDX-License-Identifier: BSD-2-Clause
//! The mini UART of the BCM2711 (BCM2711 ARM Peripherals, section 2.2; the BCM2835's errata on `AUX_MU_IER_REG` and
//! `AUX_MU_LCR_REG` apply).
//!
//! Responsible for: 8 data bits, FIFOs, interrupts. The baud rate is the firmware's: it follows the VPU's clock, which only
//! the firmware knows. Must never: enable the device (`AUX_ENABLES` lies beside it, and is shared with SPI); firmware
//! that was told `enable_uart=1` has.

use crate::uart::check;
use crate::{Registers, Uart, UartError};
use bitflags::bitflags;

// Offsets of the registers from `AUX_MU_IO_REG` (BCM2711 ARM Peripherals, 2.2.2).
const IO: usize = 0x00;
const IER: usize = 0x04;
const IIR: usize = 0x08;
const LCR: usize = 0x0c;
const MCR: usize = 0x10;
const CNTL: usize = 0x20;
const STAT: usize = 0x24;

/// Bytes that each FIFO holds.
const FIFO_DEPTH: usize = 8;
/// `AUX_MU_LCR_REG`: 8 bits, which takes both bits (errata).
const LINE_8: u32 = 0b11;
/// `AUX_MU_IIR_REG`, written: both FIFOs are emptied.
const CLEAR_FIFOS: u32 = 0b110;
/// `AUX_MU_CNTL_REG`: receiver and transmitter; neither RTS nor CTS.
const ENABLE: u32 = 0b11;

bitflags! {
    /// `AUX_MU_IER_REG` (errata: receive is bit 0, and needs bits 2 and 3).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Interrupts: u32 {
        const RECEIVE = 0b1101;
        const TRANSMIT = 0b10;
    }

    /// `AUX_MU_STAT_REG`.
    #[derive(Clone, Copy)]
    struct Status: u32 {
        const SYMBOL_AVAILABLE = 1;
        const SPACE_AVAILABLE = 1 << 1;
        const TRANSMIT_EMPTY = 1 << 8;
        const _ = !0;
    }
}

/// A mini UART.
#[derive(Debug)]
pub struct AuxUart<R> {
    registers: R,
    enabled: Interrupts,
}

impl<R: Registers> AuxUart<R> {
    /// Sets the UART up without interrupts, at the baud rate that it has. What is still in the FIFOs is lost.
    pub fn new(mut registers: R, _clock: u32, _baud: u32) -> Self {
        registers.write(CNTL, 0);
        registers.write(IER, 0);
        registers.write(IIR, CLEAR_FIFOS);
        registers.write(LCR, LINE_8);
        registers.write(MCR, 0);
        registers.write(CNTL, ENABLE);
        Self {
            registers,
            enabled: Interrupts::empty(),
        }
    }

    fn status(&mut self) -> Status {
        Status::from_bits_retain(self.registers.read(STAT))
    }

    fn set_interrupt(&mut self, interrupt: Interrupts, enabled: bool) {
        let before = self.enabled;
        self.enabled.set(interrupt, enabled);
        if self.enabled != before {
            self.registers.write(IER, self.enabled.bits());
        }
    }
}

impl<R: Registers> Uart for AuxUart<R> {
    fn check(&mut self) -> Result<(), UartError> {
        check(LCR, LINE_8, self.registers.read(LCR))
            .and_then(|()| check(CNTL, ENABLE, self.registers.read(CNTL)))
    }

    fn transmit(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        for byte in bytes.iter().take(FIFO_DEPTH) {
            if !self.status().contains(Status::SPACE_AVAILABLE) {
                break;
            }
            self.registers.write(IO, (*byte).into());
            sent += 1;
        }
        sent
    }

    /// It does not say which bytes were damaged.
    fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let mut taken = 0;
        for place in bytes.iter_mut().take(FIFO_DEPTH) {
            if !self.status().contains(Status::SYMBOL_AVAILABLE) {
                break;
            }
            let [byte, ..] = self.registers.read(IO).to_le_bytes();
            *place = byte;
            taken += 1;
        }
        taken
    }

    fn interrupt_on_room(&mut self, enabled: bool) {
        self.set_interrupt(Interrupts::TRANSMIT, enabled);
    }

    fn interrupt_on_input(&mut self, enabled: bool) {
        self.set_interrupt(Interrupts::RECEIVE, enabled);
    }

    /// The interrupts follow from the FIFOs.
    fn acknowledge(&mut self) {}

    /// It interrupts when there is anything to take, and when nothing is left to send.
    fn is_interrupting(&mut self) -> bool {
        let status = self.status();
        self.enabled.contains(Interrupts::RECEIVE) && status.contains(Status::SYMBOL_AVAILABLE)
            || self.enabled.contains(Interrupts::TRANSMIT)
                && status.contains(Status::TRANSMIT_EMPTY)
    }
}

#[cfg(any(test, feature = "host"))]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
