// SPDX-License-Identifier: BSD-2-Clause
//! The driver against a UART that behaves as the S905 datasheet says.

use super::fake::{DEPTH, Fake};
use super::*;

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
