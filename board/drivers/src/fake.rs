// SPDX-License-Identifier: BSD-2-Clause
//! Fake UARTs, a line and an interrupt controller for tests on the host.
//!
//! Responsible for: what a driver meets in the field. Bytes come and go at seeded moments, also between two of the
//! driver's own accesses; the interrupt line is the or of its causes, or pulses, or now this and now that; and the GIC
//! takes it as an edge, so that a line that stays up interrupts once and never again.

extern crate std;

pub use crate::aux_uart::fake::Fake as FakeAuxUart;
pub use crate::cadence_uart::fake::Fake as FakeCadenceUart;
pub use crate::meson_uart::fake::Fake as FakeMesonUart;
pub use crate::pl011::fake::Fake as FakePl011;

use crate::Registers;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;

/// A UART as its manual describes it.
pub trait FakeUart: Default {
    /// Loads a register.
    fn read(&mut self, offset: usize) -> u32;
    /// Stores to a register.
    fn write(&mut self, offset: usize, value: u32);
    /// Whether the receive FIFO has room.
    fn has_room(&self) -> bool;
    /// A byte comes from the line.
    fn receive_byte(&mut self, byte: u8);
    /// A byte goes to the line, if there is one.
    fn send_byte(&mut self) -> Option<u8>;
    /// The line has been idle for as long as a receive timeout takes.
    fn idle(&mut self) {}
    /// The interrupt line, if it is the or of all causes.
    fn is_interrupting(&self) -> bool;
    /// Whether receiving and sending interrupt.
    fn enabled(&self) -> (bool, bool);
}

impl<F: FakeUart> Registers for &mut F {
    fn read(&mut self, offset: usize) -> u32 {
        FakeUart::read(*self, offset)
    }

    fn write(&mut self, offset: usize, value: u32) {
        FakeUart::write(*self, offset, value);
    }
}

/// A device without clock or power: every register reads the same, and nothing is written.
#[derive(Debug, Clone, Copy)]
pub struct Dead(pub u32);

impl Registers for Dead {
    fn read(&mut self, _offset: usize) -> u32 {
        self.0
    }

    fn write(&mut self, _offset: usize, _value: u32) {}
}

/// What the interrupt line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// It is up while there is a cause.
    Level,
    /// It pulses for each byte that comes or goes.
    Pulse,
    /// It does either, as the seed has it for each byte.
    Either,
}

/// A UART on a line, and the GIC's edge-triggered input.
#[derive(Debug)]
pub struct Board<F> {
    /// The device.
    pub uart: F,
    /// What is still to come from the other end.
    pub incoming: VecDeque<u8>,
    /// What the other end has received.
    pub outgoing: Vec<u8>,
    line: Line,
    level: bool,
    pending: bool,
    seed: u64,
}

/// The board, as the driver and the test share it.
#[derive(Debug)]
pub struct Attached<F>(Rc<RefCell<Board<F>>>);

impl<F> Clone for Attached<F> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<F: FakeUart> Attached<F> {
    /// A board with a quiet UART.
    #[must_use]
    pub fn new(line: Line, seed: u64, incoming: &[u8]) -> Self {
        Self(Rc::new(RefCell::new(Board {
            uart: F::default(),
            incoming: incoming.iter().copied().collect(),
            outgoing: Vec::new(),
            line,
            level: false,
            pending: false,
            seed: seed | 1,
        })))
    }

    /// Looks at the board.
    pub fn with<R>(&self, look: impl FnOnce(&mut Board<F>) -> R) -> R {
        look(&mut self.0.borrow_mut())
    }

    /// Some moments pass, as long as a driver may have to wait for its turn; returns how many.
    pub fn pass(&self) -> usize {
        self.with(|board| {
            let moments = usize::try_from(board.random() % 2048).unwrap_or(0);
            (0..moments).for_each(|_| board.step());
            moments
        })
    }

    /// Takes the interrupt, if one is pending.
    #[must_use]
    pub fn take_interrupt(&self) -> bool {
        self.with(|board| core::mem::take(&mut board.pending))
    }
}

impl<F: FakeUart> Board<F> {
    /// Xorshift.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }

    /// A moment passes: perhaps a byte comes, or goes. An access is much shorter than a byte on the line.
    fn step(&mut self) {
        let (receives, transmits) = self.uart.enabled();
        let moment = self.random() % 64;
        let pulse = match moment {
            0..3 if self.uart.has_room() => match self.incoming.pop_front() {
                Some(byte) => {
                    self.uart.receive_byte(byte);
                    receives
                }
                None => false,
            },
            3..6 => match self.uart.send_byte() {
                Some(byte) => {
                    self.outgoing.push(byte);
                    transmits
                }
                None => false,
            },
            6 => {
                self.uart.idle();
                receives
            }
            _ => false,
        };
        self.watch(pulse);
    }

    /// The line may have changed, by a byte or an access.
    fn watch(&mut self, pulse: bool) {
        let level = self.uart.is_interrupting();
        let before = core::mem::replace(&mut self.level, level);
        let edge = level && !before;
        let pulses = match self.line {
            Line::Level => false,
            Line::Pulse => true,
            Line::Either => self.random().is_multiple_of(2),
        };
        self.pending |= if pulses { pulse } else { edge };
    }
}

/// Between two accesses of the driver's time passes as well.
impl<F: FakeUart> Registers for Attached<F> {
    fn read(&mut self, offset: usize) -> u32 {
        self.with(|board| {
            board.step();
            let value = FakeUart::read(&mut board.uart, offset);
            board.watch(false);
            value
        })
    }

    fn write(&mut self, offset: usize, value: u32) {
        self.with(|board| {
            board.step();
            FakeUart::write(&mut board.uart, offset, value);
            board.watch(false);
        });
    }
}
