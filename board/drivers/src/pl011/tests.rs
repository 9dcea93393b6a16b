// SPDX-License-Identifier: BSD-2-Clause
//! The driver against a PL011 that behaves as DDI 0183G says.

use super::fake::Fake;
use super::*;

/// QEMU's virt board: 24 MHz.
const DIVISOR: Divisor = Divisor::new(24_000_000, 115_200);

#[test]
fn the_divisor_is_the_nearest_64th() {
    assert_eq!(DIVISOR, Divisor(13 << 6 | 1));
    // The example of DDI 0183G, 3.3.6: 4 MHz and 230,400 baud give 1 and 5 (0.085 * 64).
    assert_eq!(Divisor::new(4_000_000, 230_400), Divisor(1 << 6 | 5));
    assert_eq!(Divisor::new(1, 115_200), Divisor(1 << 6));
    assert_eq!(Divisor::new(u32::MAX, 0), Divisor(0xffff << 6));
}

#[test]
fn initialisation_leaves_the_uart_on_and_silent() {
    let mut fake = Fake {
        raw: 0x7ff,
        ..Fake::default()
    };
    Pl011::new(&mut fake, 24_000_000, 115_200);
    assert_eq!(fake.stored(CR), 0x301);
    assert_eq!(fake.stored(LCR_H), 0x70);
    assert_eq!((fake.stored(IBRD), fake.stored(FBRD)), (13, 1));
    assert_eq!((fake.raw, fake.stored(IMSC)), (0, 0));
}

#[test]
fn output_stops_at_a_full_fifo_and_its_draining_interrupts() {
    let mut fake = Fake::default();
    let text: Vec<u8> = (0..40).collect();
    let mut uart = Pl011::new(&mut fake, 24_000_000, 115_200);
    assert_eq!(uart.transmit(&text), 16);
    uart.interrupt_on_room(true);
    assert_eq!(uart.transmit(&text[16..]), 0);
    assert!(!uart.registers.interrupts());
    uart.registers.send(13);
    assert!(!uart.registers.interrupts());
    uart.registers.send(1);
    assert!(uart.registers.interrupts());
    uart.acknowledge();
    assert!(!uart.registers.interrupts());
    assert_eq!(uart.transmit(&text[16..]), 14);
    uart.registers.send(16);
    assert!(uart.registers.interrupts());
    uart.interrupt_on_room(false);
    assert!(!uart.registers.interrupts());
    assert_eq!(fake.line, text[..30]);
}

#[test]
fn an_empty_fifo_is_asked_once_for_sixteen_bytes() {
    let mut fake = Fake::default();
    let mut uart = Pl011::new(&mut fake, 24_000_000, 115_200);
    assert_eq!(uart.transmit(&[0; 16]), 16);
    assert_eq!(fake.flag_reads, 1);
}

#[test]
fn input_is_taken_in_order_and_without_damaged_bytes() {
    let mut fake = Fake::default();
    let mut uart = Pl011::new(&mut fake, 24_000_000, 115_200);
    uart.interrupt_on_input(true);
    for word in [0x041, 0x142, 0x243, 0x444, 0x845, 0x046] {
        uart.registers.arrive(word);
    }
    assert!(uart.registers.interrupts());
    uart.acknowledge();
    let mut bytes = [0; 16];
    assert_eq!(uart.receive(&mut bytes[..2]), 2);
    assert!(uart.registers.interrupts(), "there is more");
    assert_eq!(uart.receive(&mut bytes[2..]), 1);
    assert_eq!(&bytes[..3], b"AEF");
    assert!(!uart.registers.interrupts());
}

#[test]
fn input_that_nobody_has_room_for_does_not_interrupt() {
    let mut fake = Fake::default();
    let mut uart = Pl011::new(&mut fake, 24_000_000, 115_200);
    uart.interrupt_on_input(true);
    uart.registers.arrive(0x41);
    uart.interrupt_on_input(false);
    assert!(!uart.registers.interrupts());
    uart.acknowledge();
    uart.interrupt_on_input(true);
    assert!(uart.registers.interrupts(), "and is not forgotten");
}
