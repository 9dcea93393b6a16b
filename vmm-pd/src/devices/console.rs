// SPDX-License-Identifier: BSD-2-Clause
//! The console that the guest sees: an Arm PrimeCell PL011 UART, revision r1p4.
//!
//! Responsible for: every register, both FIFOs and the interrupt line, as the PL011's manual
//! (DDI 0183G; chapters 3.2 and 3.3 for registers, 2.8 for interrupts) has them for a guest.
//! Must never: lose a byte that the guest was told there is room for, or take input that the
//! guest has no room for; both wait in the rings with `serial-pd`.
//!
//! Where a virtual line differs from a wire:
//!
//! * a byte that was typed is delivered once the guest listens: what a driver clears away before it does, or flushes, comes
//!   again (`Console::hold_back`);
//! * a byte is on the line as soon as `serial-pd`'s ring takes it. The transmit FIFO holds
//!   something only while that ring is full or nobody is clear to send;
//! * what a guest writes after a look at `UARTFR` each still counts as being in the FIFO for a while (`Console::following`),
//!   which so gets full. A driver then leaves the rest to its interrupt handler, where it takes one exit a byte instead of
//!   two, and more gathers until that is called;
//! * nothing happens between two bytes, so the receive time-out passes at once: whatever is in
//!   the receive FIFO asks for an interrupt;
//! * every register is found as a reset leaves it, `UARTEN` clear, and the line works all the same, as QEMU's does: guests
//!   that were made for `virt` have no firmware before them. What is written is sent whatever `UARTEN` and `TXE` say (no
//!   guest waits for `BUSY` in vain), and `RXE`, which a reset sets, is all that reception asks for;
//! * baud rate, word length, parity, DMA and infrared are registers without an effect.

mod registers;
#[cfg(test)]
mod tests;

use heapless::Deque;
use state::{ConsoleRecordV1, ConsoleRecordV2};

use registers::*;

