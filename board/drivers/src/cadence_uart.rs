// SPDX-License-Identifier: BSD-2-Clause
//! The Cadence UART of the Zynq UltraScale+ MPSoC (UG1085, chapter 21; UG1087, module UART).
//!
//! Responsible for: 8 data bits, no parity, one stop bit, FIFOs, interrupts. Must never: rely on
//! FIFOs deeper than 16 bytes: the device has 64, QEMU's model of it 16.
//!
//! Errors on the line are counted by the device for the FIFO as a whole, not for one byte: a
//! damaged byte is passed on. A link over this UART checks for itself; a console shows it.

use crate::uart::check;
use crate::{Registers, Uart, UartError};
use bitflags::bitflags;

// Offsets of the registers (UG1087, module UART).
const CONTROL: usize = 0x00;
const MODE: usize = 0x04;
const INTERRUPT_ENABLE: usize = 0x08;
const INTERRUPT_DISABLE: usize = 0x0c;
const INTERRUPT_STATUS: usize = 0x14;
const BAUD_GENERATOR: usize = 0x18;
const RECEIVE_TIMEOUT: usize = 0x1c;
const RECEIVE_TRIGGER: usize = 0x20;
const STATUS: usize = 0x2c;
const FIFO: usize = 0x30;
const BAUD_DIVIDER: usize = 0x34;

bitflags! {
    /// `Control`.
    struct Control: u32 {
        const RECEIVE_RESET = 1 << 0;
        const TRANSMIT_RESET = 1 << 1;
        const RECEIVE_ENABLE = 1 << 2;
        const RECEIVE_DISABLE = 1 << 3;
        const TRANSMIT_ENABLE = 1 << 4;
        const TRANSMIT_DISABLE = 1 << 5;
        const TIMEOUT_RESTART = 1 << 6;
    }

    /// `Channel_sts`, and with the same meaning the low bits of the interrupts.
    #[derive(Clone, Copy)]
    struct Status: u32 {
        const RECEIVE_TRIGGER = 1 << 0;
        const RECEIVE_EMPTY = 1 << 1;
        const TRANSMIT_EMPTY = 1 << 3;
        const TRANSMIT_FULL = 1 << 4;
        const _ = !0;
    }

    /// `Intrpt_en`, `Intrpt_dis`, `Chnl_int_sts`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Interrupts: u32 {
        const RECEIVE_TRIGGER = 1 << 0;
        const TRANSMIT_EMPTY = 1 << 3;
        const RECEIVE_TIMEOUT = 1 << 8;
        const ALL = 0x1fff;
    }
}

/// `mode`: the reference clock as it is, 8 bits, no parity, one stop bit, no loopback.
const MODE_8N1: u32 = 0b100 << 3;
/// Bytes that go through either FIFO at once: all of the shallowest, and so few of the device's 64
/// that at 921,600 bits a second there is half a millisecond left to answer.
const BATCH: usize = 16;
/// Bytes that each of the device's FIFOs holds.
const FIFO_DEPTH: usize = 64;
/// `Rcvr_FIFO_trigger_level`.
const TRIGGER_LEVEL: u32 = 16;
const _: () = assert!(TRIGGER_LEVEL as usize == BATCH);
/// `Rcvr_timeout`, in units of four bits: what came is handed over after a pause of four bytes.
const TIMEOUT: u32 = 10;

/// A baud rate: `clock / (generator * (divider + 1))` (UG1085, chapter 21, "Baud Rate
/// Generator").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Divisors {
    generator: u32,
    divider: u32,
}

impl Divisors {
    /// The divisors that come closest to `baud` from a reference clock of `clock` hertz.
    fn new(clock: u32, baud: u32) -> Self {
        let baud = u64::from(baud.max(1));
        let clock = u64::from(clock);
        let candidate = |divider: u32| {
            let step = baud * u64::from(divider + 1);
            let generator = ((clock + step / 2) / step).clamp(1, 0xffff);
            let actual = clock / (generator * u64::from(divider + 1));
            let divisors = Self {
                generator: u32::try_from(generator).unwrap_or(0xffff),
                divider,
            };
            (actual.abs_diff(baud), divisors)
        };
        // More samples a bit (a larger divider) are better: they come first among equals.
        (4..=255)
            .rev()
            .map(candidate)
            .min_by_key(|(error, _)| *error)
            .map_or_else(|| candidate(255).1, |(_, divisors)| divisors)
    }
}

