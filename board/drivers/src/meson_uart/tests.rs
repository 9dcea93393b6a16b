//! The driver against a UART that behaves as the S905 datasheet says.

use super::*;
use std::collections::VecDeque;

/// Bytes that each FIFO holds.
const DEPTH: usize = 64;

/// A UART whose line takes a byte only when the test says so.
#[derive(Debug, Default)]
struct Fake {
    control: u32,
    misc: u32,
    reg5: u32,
    errors: u32,
    transmit: VecDeque<u8>,
    receive: VecDeque<u8>,
    line: Vec<u8>,
    /// Pulses of the interrupt line.
    pulses: usize,
}

impl Fake {
    fn on(&self, bit: u32) -> bool {
        self.control & 1 << bit != 0
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            let before = self.transmit.len();
            self.line.extend(self.transmit.pop_front());
            let level = (self.misc >> 8 & 0xff) as usize;
            if self.on(28) && before >= level && self.transmit.len() < level {
                self.pulses += 1;
            }
        }
    }

    fn arrive(&mut self, bytes: &[u8]) {
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

impl Registers for &mut Fake {
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
}

fn uart(fake: &mut Fake) -> MesonUart<&mut Fake> {
    MesonUart::new(fake, 24_000_000, 115_200)
}

#[test]
fn is_set_up_as_the_datasheet_has_it() {
    let mut fake = Fake::default();
    fake.transmit.push_back(1);
    fake.receive.push_back(1);
    fake.errors = 1 << 16;
    uart(&mut fake);
    assert_eq!(fake.control, 1 << 12 | 1 << 13 | 1 << 15, "8N1, two wires");
    assert!(fake.transmit.is_empty() && fake.receive.is_empty());
    assert_eq!(fake.errors, 0);
    assert_eq!(fake.misc & 0xff, 1, "a single byte interrupts");
}

#[test]
fn baud_rates_are_within_two_percent() {
    for baud in [9600, 115_200, 500_000, 1_000_000] {
        let value = divisor(24_000_000, baud);
        assert_eq!(value & !DIVISOR, 1 << 23 | 1 << 24);
        let actual = 8_000_000 / ((value & DIVISOR) + 1);
        assert!(actual.abs_diff(baud) * 50 < baud, "{actual} for {baud}");
    }
    // Nonsense is not a panic.
    assert_eq!(divisor(0, 0) & DIVISOR, 0);
    assert_eq!(divisor(u32::MAX, 1) & DIVISOR, DIVISOR);
}

#[test]
fn sends_what_there_is_room_for_and_the_rest_after_the_interrupt() {
    let mut fake = Fake::default();
    let bytes: Vec<u8> = (0..100).collect();
    let mut uart = uart(&mut fake);
    let sent = uart.transmit(&bytes);
    assert_eq!(sent, DEPTH);
    uart.interrupt_on_room(true);
    uart.registers.send(DEPTH);
    assert_eq!(uart.registers.pulses, 1);
    uart.acknowledge();
    assert_eq!(uart.transmit(&bytes[sent..]), 100 - DEPTH);
    uart.interrupt_on_room(false);
    uart.registers.send(DEPTH);
    assert_eq!((uart.registers.pulses, &uart.registers.line), (1, &bytes));
}

#[test]
fn every_byte_interrupts_and_a_full_fifo_is_no_end() {
    let mut fake = Fake::default();
    let mut uart = uart(&mut fake);
    uart.interrupt_on_input(true);
    uart.registers.arrive(b"a");
    assert_eq!(uart.registers.pulses, 1);
    let mut bytes = [0; 100];
    assert_eq!(uart.receive(&mut bytes), 1);
    uart.registers.arrive(&[2; 70]);
    uart.acknowledge();
    assert_eq!(
        uart.registers.errors,
        1 << 24,
        "an overrun says nothing about the rest"
    );
    assert_eq!(uart.receive(&mut bytes), DEPTH);
    uart.registers.errors |= 1 << 17;
    uart.acknowledge();
    assert_eq!(uart.registers.errors, 0);
    assert_eq!(uart.registers.control & 1 << 24, 0, "clearing has ended");
    uart.interrupt_on_input(false);
    let pulses = uart.registers.pulses;
    uart.registers.arrive(b"b");
    assert_eq!(uart.registers.pulses, pulses);
}
