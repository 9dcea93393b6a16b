// SPDX-License-Identifier: BSD-2-Clause
//! A UART that behaves as UG1085 and UG1087 say.

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
    pub(crate) mode: u32,
    pub(crate) enabled: u32,
    pub(crate) happened: u32,
    pub(crate) generator: u32,
    pub(crate) divider: u32,
    pub(crate) trigger: usize,
    pub(crate) timeout: u32,
    pub(crate) transmit: VecDeque<u8>,
    pub(crate) receive: VecDeque<u8>,
    /// What has gone to the line.
    pub line: Vec<u8>,
    /// How often the status was read.
    pub(crate) looks: usize,
}

impl Fake {
    fn status(&self) -> u32 {
        u32::from(self.receive.len() >= self.trigger)
            | u32::from(self.receive.is_empty()) << 1
            | u32::from(self.receive.len() == DEPTH) << 2
            | u32::from(self.transmit.is_empty()) << 3
            | u32::from(self.transmit.len() == DEPTH) << 4
    }

    fn latch(&mut self) {
        self.happened |= self.status();
    }

    pub(crate) fn interrupts(&self) -> bool {
        self.happened & self.enabled != 0
    }

    #[cfg(test)]
    pub(crate) fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.line.extend(self.transmit.pop_front());
        }
        self.latch();
    }

    pub(crate) fn arrive(&mut self, bytes: &[u8]) {
        self.receive.extend(bytes);
        assert!(self.receive.len() <= DEPTH, "overrun");
        self.latch();
    }

    /// The line is idle for longer than the timeout.
    pub(crate) fn pause(&mut self) {
        self.happened |= u32::from(self.timeout != 0) << 8;
    }
}

impl FakeUart for Fake {
    fn read(&mut self, offset: usize) -> u32 {
        match offset {
            STATUS => {
                self.looks += 1;
                self.status()
            }
            INTERRUPT_STATUS => self.happened,
            FIFO => self.receive.pop_front().expect("a byte").into(),
            MODE => self.mode,
            _ => panic!("unexpected read of {offset:#x}"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        let configuring = self.control & 0b1_0100 == 0;
        match offset {
            CONTROL => {
                if value & 1 != 0 {
                    self.receive.clear();
                }
                if value & 2 != 0 {
                    self.transmit.clear();
                }
                // The resets and the restart are gone at once.
                self.control = value & !0b100_0011;
                if self.control & 0b10_1000 != 0 {
                    self.control &= !0b1_0100;
                }
            }
            MODE => {
                assert!(configuring);
                self.mode = value;
            }
            BAUD_GENERATOR => {
                assert!(configuring);
                self.generator = value;
            }
            BAUD_DIVIDER => {
                assert!(configuring);
                self.divider = value;
            }
            INTERRUPT_ENABLE => self.enabled |= value,
            INTERRUPT_DISABLE => self.enabled &= !value,
            INTERRUPT_STATUS => {
                self.happened &= !value;
                self.latch();
            }
            RECEIVE_TIMEOUT => self.timeout = value,
            RECEIVE_TRIGGER => self.trigger = value as usize,
            FIFO => {
                assert_ne!(self.control & 1 << 4, 0, "the transmitter is off");
                assert!(self.transmit.len() < DEPTH, "a byte is lost");
                self.transmit.push_back(value.to_le_bytes()[0]);
            }
            _ => panic!("unexpected write of {offset:#x}"),
        }
    }

    fn has_room(&self) -> bool {
        self.control & 1 << 2 != 0 && self.receive.len() < DEPTH
    }

    fn receive_byte(&mut self, byte: u8) {
        self.arrive(&[byte]);
    }

    fn send_byte(&mut self) -> Option<u8> {
        let byte = self.transmit.pop_front();
        self.latch();
        byte
    }

    fn idle(&mut self) {
        self.pause();
    }

    fn is_interrupting(&self) -> bool {
        self.interrupts()
    }

    fn enabled(&self) -> (bool, bool) {
        (self.enabled & (1 << 8 | 1) != 0, self.enabled & 1 << 3 != 0)
    }
}
