// SPDX-License-Identifier: BSD-2-Clause
//! Drivers as guests have them, and how many accesses they take to send.

use super::*;

/// What Linux's `amba-pl011` does with its buffer. Counts accesses, each of which is an exit.
struct Driver {
    bench: Bench,
    buffer: VecDeque<u8>,
    accesses: usize,
}

impl Driver {
    fn read(&mut self, offset: u32) -> u32 {
        self.accesses += 1;
        self.bench.read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.accesses += 1;
        self.bench.write(offset, value);
    }

    /// `pl011_start_tx`.
    fn start(&mut self) {
        while !self.buffer.is_empty() && self.read(FR) & FLAG_TXFF == 0 {
            self.send();
        }
        if !self.buffer.is_empty() {
            self.write(IMSC, RX | RT | TX);
        }
    }

    fn send(&mut self) {
        if let Some(byte) = self.buffer.pop_front() {
            self.write(DR, byte.into());
        }
    }

    /// `pl011_int`.
    fn interrupt(&mut self) {
        while self.read(RIS) & (RX | RT | TX) != 0 {
            self.write(ICR, TX);
            (0..FIFO_DEPTH / 2).for_each(|_| self.send());
            if self.buffer.is_empty() {
                self.write(IMSC, RX | RT);
                return;
            }
        }
    }
}

#[test]
fn a_driver_leaves_what_a_fifo_does_not_hold_to_its_interrupt_handler_and_takes_fewer_exits() {
    let mut driver = Driver {
        bench: Bench::started(),
        buffer: VecDeque::new(),
        accesses: 0,
    };
    let text: Vec<u8> = (0..4096).map(|byte| b"godwit\r\n"[byte % 8]).collect();
    for line in text.chunks(64) {
        driver.buffer.extend(line);
        driver.start();
    }
    assert_eq!(driver.bench.sent.len(), FIFO_DEPTH);
    assert!(driver.bench.console.awaits_line());
    assert!(!driver.bench.console.interrupt_line());
    driver.bench.console.line_catches_up();
    assert!(driver.bench.console.interrupt_line());
    driver.interrupt();
    assert!(!driver.bench.console.awaits_line() && !driver.bench.console.interrupt_line());
    assert_eq!(driver.bench.sent, text);
    let most = text.len() * 11 / 8;
    assert!(driver.accesses < most, "{} for {most}", driver.accesses);
}

#[test]
fn a_guest_that_polls_waits_for_one_look_after_each_fifos_worth() {
    let mut bench = Bench::started();
    let mut looks = 0;
    for byte in 0..64 {
        while {
            looks += 1;
            bench.read(FR) & FLAG_TXFF != 0
        } {}
        bench.write(DR, byte);
    }
    assert_eq!(bench.sent, Vec::from_iter(0..64));
    assert_eq!(looks, 64 + 64 / 16 - 1);
}

#[test]
fn a_driver_that_sends_without_looking_is_interrupted_at_once() {
    let mut bench = Bench::started();
    bench.write(IMSC, TX);
    for byte in 0..16 {
        bench.write(DR, byte);
        assert!(bench.console.interrupt_line());
    }
    assert_eq!(bench.sent.len(), 16);
}
