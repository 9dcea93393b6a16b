// SPDX-License-Identifier: BSD-2-Clause
//! A board's link over a serial line: both ends of the layer that makes it reliable, and the harm between them.
//!
//! Responsible for: carrying the real bytes of the protocol between an agent's rings and the host. Never: knows what
//! they are.

use crate::hardware::Hardware;
use crate::harm::{Harm, Way};
use line::{Board, Host, LONGEST_MESSAGE, Millis, Sink};
use protocol::Pace;
use std::collections::VecDeque;

/// The ZCU102's baud rate.
pub(crate) const BAUD: u32 = 921_600;
/// Bytes that it carries in a millisecond, each way.
const SPEED: usize = BAUD as usize / 10_000;
/// Bytes of a ring, and of what a host keeps for whoever reads.
const ROOM: usize = 1 << 16;

/// Received bytes that nobody has taken yet.
struct Shelf<'a>(&'a mut VecDeque<u8>);

impl Sink for Shelf<'_> {
    fn room(&mut self) -> usize {
        ROOM.saturating_sub(self.0.len())
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

/// The line of one board.
pub(crate) struct Serial {
    host: Host,
    board: Board,
    to_board: Way,
    to_host: Way,
    now: Millis,
    /// What the host has to say to the board.
    pub(crate) from_host: VecDeque<u8>,
    /// What the host has heard from the board.
    pub(crate) at_host: VecDeque<u8>,
    /// How many bytes have gone over the line, both ways.
    pub(crate) carried: usize,
}

impl Serial {
    pub(crate) fn new(harm: Harm, seed: u64) -> Self {
        Self {
            host: Host::new(7, BAUD, 0),
            board: Board::new(LONGEST_MESSAGE),
            to_board: Way::new(harm, seed),
            to_host: Way::new(harm, seed.rotate_left(32) ^ 0x5555),
            now: 0,
            from_host: VecDeque::new(),
            at_host: VecDeque::new(),
            carried: 0,
        }
    }

    pub(crate) const fn pace() -> Pace {
        Pace::line(BAUD)
    }

    /// What becomes of bytes from now on.
    pub(crate) const fn set_harm(&mut self, harm: Harm) {
        self.to_board.harm = harm;
        self.to_host.harm = harm;
    }

    /// When the line does something next, in ticks of the world's clock.
    pub(crate) const fn next_event(&self) -> u64 {
        (self.now + 1) * 1000
    }

    /// Lets the line continue until `now`, in ticks; true if that brought or took anything.
    pub(crate) fn carry(&mut self, now: u64, hardware: &mut Hardware) -> bool {
        let mut any = false;
        while self.next_event() <= now {
            self.now += 1;
            any |= self.step(hardware);
        }
        any
    }

    fn step(&mut self, hardware: &mut Hardware) -> bool {
        let before = (self.at_host.len(), hardware.received.len());
        let arrived = self.to_board.take(self.now);
        self.board
            .input(&arrived, &mut Shelf(&mut hardware.received));
        let arrived = self.to_host.take(self.now);
        self.host
            .input(&arrived, self.now, &mut Shelf(&mut self.at_host));
        let (from_host, sent) = (&mut self.from_host, &mut hardware.sent);
        while self.host.accept(|place| fill(from_host, place)) > 0 {}
        let mut taken = false;
        while self.board.accept(|place| fill(sent, place)) > 0 {
            taken = true;
        }
        self.send_from_host();
        self.send_from_board(hardware);
        taken || before != (self.at_host.len(), hardware.received.len())
    }

    fn send_from_host(&mut self) {
        let mut left = SPEED;
        loop {
            let bytes = self.host.output(self.now, &mut Shelf(&mut self.at_host));
            let count = bytes.len().min(left);
            if count == 0 {
                return;
            }
            self.to_board.put(&bytes[..count], self.now);
            self.host.sent(count);
            self.carried += count;
            left -= count;
        }
    }

    fn send_from_board(&mut self, hardware: &mut Hardware) {
        let mut left = SPEED;
        loop {
            let bytes = self.board.output(&mut Shelf(&mut hardware.received));
            let count = bytes.len().min(left);
            if count == 0 {
                return;
            }
            self.to_host.put(&bytes[..count], self.now);
            self.board.sent(count);
            self.carried += count;
            left -= count;
        }
    }
}

/// Moves bytes from a queue to a place; returns how many.
fn fill(from: &mut VecDeque<u8>, place: &mut [u8]) -> usize {
    let count = from.len().min(place.len());
    for (place, byte) in place.iter_mut().zip(from.drain(..count)) {
        *place = byte;
    }
    count
}
