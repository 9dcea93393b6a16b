// SPDX-License-Identifier: BSD-2-Clause
//! A UART that behaves as the S905 datasheet says.

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

/// Bytes that each FIFO holds.
pub(crate) const DEPTH: usize = 64;

/// A UART whose line takes a byte only when the test says so.
#[derive(Debug, Default)]
pub struct Fake {
    pub(crate) control: u32,
    pub(crate) misc: u32,
    pub(crate) reg5: u32,
    pub(crate) errors: u32,
    pub(crate) transmit: VecDeque<u8>,
    pub(crate) receive: VecDeque<u8>,
    /// What has gone to the line.
    pub line: Vec<u8>,
    /// Pulses of the interrupt line.
    #[cfg(test)]
    pub(crate) pulses: usize,
}

impl Fake {
    fn on(&self, bit: u32) -> bool {
        self.control & 1 << bit != 0
    }

    #[cfg(test)]
    pub(crate) fn send(&mut self, count: usize) {
        for _ in 0..count {
            let before = self.transmit.len();
            self.line.extend(self.transmit.pop_front());
            let level = (self.misc >> 8 & 0xff) as usize;
            if self.on(28) && before >= level && self.transmit.len() < level {
                self.pulses += 1;
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn arrive(&mut self, bytes: &[u8]) {
        assert!(self.on(13), "the receiver is off");
        for byte in bytes {
            if self.receive.len() == DEPTH {
                self.errors |= 1 << 24;
            } else {
                self.receive.push_back(*byte);
            }
            if self.on(27) && self.receive.len() >= (self.misc & 0xff) as usize {
                self.pulses += 1;
            }
        }
    }
}

impl FakeUart for Fake {
    fn read(&mut self, offset: usize) -> u32 {
        match offset {
            READ_FIFO => self.receive.pop_front().expect("a byte").into(),
            STATUS => {
                u32::try_from(self.receive.len() | self.transmit.len() << 8).unwrap()
                    | self.errors
                    | u32::from(self.receive.len() == DEPTH) << 19
                    | u32::from(self.receive.is_empty()) << 20
                    | u32::from(self.transmit.len() == DEPTH) << 21
                    | u32::from(self.transmit.is_empty()) << 22
            }
            CONTROL => self.control,
            _ => panic!("unexpected read of {offset:#x}"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        match offset {
            WRITE_FIFO => {
                assert!(self.on(12), "the transmitter is off");
                assert!(!self.on(22), "the transmitter is held in reset");
                assert!(self.transmit.len() < DEPTH, "a byte is lost");
                self.transmit.push_back(value.to_le_bytes()[0]);
            }
            CONTROL => {
                self.control = value;
                if self.on(22) {
                    self.transmit.clear();
                }
                if self.on(23) {
                    self.receive.clear();
                }
                if self.on(24) {
                    self.errors = 0;
                }
            }
            MISC => self.misc = value,
            REG5 => self.reg5 = value,
            _ => panic!("unexpected write of {offset:#x}"),
        }
    }

    fn has_room(&self) -> bool {
        self.on(13) && self.receive.len() < DEPTH
    }

    fn receive_byte(&mut self, byte: u8) {
        self.receive.push_back(byte);
    }

    fn send_byte(&mut self) -> Option<u8> {
        self.transmit.pop_front()
    }

    fn is_interrupting(&self) -> bool {
        let (receive, transmit) = (
            (self.misc & 0xff) as usize,
            (self.misc >> 8 & 0xff) as usize,
        );
        self.on(27) && self.receive.len() >= receive
            || self.on(28) && self.transmit.len() < transmit
    }

    fn enabled(&self) -> (bool, bool) {
        (self.on(27), self.on(28))
    }
}
