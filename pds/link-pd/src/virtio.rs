// SPDX-License-Identifier: BSD-2-Clause
//! A link over a port of a virtio console.
//!
//! Responsible for: which pieces of the ring are on their way. What is sent is read by the device
//! straight out of `migration-pd`'s region. Must never: release a byte that the device may still
//! read.

use crate::{Device, LinkError};
use channel::ring::{Consumer, Producer, Span};
use drivers::Rounds;
use drivers::virtio::{Piece, Port, Transport, VirtioError};

/// The longest piece handed to the device at once: a ring of 1 MiB is at most 16 of them, which is
/// what a queue holds, and `migration-pd` can refill the first while the others are under way.
const PIECE: usize = 0x1_0000;

/// A port and where the ring to send from lies.
#[derive(Debug)]
pub struct VirtioLink<T: Transport> {
    port: Port<T>,
    /// The physical address of `migration-pd`'s region.
    physical: u64,
    /// How many bytes at the ring's front are on their way.
    under_way: usize,
    /// In which the interrupt line was up for nothing.
    rounds: Rounds,
}

impl<T: Transport> VirtioLink<T> {
    /// A link that sends from the region at the physical address given.
    pub const fn new(port: Port<T>, physical: u64) -> Self {
        Self {
            port,
            physical,
            under_way: 0,
            rounds: Rounds::NONE,
        }
    }

    /// Releases what the device has sent. True if that was anything.
    fn reclaim(&mut self, ring: &mut Consumer) -> Result<bool, LinkError> {
        let sent = self.port.sent()?;
        ring.consume(sent)?;
        self.under_way -= sent;
        Ok(sent > 0)
    }

    /// Hands over a piece from the front of `span`; returns its length, 0 if the device has no
    /// room.
    fn hand_over(&mut self, span: Span) -> usize {
        let length = span.length.min(PIECE);
        #[expect(clippy::cast_possible_truncation, reason = "at most PIECE")]
        let piece = Piece {
            address: self.physical + span.offset as u64,
            length: length as u32,
        };
        if length > 0 && self.port.send(piece) {
            self.under_way += length;
            length
        } else {
            0
        }
    }
}

impl<T: Transport> Device for VirtioLink<T> {
    fn acknowledge(&mut self) -> Result<(), LinkError> {
        // Until `wait`: what comes meanwhile is found without.
        self.silence();
        Ok(self.port.acknowledge()?)
    }

    fn send(&mut self, ring: &mut Consumer) -> Result<(), LinkError> {
        loop {
            self.reclaim(ring)?;
            let [span, _] = ring.peek(self.under_way)?;
            if self.hand_over(span) == 0 {
                break;
            }
        }
        self.port.start();
        Ok(())
    }

    fn receive(&mut self, ring: &mut Producer) -> Result<(), LinkError> {
        loop {
            let count = self.port.receive(ring.grant(usize::MAX)?)?;
            ring.commit(count)?;
            if count == 0 {
                break;
            }
        }
        self.port.resume();
        Ok(())
    }

    fn wait(&mut self, has_room: bool, ring: &mut Consumer) -> Result<bool, LinkError> {
        let has_come = self.port.wait(has_room, self.port.is_sending());
        let can_send = self.port.can_send() && ring.wait(self.under_way)?;
        if has_come || can_send {
            self.rounds = Rounds::NONE;
            return Ok(true);
        }
        if !self.port.take_interrupt() {
            return Ok(false);
        }
        self.rounds.count(false).map_err(VirtioError::from)?;
        Ok(true)
    }

    fn silence(&mut self) {
        // What has come does not matter any more.
        let _ = self.port.wait(false, false);
    }
}
