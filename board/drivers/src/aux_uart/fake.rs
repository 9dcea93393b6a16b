// SPDX-License-Identifier: BSD-2-Clause
//! A mini UART that behaves as BCM2711 ARM Peripherals says, with the errata.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test's own mistakes may panic"
)]

extern crate std;

use super::*;
use crate::fake::FakeUart;
use std::collections::VecDeque;

/// A UART whose line takes a byte only when the test says so.
#[derive(Debug, Default)]
pub struct Fake {
    pub(crate) interrupts: u32,
    pub(crate) line_control: u32,
    pub(crate) control: u32,
    pub(crate) transmit: VecDeque<u8>,
    pub(crate) receive: VecDeque<u8>,
}

impl FakeUart for Fake {
    fn read(&mut self, offset: usize) -> u32 {
        match offset {
            IO => self.receive.pop_front().expect("a byte").into(),
            IER => self.interrupts,
            LCR => self.line_control,
            CNTL => self.control,
            STAT => {
                let (receive, transmit) = (self.receive.len(), self.transmit.len());
                u32::from(receive > 0)
                    | u32::from(transmit < FIFO_DEPTH) << 1
                    | u32::from(transmit == 0) << 8
                    | u32::try_from(receive << 16 | transmit << 24).unwrap()
            }
            _ => panic!("unexpected read of {offset:#x}"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        match offset {
            IO => {
                assert!(self.control & 0b10 != 0, "the transmitter is off");
                assert!(self.transmit.len() < FIFO_DEPTH, "a byte is lost");
                self.transmit.push_back(value.to_le_bytes()[0]);
            }
            IER => self.interrupts = value & 0xf,
            IIR => {
                if value & 0b10 != 0 {
                    self.receive.clear();
                }
                if value & 0b100 != 0 {
                    self.transmit.clear();
                }
            }
            LCR => self.line_control = value & 0xc3,
            MCR => assert_eq!(value, 0, "RTS is low"),
            CNTL => self.control = value & 0xff,
            _ => panic!("unexpected write of {offset:#x}"),
        }
    }

    fn has_room(&self) -> bool {
        self.control & 1 != 0 && self.receive.len() < FIFO_DEPTH
    }

    fn receive_byte(&mut self, byte: u8) {
        self.receive.push_back(byte);
    }

    fn send_byte(&mut self) -> Option<u8> {
        self.transmit.pop_front()
    }

    fn is_interrupting(&self) -> bool {
        let (receive, transmit) = self.enabled();
        receive && !self.receive.is_empty() || transmit && self.transmit.is_empty()
    }

    fn enabled(&self) -> (bool, bool) {
        (
            self.interrupts & 0b1101 == 0b1101,
            self.interrupts & 0b10 != 0,
        )
    }
}
