// SPDX-License-Identifier: BSD-2-Clause
//! The console UART.
//!
//! Responsible for: passing bytes between one UART and `vmm-pd`, in order, both ways, asleep
//! whenever there is nothing to do. Must never: look at the bytes, or touch anything but the UART
//! and the two rings. A peer domain that is not to be understood is left alone for good, with the
//! UART silent, and so is a UART that does not answer.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use channel::ring::{Consumer, Duplex, Producer, RingError};
use drivers::{Rounds, Uart, UartError};

/// Bytes taken out of the ring at once: as much as a UART's FIFO holds.
const BATCH: usize = 32;

/// Why the console has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// `vmm-pd`'s fault.
    #[error("the ring with vmm-pd: {0}")]
    Ring(#[from] RingError),
    /// The device's fault.
    #[error(transparent)]
    Device(#[from] UartError),
}

/// The console: a UART and the rings with `vmm-pd`.
#[derive(Debug)]
pub struct Serial<U> {
    input: Input,
    output: Output,
    uart: U,
    stopped: bool,
    rests: bool,
}

impl<U: Uart> Serial<U> {
    /// A console whose input is switched on by the first [`Self::work`].
    pub const fn new(uart: U, rings: Duplex) -> Self {
        Self {
            input: Input {
                ring: rings.producer,
            },
            output: Output {
                ring: rings.consumer,
            },
            uart,
            stopped: false,
            rests: false,
        }
    }

    /// Whether everything that `vmm-pd` had to say has just gone, so that it is time for a rest: what it says meanwhile
    /// then goes in one go. A guest says one byte an exit, and to be woken for each costs more than all the rest.
    pub const fn rests(&self) -> bool {
        self.rests
    }

    /// Does everything that can be done now; to be called at the start, after the UART's interrupt
    /// and after a notification. True if `vmm-pd` is to be notified.
    ///
    /// # Errors
    ///
    /// `vmm-pd` has corrupted its ring, or the UART does not work. From then on the UART is silent, and what the guest says
    /// goes nowhere: it does not wait for a UART that takes nothing, and neither does whoever waits for its last words.
    pub fn work(&mut self) -> Result<bool, SerialError> {
        self.rests = false;
        if self.stopped {
            return Ok(self.output.discard());
        }
        if let Err(error) = self.serve() {
            self.stopped = true;
            self.uart.interrupt_on_input(false);
            self.uart.interrupt_on_room(false);
            return Err(error);
        }
        let input = self.input.ring.notify_due();
        let output = self.output.ring.notify_due();
        Ok(input || output)
    }

    /// Moves bytes until the UART has nothing more to say.
    fn serve(&mut self) -> Result<(), SerialError> {
        let mut rounds = Rounds::NONE;
        self.uart.check()?;
        loop {
            self.uart.acknowledge();
            let received = self.input.work(&mut self.uart)?;
            let sent = self.output.work(&mut self.uart)?;
            self.rests = (self.rests || sent) && self.output.ring.available()? == 0;
            if !self.uart.is_interrupting() {
                return Ok(());
            }
            rounds.count(received || sent).map_err(UartError::from)?;
        }
    }
}

/// From the UART to `vmm-pd`.
#[derive(Debug)]
struct Input {
    ring: Producer,
}

impl Input {
    /// True if a byte has come.
    fn work<U: Uart>(&mut self, uart: &mut U) -> Result<bool, RingError> {
        let mut moved = false;
        loop {
            let room = self.ring.grant(usize::MAX)?;
            let has_room = !room.is_empty();
            let count = uart.receive(room);
            self.ring.commit(count)?;
            moved |= count > 0;
            if has_room && count == 0 {
                uart.interrupt_on_input(true);
                return Ok(moved);
            }
            let half = self.ring.capacity().div_ceil(2);
            if self.ring.free()? == 0 && !self.ring.wait(half)? {
                // What arrives now waits in the UART; `vmm-pd` notifies when it has read.
                uart.interrupt_on_input(false);
                return Ok(moved);
            }
        }
    }
}

/// From `vmm-pd` to the UART. A byte is taken out of the ring when the UART has it, and not before: when the ring is empty
/// `vmm-pd` knows that everything has been said.
#[derive(Debug)]
struct Output {
    ring: Consumer,
}

impl Output {
    /// Takes everything and sends nothing. True if `vmm-pd` is to be notified.
    fn discard(&mut self) -> bool {
        while let Ok(count) = self.ring.available() {
            let taken = self.ring.consume(count).and_then(|()| self.ring.wait(0));
            if taken != Ok(true) {
                break;
            }
        }
        self.ring.notify_due()
    }

    /// True if a byte has gone.
    fn work<U: Uart>(&mut self, uart: &mut U) -> Result<bool, RingError> {
        let mut moved = false;
        loop {
            let mut batch = [0; BATCH];
            let count = self.ring.look(&mut batch)?;
            let sent = uart.transmit(batch.get(..count).unwrap_or_default());
            self.ring.consume(sent)?;
            moved |= sent > 0;
            if sent < count {
                uart.interrupt_on_room(true);
                return Ok(moved);
            }
            if count == 0 && !self.ring.wait(0)? {
                uart.interrupt_on_room(false);
                return Ok(moved);
            }
        }
    }
}

#[cfg(test)]
mod tests;