/// The emulated UART.
#[derive(Debug, Clone)]
pub struct Console {
    control: Control,
    line_control: u8,
    integer_baud_rate: u16,
    fractional_baud_rate: u8,
    levels: u8,
    mask: Interrupts,
    raw: Interrupts,
    dma_control: u8,
    low_power: u8,
    receive_status: u8,
    /// What the guest has yet to read: `UARTDR` with its error bits.
    received: Deque<u16, FIFO_DEPTH>,
    /// It is still to arrive, as far as the guest can see; see [`Self::hold_back`].
    held_back: bool,
    /// How often that has been so since the guest last read something.
    held_back_times: u8,
    /// What the guest wrote and the line has yet to take.
    unsent: Deque<u8, FIFO_DEPTH>,
    /// Bytes that the line has taken and that count as being in the transmit FIFO still. They are not state: at any moment
    /// they may have left ([`Self::line_catches_up`]).
    following: usize,
    /// The guest's last access was a look at `UARTFR`.
    looked: bool,
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Console {
    /// The UART at power-on.
    pub const fn new() -> Self {
        Self {
            control: Control::AT_RESET,
            line_control: 0,
            integer_baud_rate: 0,
            fractional_baud_rate: 0,
            levels: LEVELS_AT_RESET,
            mask: Interrupts::empty(),
            raw: Interrupts::empty(),
            dma_control: 0,
            low_power: 0,
            receive_status: 0,
            received: Deque::new(),
            held_back: false,
            held_back_times: 0,
            unsent: Deque::new(),
            following: 0,
            looked: false,
        }
    }

    /// What a load of `width` bytes (1, 2 or 4) at `offset` gives. Reading data makes room for
    /// input ([`Self::receive_room`]) and may change [`Self::interrupt_line`].
    pub fn read(&mut self, offset: u32, width: u8) -> u32 {
        let looked = core::mem::take(&mut self.looked);
        match offset & !3 {
            FR => {
                // Who finds the FIFO full and looks again waits for nothing else.
                if looked && self.transmit_level() >= self.depth() {
                    self.line_catches_up();
                }
                self.looked = true;
            }
            RIS | MIS => self.line_catches_up(),
            _ => {}
        }
        let register = self.read_register(offset & !3);
        if matches!(offset & !3, DR | FR | RIS | MIS) {
            // Whoever looks again sees what has arrived meanwhile.
            self.show_input();
        }
        let lanes = register >> (8 * (offset & 3));
        match width {
            1 => lanes & 0xff,
            2 => lanes & 0xffff,
            _ => lanes,
        }
    }

    /// A store of the low `width` bytes of `value` at `offset`.
    ///
    /// `put` takes a byte for the line and is called at most `room` times, in order. What the
    /// line has no room for waits for [`Self::output_ready`]. The bus of a PL011 has no byte
    /// strobes: a store that does not include a register's lowest byte is ignored.
    pub fn write(&mut self, offset: u32, width: u8, value: u32, put: impl FnMut(u8), room: usize) {
        let value = match width {
            1 => value & 0xff,
            2 => value & 0xffff,
            _ => value,
        };
        let [byte, second, ..] = value.to_le_bytes();
        let half = u16::from_le_bytes([byte, second]);
        let looked = core::mem::take(&mut self.looked);
        match offset {
            DR => self.transmit(byte, looked, put, room),
            RSR_ECR => self.receive_status = 0,
            ILPR => self.low_power = byte,
            IBRD => self.integer_baud_rate = half,
            FBRD => self.fractional_baud_rate = byte & 0x3f,
            LCR_H => self.set_line_control(byte),
            CR => self.set_control(Control::from_bits_retain(half), put, room),
            IFLS => self.levels = byte & 0x3f,
            IMSC => {
                self.mask = Interrupts::from_bits_truncate(half);
                if self.listens() {
                    self.show_input();
                }
            }
            ICR => {
                let cleared = Interrupts::from_bits_truncate(half);
                self.raw.remove(cleared);
                if cleared.intersects(Self::INPUT) {
                    self.hold_back();
                }
            }
            DMACR => self.dma_control = byte & 0x7,
            _ => {}
        }
    }

    /// The line has room for `room` bytes again: `put` takes what waited.
    pub fn output_ready(&mut self, put: impl FnMut(u8), room: usize) {
        self.drain(put, room);
    }

    /// Whether the guest waits for an interrupt that comes with [`Self::line_catches_up`]: to be called when the line has
    /// sent everything, at the latest.
    #[inline]
    pub fn awaits_line(&self) -> bool {
        self.following > 0
            && self.mask.contains(Interrupts::TX)
            && self.transmit_level() > self.transmit_trigger()
    }

    /// What the line has taken is not in the transmit FIFO any more, for the guest to see. The interrupt comes when the
    /// FIFO passes its trigger level on the way down (DDI 0183G, 2.8.2), never because it was empty all along.
    pub fn line_catches_up(&mut self) {
        let was_above = self.transmit_level() > self.transmit_trigger();
        self.following = 0;
        if was_above && self.transmit_level() <= self.transmit_trigger() {
            self.raw.insert(Interrupts::TX);
        }
    }

    /// Whether something waits for [`Self::output_ready`].
    pub fn has_output(&self) -> bool {
        !self.unsent.is_empty() && self.transmits()
    }

    /// How many bytes of input the guest has room for. Changes when the guest reads data or
    /// switches the receiver on: input that waits elsewhere can then be given.
    pub fn receive_room(&self) -> usize {
        if self.control.contains(Control::RXE) && !self.control.contains(Control::LBE) {
            self.depth().saturating_sub(self.received.len())
        } else {
            0
        }
    }

    /// A byte of input. Without [`Self::receive_room`] it is lost, which the guest can see.
    pub fn receive(&mut self, byte: u8) {
        let full = self.received.len() >= self.depth();
        if full || self.received.push_back(byte.into()).is_err() {
            if let Some(last) = self.received.back_mut() {
                *last |= OVERRUN;
            }
            self.receive_status |= STATUS_OVERRUN;
            self.raw.insert(Interrupts::OE);
            return;
        }
        if !self.held_back {
            self.raise_input();
        }
    }

    /// Lets everything arrive that has been put off, in both directions; before a record is made.
    pub fn complete(&mut self) {
        self.show_input();
        self.line_catches_up();
        self.looked = false;
    }

    /// Lets the guest see what was held back (`hold_back`).
    fn show_input(&mut self) {
        if core::mem::take(&mut self.held_back) && !self.received.is_empty() {
            self.raise_input();
        }
    }

    /// The level of the interrupt line, `UARTINTR`.
    pub fn interrupt_line(&self) -> bool {
        self.raw.intersects(self.mask)
    }

    /// The record of this device. What waits for room in the receive FIFO, the machine adds.
    pub fn export(&self) -> ConsoleRecordV2 {
        let device = ConsoleRecordV1 {
            control: self.control.bits(),
            line_control: self.line_control,
            integer_baud_rate: self.integer_baud_rate,
            fractional_baud_rate: self.fractional_baud_rate,
            fifo_levels: self.levels,
            interrupt_mask: self.mask.bits(),
            raw_interrupts: self.raw.bits(),
            dma_control: self.dma_control,
            low_power: self.low_power,
            receive_status: self.receive_status,
            received: self.received.iter().copied().collect(),
        };
        ConsoleRecordV2 {
            device,
            unsent: self.unsent.iter().copied().collect(),
            ..ConsoleRecordV2::default()
        }
    }

    /// The device that a record describes.
    pub fn import(record: &ConsoleRecordV2) -> Self {
        let mut received = Deque::new();
        received.extend(record.device.received.iter().copied());
        let mut unsent = Deque::new();
        unsent.extend(record.unsent.iter().copied());
        let record = &record.device;
        Self {
            control: Control::from_bits_retain(record.control),
            line_control: record.line_control,
            integer_baud_rate: record.integer_baud_rate,
            fractional_baud_rate: record.fractional_baud_rate,
            levels: record.fifo_levels,
            mask: Interrupts::from_bits_truncate(record.interrupt_mask),
            raw: Interrupts::from_bits_truncate(record.raw_interrupts),
            dma_control: record.dma_control,
            low_power: record.low_power,
            receive_status: record.receive_status,
            received,
            held_back: false,
            held_back_times: 0,
            unsent,
            following: 0,
            looked: false,
        }
    }

    fn read_register(&mut self, offset: u32) -> u32 {
        match offset {
            DR => self.read_data().into(),
            RSR_ECR => self.receive_status.into(),
            FR => self.flags().bits().into(),
            ILPR => self.low_power.into(),
            IBRD => self.integer_baud_rate.into(),
            FBRD => self.fractional_baud_rate.into(),
            LCR_H => self.line_control.into(),
            CR => self.control.bits().into(),
            IFLS => self.levels.into(),
            IMSC => self.mask.bits().into(),
            RIS => self.raw.bits().into(),
            MIS => (self.raw & self.mask).bits().into(),
            DMACR => self.dma_control.into(),
            _ => identification(offset),
        }
    }

    /// The oldest byte that was received; 0 when there is none, which the manual leaves open.
    fn read_data(&mut self) -> u16 {
        if self.held_back {
            return 0;
        }
        let Some(word) = self.received.pop_front() else {
            return 0;
        };
        self.held_back_times = 0;
        let [_, errors] = word.to_le_bytes();
        self.receive_status = self.receive_status & STATUS_OVERRUN | errors & !STATUS_OVERRUN;
        if self.received.len() < self.receive_trigger() {
            self.raw.remove(Interrupts::RX);
        }
        self.raw.remove(Interrupts::RT);
        self.time_out();
        word
    }

    /// The interrupts that say that something was received.
    const INPUT: Interrupts = Interrupts::RX.union(Interrupts::RT);
    /// How often input is put back before a guest has read any of it.
    const MOST_HELD_BACK: u8 = 8;

    /// Whether the guest wants to be told of input.
    const fn listens(&self) -> bool {
        self.mask.intersects(Self::INPUT)
    }

    /// What was received and not read is on the line again, and what comes next is still on it, until the guest has looked
    /// for input once in vain or wants to be told of it. A driver that is about to listen clears what is old first (Linux's
    /// `pl011_enable_interrupts` reads up to 32 bytes away); on a wire it would lose what was sent too early, here nothing
    /// that was accepted is lost. One that does this at each look all the same gets its input in the end.
    fn hold_back(&mut self) {
        if !self.listens() && self.held_back_times < Self::MOST_HELD_BACK {
            self.held_back_times += u8::from(!self.received.is_empty());
            self.held_back = true;
            self.raw.remove(Self::INPUT);
        }
    }

    /// What the guest has yet to read asks for its interrupts.
    fn raise_input(&mut self) {
        if self.received.len() >= self.receive_trigger() {
            self.raw.insert(Interrupts::RX);
        }
        self.time_out();
    }

    /// The receive time-out (DDI 0183G, 2.8.3), which counts from the last byte or the last read,
    /// and only with FIFOs.
    fn time_out(&mut self) {
        if self.has_fifos() && !self.received.is_empty() {
            self.raw.insert(Interrupts::RT);
        }
    }

    /// `looked` at `UARTFR` before: the byte stays in the FIFO for the guest to see.
    fn transmit(&mut self, byte: u8, looked: bool, put: impl FnMut(u8), room: usize) {
        if self.unsent.len() >= self.depth() || self.unsent.push_back(byte).is_err() {
            // `UARTFR.TXFF` said that there is no room.
            return;
        }
        let before = self.unsent.len();
        let follows = looked && self.has_fifos() && !self.control.contains(Control::LBE);
        if self.transmit_level() > self.transmit_trigger() {
            self.raw.remove(Interrupts::TX);
        }
        self.drain(put, room);
        if follows && self.unsent.len() < before {
            self.following += 1;
        }
    }

    /// Sends what waits. The interrupt comes when something has left the FIFO and it is not above its trigger level.
    fn drain(&mut self, mut put: impl FnMut(u8), room: usize) {
        if !self.transmits() {
            return;
        }
        let before = self.unsent.len();
        if self.control.contains(Control::LBE) {
            self.loop_back();
        } else {
            for byte in core::iter::from_fn(|| self.unsent.pop_front()).take(room) {
                put(byte);
            }
        }
        if self.unsent.len() < before && self.transmit_level() <= self.transmit_trigger() {
            self.raw.insert(Interrupts::TX);
        }
    }

    /// How full the transmit FIFO is, for the guest to see.
    fn transmit_level(&self) -> usize {
        self.unsent.len() + self.following
    }

    /// The receiver is wired to the transmitter instead of the line (DDI 0183G, 2.4.5).
    fn loop_back(&mut self) {
        while let Some(byte) = self.unsent.pop_front() {
            if self.control.contains(Control::RXE) {
                self.receive(byte);
            }
        }
    }

    fn set_line_control(&mut self, value: u8) {
        if (self.line_control ^ value) & FIFO_ENABLE != 0 {
            // Switching the FIFOs flushes them (DDI 0183G, 3.3.8); input comes again.
            self.unsent.clear();
            self.following = 0;
            self.hold_back();
            self.line_control = value;
            self.raw.remove(Self::INPUT);
            if !self.held_back && !self.received.is_empty() {
                self.raise_input();
            }
        }
        self.line_control = value;
    }

    fn set_control(&mut self, value: Control, put: impl FnMut(u8), room: usize) {
        let before = self.modem();
        self.control = value;
        let changed = before ^ self.modem();
        for (line, interrupt) in [
            (Flags::RI, Interrupts::RI),
            (Flags::CTS, Interrupts::CTS),
            (Flags::DCD, Interrupts::DCD),
            (Flags::DSR, Interrupts::DSR),
        ] {
            self.raw.set(
                interrupt,
                self.raw.contains(interrupt) || changed.contains(line),
            );
        }
        self.drain(put, room);
    }

    /// The modem lines: a terminal that is always there, or our own outputs in loopback
    /// (DDI 0183G, 2.4.5).
    fn modem(&self) -> Flags {
        if !self.control.contains(Control::LBE) {
            return Flags::CTS | Flags::DSR | Flags::DCD;
        }
        let mut lines = Flags::empty();
        lines.set(Flags::CTS, self.control.contains(Control::RTS));
        lines.set(Flags::DSR, self.control.contains(Control::DTR));
        lines.set(Flags::DCD, self.control.contains(Control::OUT1));
        lines.set(Flags::RI, self.control.contains(Control::OUT2));
        lines
    }

    fn flags(&self) -> Flags {
        let mut flags = self.modem();
        let full = self.transmit_level() >= self.depth();
        // What follows shows as a FIFO that is full, and as nothing before.
        let idle = self.unsent.is_empty() && !full;
        flags.set(Flags::BUSY, !idle);
        flags.set(Flags::TXFE, idle);
        flags.set(Flags::TXFF, full);
        let received = if self.held_back {
            0
        } else {
            self.received.len()
        };
        flags.set(Flags::RXFE, received == 0);
        flags.set(Flags::RXFF, received >= self.depth());
        flags
    }

    /// Whether the transmitter may send, if it heeds the clear-to-send line.
    fn transmits(&self) -> bool {
        !self.control.contains(Control::CTSEN) || self.modem().contains(Flags::CTS)
    }

    const fn has_fifos(&self) -> bool {
        self.line_control & FIFO_ENABLE != 0
    }

    /// How many bytes each FIFO holds; disabled, it is a single register.
    const fn depth(&self) -> usize {
        if self.has_fifos() { FIFO_DEPTH } else { 1 }
    }

    /// The receive interrupt comes at this many bytes or more.
    fn receive_trigger(&self) -> usize {
        if self.has_fifos() {
            eighths(self.levels >> 3)
        } else {
            1
        }
    }

    /// The transmit interrupt comes at this many bytes or fewer.
    fn transmit_trigger(&self) -> usize {
        if self.has_fifos() {
            eighths(self.levels)
        } else {
            0
        }
    }
}
