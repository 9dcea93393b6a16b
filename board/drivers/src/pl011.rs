// SPDX-License-Identifier: BSD-2-Clause
//! Arm PrimeCell UART PL011 (DDI 0183G, chapter 3).
//!
//! Responsible for: 8 data bits, no parity, one stop bit, FIFOs, interrupts. Must never: depend on
//! how deep the FIFOs are beyond the 16 bytes that every revision has.

use crate::uart::check;
use crate::{Registers, Uart, UartError};
use bitflags::bitflags;

// Offsets of the registers (DDI 0183G, table 3-1).
const DR: usize = 0x000;
const FR: usize = 0x018;
const IBRD: usize = 0x024;
const FBRD: usize = 0x028;
const LCR_H: usize = 0x02c;
const CR: usize = 0x030;
const IFLS: usize = 0x034;
const IMSC: usize = 0x038;
const MIS: usize = 0x040;
const ICR: usize = 0x044;
const DMACR: usize = 0x048;

/// The least depth of a transmit FIFO (DDI 0183G, 1.2: 16 up to r1p4, 32 from r1p5).
const FIFO_DEPTH: usize = 16;
/// The most that a receive FIFO holds.
const DEEPEST_FIFO: usize = 32;
/// `UARTDR`: framing, parity or break error (DDI 0183G, 3.3.1). An overrun says nothing about the
/// byte that comes with it.
const DAMAGED: u32 = 0x700;
/// `UARTLCR_H`: `WLEN` = 8 bits, `FEN` (DDI 0183G, 3.3.7).
const LINE_8N1_FIFOS: u32 = 0b11 << 5 | 1 << 4;
/// `UARTCR`: `UARTEN`, `TXE`, `RXE` (DDI 0183G, 3.3.8).
const ENABLE: u32 = 1 | 1 << 8 | 1 << 9;
/// `UARTIFLS`: receive from half full on, transmit from an eighth down (DDI 0183G, 3.3.9): time to
/// answer before input is lost, and few interrupts for output.
const LEVELS: u32 = 0b010 << 3;

bitflags! {
    /// `UARTFR` (DDI 0183G, 3.3.3).
    #[derive(Clone, Copy)]
    struct Flags: u32 {
        const RXFE = 1 << 4;
        const TXFF = 1 << 5;
        const TXFE = 1 << 7;
        const _ = !0;
    }

    /// `UARTIMSC` and `UARTICR` (DDI 0183G, 3.3.10 and 3.3.13).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Interrupts: u32 {
        const RX = 1 << 4;
        const TX = 1 << 5;
        const RT = 1 << 6;
        const ALL = 0x7ff;
    }
}

/// A baud rate divisor in 64ths (DDI 0183G, 3.3.5 and 3.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Divisor(u32);

impl Divisor {
    /// The divisor for `baud` from a reference clock of `clock` hertz (`UARTCLK`): rounded to the
    /// nearest that the registers can express, 1 to 65,535 in whole numbers.
    const fn new(clock: u32, baud: u32) -> Self {
        let baud = if baud == 0 { 1 } else { baud as u64 };
        // clock / (16 * baud) in 64ths.
        let value = (clock as u64 * 4 + baud / 2) / baud;
        let (least, most) = (64, 0xffff << 6);
        #[expect(clippy::cast_possible_truncation, reason = "below 2^22")]
        Self(if value < least {
            least as u32
        } else if value > most {
            most as u32
        } else {
            value as u32
        })
    }
}

/// A PL011.
#[derive(Debug)]
pub struct Pl011<R> {
    registers: R,
    mask: Interrupts,
}

impl<R: Registers> Pl011<R> {
    /// Sets the UART up as DDI 0183G, 3.3.8 has it, for `baud` bits a second from a reference
    /// clock of `clock` hertz (`UARTCLK`), without interrupts. What is still in the FIFOs is lost.
    pub fn new(mut registers: R, clock: u32, baud: u32) -> Self {
        let divisor = Divisor::new(clock, baud);
        registers.write(CR, 0);
        // With FEN = 0 the FIFOs are flushed.
        registers.write(LCR_H, 0);
        registers.write(IBRD, divisor.0 >> 6);
        registers.write(FBRD, divisor.0 & 0x3f);
        // A write of LCR_H makes the divisor count.
        registers.write(LCR_H, LINE_8N1_FIFOS);
        registers.write(IFLS, LEVELS);
        registers.write(DMACR, 0);
        registers.write(IMSC, 0);
        registers.write(ICR, Interrupts::ALL.bits());
        registers.write(CR, ENABLE);
        Self {
            registers,
            mask: Interrupts::empty(),
        }
    }

    fn flags(&mut self) -> Flags {
        Flags::from_bits_retain(self.registers.read(FR))
    }

    fn set_mask(&mut self, interrupts: Interrupts, enabled: bool) {
        let before = self.mask;
        self.mask.set(interrupts, enabled);
        if self.mask != before {
            self.registers.write(IMSC, self.mask.bits());
        }
    }
}

impl<R: Registers> Uart for Pl011<R> {
    fn check(&mut self) -> Result<(), UartError> {
        check(LCR_H, LINE_8N1_FIFOS, self.registers.read(LCR_H))
    }

    fn transmit(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let flags = self.flags();
            // An empty FIFO takes so many without being asked about each.
            let room = if flags.contains(Flags::TXFE) {
                FIFO_DEPTH
            } else {
                usize::from(!flags.contains(Flags::TXFF))
            };
            if room == 0 {
                break;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            for byte in now {
                self.registers.write(DR, (*byte).into());
            }
            rest = later;
        }
        bytes.len() - rest.len()
    }

    fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let mut count = 0;
        for _ in 0..DEEPEST_FIFO {
            let Some(place) = bytes.get_mut(count) else {
                break;
            };
            if self.flags().contains(Flags::RXFE) {
                break;
            }
            let word = self.registers.read(DR);
            if word & DAMAGED == 0 {
                let [byte, ..] = word.to_le_bytes();
                *place = byte;
                count += 1;
            }
        }
        count
    }

    fn interrupt_on_room(&mut self, enabled: bool) {
        self.set_mask(Interrupts::TX, enabled);
    }

    fn interrupt_on_input(&mut self, enabled: bool) {
        self.set_mask(Interrupts::RX | Interrupts::RT, enabled);
    }

    /// Receive interrupts end when the data is read; clearing them would hide what is left in the
    /// FIFO until more arrives.
    fn acknowledge(&mut self) {
        let all_but_receive = Interrupts::ALL - (Interrupts::RX | Interrupts::RT);
        self.registers.write(ICR, all_but_receive.bits());
    }

    fn is_interrupting(&mut self) -> bool {
        self.registers.read(MIS) != 0
    }
}

#[cfg(any(test, feature = "host"))]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
