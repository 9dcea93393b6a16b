// SPDX-License-Identifier: BSD-2-Clause
//! The console device's part of `vmm-pd`'s record: a PL011 (DDI 0183).
//!
//! Responsible for: the registers and FIFO contents of the UART that the guest sees, and what was typed and waits for room
//! in it. Never: what `serial-pd` has taken to print; that belongs to the board's terminal.

use crate::record::RecordError;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// How deep the receive FIFO is (`UARTPeriphID2` revision 3 and above have 32, which the guest is not told).
pub const RECEIVE_FIFO: usize = 16;

/// The console device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConsoleRecordV1 {
    /// `UARTCR`.
    pub control: u16,
    /// `UARTLCR_H`.
    pub line_control: u8,
    /// `UARTIBRD`.
    pub integer_baud_rate: u16,
    /// `UARTFBRD`.
    pub fractional_baud_rate: u8,
    /// `UARTIFLS`.
    pub fifo_levels: u8,
    /// `UARTIMSC`.
    pub interrupt_mask: u16,
    /// `UARTRIS`.
    pub raw_interrupts: u16,
    /// `UARTDMACR`.
    pub dma_control: u8,
    /// `UARTILPR`.
    pub low_power: u8,
    /// `UARTRSR`.
    pub receive_status: u8,
    /// What was received and not read: `UARTDR` with its four error bits, oldest first.
    pub received: Vec<u16, RECEIVE_FIFO>,
}

/// How many bytes that were typed and wait travel at most: as many as the ring from `serial-pd` holds (`system.xml`).
pub const MAX_WAITING: usize = 0x4000 - 64;

/// How deep the transmit FIFO is.
pub const TRANSMIT_FIFO: usize = 16;

/// The console device, and what waits on either side of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConsoleRecordV2 {
    /// The device.
    pub device: ConsoleRecordV1,
    /// What the guest has written and the line has not taken, oldest first.
    pub unsent: Vec<u8, TRANSMIT_FIFO>,
    /// What was typed and the receive FIFO had no room for, oldest first.
    pub waiting: Vec<u8, MAX_WAITING>,
}

impl ConsoleRecordV1 {
    pub(crate) fn check(&self) -> Result<(), RecordError> {
        let limits = [
            ("UARTFBRD", self.fractional_baud_rate.into(), 0x3f),
            ("UARTIFLS", self.fifo_levels.into(), 0x3f),
            ("UARTIMSC", self.interrupt_mask.into(), 0x7ff),
            ("UARTRIS", self.raw_interrupts.into(), 0x7ff),
            ("UARTDMACR", self.dma_control.into(), 0x7),
            ("UARTRSR", self.receive_status.into(), 0xf),
        ];
        let received = self
            .received
            .iter()
            .map(|word| ("UARTDR", u64::from(*word), 0xfff));
        match limits
            .into_iter()
            .chain(received)
            .find(|(_, value, limit)| value > limit)
        {
            Some((field, value, _)) => Err(RecordError::Range { field, value }),
            None => Ok(()),
        }
    }
}
