// SPDX-License-Identifier: BSD-2-Clause
//! The driver against a mini UART that behaves as the manual and its errata say.

use super::fake::Fake;
use super::*;
use crate::fake::{Dead, FakeUart as _};

#[test]
fn is_set_up_with_eight_bits_and_empty_fifos() {
    let mut fake = Fake::default();
    fake.transmit.push_back(1);
    fake.receive.push_back(1);
    let mut uart = AuxUart::new(&mut fake, 0, 115_200);
    assert_eq!(uart.check(), Ok(()));
    assert_eq!((fake.line_control, fake.control), (0b11, 0b11));
    assert!(fake.transmit.is_empty() && fake.receive.is_empty());
    assert_eq!(fake.enabled(), (false, false));
}

#[test]
fn sends_what_there_is_room_for_and_the_rest_after_the_interrupt() {
    let mut fake = Fake::default();
    let mut uart = AuxUart::new(&mut fake, 0, 115_200);
    let bytes: Vec<u8> = (0..12).collect();
    let sent = uart.transmit(&bytes);
    assert_eq!(sent, FIFO_DEPTH);
    assert_eq!(uart.transmit(&bytes[sent..]), 0);
    uart.interrupt_on_room(true);
    assert!(!uart.is_interrupting());
    let mut line: Vec<_> = uart.registers.transmit.drain(..).collect();
    assert!(uart.is_interrupting());
    assert_eq!(uart.transmit(&bytes[sent..]), 12 - FIFO_DEPTH);
    line.extend(uart.registers.transmit.drain(..));
    assert_eq!(line, bytes);
    uart.interrupt_on_room(false);
    assert!(!uart.is_interrupting());
}

#[test]
fn takes_what_has_come_and_interrupts_while_there_is_more() {
    let mut fake = Fake::default();
    let mut uart = AuxUart::new(&mut fake, 0, 115_200);
    uart.interrupt_on_input(true);
    uart.registers.receive.extend(*b"abc");
    assert!(uart.is_interrupting());
    let mut bytes = [0; 2];
    assert_eq!((uart.receive(&mut bytes), &bytes), (2, b"ab"));
    assert!(uart.is_interrupting());
    assert_eq!((uart.receive(&mut bytes), bytes[0]), (1, b'c'));
    assert_eq!(uart.receive(&mut bytes), 0);
    assert!(!uart.is_interrupting());
}

#[test]
fn a_device_that_is_not_enabled_is_found_out() {
    for value in [0, u32::MAX] {
        assert!(AuxUart::new(Dead(value), 0, 115_200).check().is_err());
    }
}
