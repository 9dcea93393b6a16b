// SPDX-License-Identifier: BSD-2-Clause
//! A link over a serial line.
//!
//! Responsible for: bytes between a UART, the layer that makes a line reliable, and the rings.
//! Must never: leave received bytes in the UART: whoever has no room for them has not acknowledged
//! them either, and gets them again.

use crate::{Device, LinkError};
use channel::ring::{Consumer, Producer, RingError};
use drivers::{Rounds, Uart, UartError};
use line::{Board, LONGEST_MESSAGE, Sink};

/// Bytes taken from the UART at once.
const BATCH: usize = 64;
/// Batches taken before the line is looked at again: what the rounds are counted by.
const BATCHES: usize = 16;

/// A UART and the board's end of the line.
#[derive(Debug)]
pub struct SerialLink<U> {
    uart: U,
    board: Board,
    /// How many bytes the ring to `migration-pd` takes, as far as known.
    room: usize,
    /// A byte has come or gone in this round.
    moved: bool,
    rounds: Rounds,
}

/// The ring to `migration-pd`, as far as there is one.
struct Ring<'a> {
    ring: Option<&'a mut Producer>,
    room: usize,
    fault: Option<RingError>,
}

impl Sink for Ring<'_> {
    fn room(&mut self) -> usize {
        self.room
    }

    fn put(&mut self, bytes: &[u8]) {
        let Some(ring) = &mut self.ring else { return };
        match ring.push(bytes) {
            Ok(count) => self.room = self.room.saturating_sub(count),
            Err(error) => {
                self.room = 0;
                self.fault = Some(error);
            }
        }
    }
}

impl<U: Uart> SerialLink<U> {
    /// A link that waits for a host.
    pub const fn new(uart: U) -> Self {
        Self {
            uart,
            board: Board::new(LONGEST_MESSAGE),
            room: 0,
            moved: false,
            rounds: Rounds::NONE,
        }
    }

    /// Moves what is to go over the line into the UART; true if it took all of it.
    fn drain(&mut self) -> bool {
        let mut room = Ring {
            ring: None,
            room: self.room,
            fault: None,
        };
        loop {
            let bytes = self.board.output(&mut room);
            if bytes.is_empty() {
                return true;
            }
            let (wanted, count) = (bytes.len(), self.uart.transmit(bytes));
            self.board.sent(count);
            self.moved |= count > 0;
            if count < wanted {
                return false;
            }
        }
    }
}

impl<U: Uart> Device for SerialLink<U> {
    fn acknowledge(&mut self) -> Result<(), LinkError> {
        self.uart.check()?;
        self.uart.acknowledge();
        self.moved = false;
        Ok(())
    }

    fn send(&mut self, ring: &mut Consumer) -> Result<(), LinkError> {
        loop {
            let mut popped = Ok(0);
            let added = self.board.accept(|place| {
                popped = ring.pop(place);
                popped.unwrap_or(0)
            });
            popped?;
            let all = self.drain();
            self.uart.interrupt_on_room(!all);
            if added == 0 || !all {
                return Ok(());
            }
        }
    }

    fn receive(&mut self, ring: &mut Producer) -> Result<(), LinkError> {
        let mut sink = Ring {
            room: ring.free()?,
            ring: Some(ring),
            fault: None,
        };
        let mut batch = [0; BATCH];
        for _ in 0..BATCHES {
            let count = self.uart.receive(&mut batch);
            if count == 0 {
                break;
            }
            let bytes = batch.get(..count).unwrap_or_default();
            self.board.input(bytes, &mut sink);
            self.moved = true;
        }
        self.room = sink.room;
        sink.fault.map_or(Ok(()), |error| Err(error.into()))
    }

    fn wait(&mut self, _has_room: bool, ring: &mut Consumer) -> Result<bool, LinkError> {
        self.uart.interrupt_on_input(true);
        // With a full window it is the host's acknowledgement that lets things continue.
        let can_send = self.board.can_accept() && ring.wait(0)? && self.drain();
        if can_send || self.uart.is_interrupting() {
            let moved = self.moved || can_send;
            self.rounds.count(moved).map_err(UartError::from)?;
            return Ok(true);
        }
        self.rounds = Rounds::NONE;
        Ok(false)
    }

    fn silence(&mut self) {
        self.uart.interrupt_on_input(false);
        self.uart.interrupt_on_room(false);
    }
}
