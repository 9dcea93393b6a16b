// SPDX-License-Identifier: BSD-2-Clause
//! A PL011 that behaves as DDI 0183G says.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test's own mistakes may panic"
)]

extern crate std;

use super::*;
use crate::fake::FakeUart;
use std::collections::VecDeque;
use std::vec::Vec;

const RX: u32 = 1 << 4;
const TX: u32 = 1 << 5;
const RT: u32 = 1 << 6;

/// A UART whose line takes a byte only when the test says so.
#[derive(Debug, Default)]
pub struct Fake {
    pub(crate) registers: [u32; 0x13],
    pub(crate) transmit: VecDeque<u8>,
    pub(crate) receive: VecDeque<u16>,
    /// What has gone to the line.
    pub line: Vec<u8>,
    pub(crate) raw: u32,
    pub(crate) flag_reads: usize,
}

impl Fake {
    pub(crate) fn stored(&self, offset: usize) -> u32 {
        self.registers[offset / 4]
    }

    fn depth(&self) -> usize {
        if self.stored(LCR_H) & 1 << 4 != 0 {
            16
        } else {
            1
        }
    }

    pub(crate) fn interrupts(&self) -> bool {
        self.raw & self.stored(IMSC) != 0
    }

    #[cfg(test)]
    pub(crate) fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.line.extend(self.transmit.pop_front());
            // An eighth of the FIFO, on the way down.
            if self.transmit.len() == 2 {
                self.raw |= TX;
            }
        }
    }

    pub(crate) fn arrive(&mut self, word: u16) {
        assert!(self.receive.len() < self.depth(), "overrun");
        self.receive.push_back(word);
        self.raw |= if self.receive.len() >= 8 { RX | RT } else { RT };
    }
}

impl FakeUart for Fake {
    fn read(&mut self, offset: usize) -> u32 {
        match offset {
            DR => {
                let word = self.receive.pop_front().expect("read of an empty FIFO");
                if self.receive.len() < 8 {
                    self.raw &= !RX;
                }
                if self.receive.is_empty() {
                    self.raw &= !RT;
                }
                word.into()
            }
            FR => {
                self.flag_reads += 1;
                u32::from(self.receive.is_empty()) << 4
                    | u32::from(self.transmit.len() == self.depth()) << 5
                    | u32::from(self.transmit.is_empty()) << 7
            }
            LCR_H => self.stored(LCR_H),
            MIS => self.raw & self.stored(IMSC),
            _ => panic!("unexpected read of {offset:#x}"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        match offset {
            DR => {
                assert_eq!(self.stored(CR) & 0x101, 0x101, "transmitter is off");
                assert!(self.transmit.len() < self.depth(), "write to a full FIFO");
                self.transmit.push_back(value.to_le_bytes()[0]);
                if self.transmit.len() > 2 {
                    self.raw &= !TX;
                }
            }
            ICR => self.raw &= !value,
            IBRD | FBRD | LCR_H | IFLS if self.stored(CR) & 1 != 0 => {
                panic!("{offset:#x} written while the UART is on")
            }
            _ => self.registers[offset / 4] = value,
        }
    }

    fn has_room(&self) -> bool {
        self.stored(CR) & 0x201 == 0x201 && self.receive.len() < self.depth()
    }

    fn receive_byte(&mut self, byte: u8) {
        self.arrive(byte.into());
    }

    fn send_byte(&mut self) -> Option<u8> {
        let byte = self.transmit.pop_front();
        if byte.is_some() && self.transmit.len() == 2 {
            self.raw |= TX;
        }
        byte
    }

    fn is_interrupting(&self) -> bool {
        self.interrupts()
    }

    fn enabled(&self) -> (bool, bool) {
        let mask = self.stored(IMSC);
        (mask & (RX | RT) != 0, mask & TX != 0)
    }
}