/// A Cadence UART.
#[derive(Debug)]
pub struct CadenceUart<R> {
    registers: R,
    mask: Interrupts,
    /// Nothing has come for a while, and what is there has not been taken yet.
    paused: bool,
}

impl<R: Registers> CadenceUart<R> {
    /// Sets the UART up (UG1085, chapter 21, "UART Controller Configuration") for `baud` bits a
    /// second from a reference clock of `clock` hertz, without interrupts. What is still in the
    /// FIFOs is lost.
    pub fn new(mut registers: R, clock: u32, baud: u32) -> Self {
        let divisors = Divisors::new(clock, baud);
        let mut set = |offset, value| registers.write(offset, value);
        set(INTERRUPT_DISABLE, Interrupts::ALL.bits());
        set(
            CONTROL,
            (Control::RECEIVE_DISABLE | Control::TRANSMIT_DISABLE).bits(),
        );
        set(MODE, MODE_8N1);
        set(BAUD_GENERATOR, divisors.generator);
        set(BAUD_DIVIDER, divisors.divider);
        set(
            CONTROL,
            (Control::RECEIVE_RESET | Control::TRANSMIT_RESET).bits(),
        );
        set(RECEIVE_TRIGGER, TRIGGER_LEVEL);
        set(RECEIVE_TIMEOUT, TIMEOUT);
        set(INTERRUPT_STATUS, Interrupts::ALL.bits());
        set(
            CONTROL,
            (Control::RECEIVE_ENABLE | Control::TRANSMIT_ENABLE | Control::TIMEOUT_RESTART).bits(),
        );
        Self {
            registers,
            mask: Interrupts::empty(),
            paused: false,
        }
    }

    fn status(&mut self) -> Status {
        Status::from_bits_retain(self.registers.read(STATUS))
    }

    fn set_mask(&mut self, interrupts: Interrupts, enabled: bool) {
        if self.mask.contains(interrupts) == enabled {
            return;
        }
        self.mask.set(interrupts, enabled);
        let register = if enabled {
            INTERRUPT_ENABLE
        } else {
            INTERRUPT_DISABLE
        };
        self.registers.write(register, interrupts.bits());
    }
}

impl<R: Registers> Uart for CadenceUart<R> {
    fn check(&mut self) -> Result<(), UartError> {
        check(MODE, MODE_8N1, self.registers.read(MODE))
    }

    fn transmit(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let status = self.status();
            let room = if status.contains(Status::TRANSMIT_EMPTY) {
                BATCH
            } else if status.contains(Status::TRANSMIT_FULL) {
                break;
            } else {
                1
            };
            for byte in rest.iter().take(room) {
                self.registers.write(FIFO, (*byte).into());
                sent += 1;
            }
        }
        sent
    }

    /// Whole batches, each known to be there by one look at the status, and fewer only after a
    /// pause: to take byte after byte as they come costs an interrupt, or a look, for each. What is
    /// left is part of the next batch, or announced when the pause is.
    fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let mut taken = 0;
        let most = bytes.len().min(FIFO_DEPTH);
        while let Some(rest) = bytes.get_mut(taken..most).filter(|rest| !rest.is_empty()) {
            let status = self.status();
            let there = if status.contains(Status::RECEIVE_TRIGGER) {
                BATCH
            } else if status.contains(Status::RECEIVE_EMPTY) {
                self.paused = false;
                break;
            } else if self.paused {
                1
            } else {
                break;
            };
            for place in rest.iter_mut().take(there) {
                let [byte, ..] = self.registers.read(FIFO).to_le_bytes();
                *place = byte;
                taken += 1;
            }
        }
        taken
    }

    fn interrupt_on_room(&mut self, enabled: bool) {
        self.set_mask(Interrupts::TRANSMIT_EMPTY, enabled);
    }

    fn interrupt_on_input(&mut self, enabled: bool) {
        self.set_mask(
            Interrupts::RECEIVE_TRIGGER | Interrupts::RECEIVE_TIMEOUT,
            enabled,
        );
    }

    /// The status holds what has happened until it is written. What is still the case, such as
    /// an empty FIFO, it shows again.
    fn acknowledge(&mut self) {
        let happened = self.registers.read(INTERRUPT_STATUS);
        self.paused |= happened & Interrupts::RECEIVE_TIMEOUT.bits() != 0;
        self.registers.write(INTERRUPT_STATUS, happened);
    }

    fn is_interrupting(&mut self) -> bool {
        self.registers.read(INTERRUPT_STATUS) & self.mask.bits() != 0
    }
}

#[cfg(any(test, feature = "host"))]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
