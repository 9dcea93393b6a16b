// SPDX-License-Identifier: BSD-2-Clause
//! The driver against a UART that behaves as UG1085 and UG1087 say.

use super::fake::{DEPTH, Fake};
use super::*;

fn uart(fake: &mut Fake) -> CadenceUart<&mut Fake> {
    CadenceUart::new(fake, 100_000_000, 115_200)
}

#[test]
fn is_set_up_as_the_manual_has_it() {
    let mut fake = Fake {
        enabled: !0,
        ..Fake::default()
    };
    fake.receive.push_back(7);
    fake.transmit.push_back(7);
    uart(&mut fake);
    assert_eq!(fake.control, 0b1_0100, "both directions are enabled");
    assert_eq!(fake.mode, 0x20, "8N1, clock undivided");
    assert_eq!(fake.enabled & 0x1fff, 0);
    assert!(fake.receive.is_empty() && fake.transmit.is_empty());
    assert!(fake.timeout > 0 && fake.trigger <= 16);
}

#[test]
fn baud_rates_are_within_a_percent() {
    for clock in [50_000_000, 99_990_000, 100_000_000] {
        for baud in [9600, 115_200, 460_800, 921_600] {
            let Divisors { generator, divider } = Divisors::new(clock, baud);
            assert!((4..=255).contains(&divider) && (1..=0xffff).contains(&generator));
            let actual = clock / (generator * (divider + 1));
            assert!(actual.abs_diff(baud) * 100 < baud, "{actual} for {baud}");
        }
    }
    // Nonsense is not a panic.
    Divisors::new(0, 0);
    Divisors::new(u32::MAX, 1);
}

#[test]
fn sends_what_there_is_room_for_and_the_rest_after_the_interrupt() {
    let mut fake = Fake::default();
    let bytes: Vec<u8> = (0..100).collect();
    let mut uart = uart(&mut fake);
    let sent = uart.transmit(&bytes);
    assert_eq!(sent, DEPTH);
    uart.acknowledge();
    uart.interrupt_on_room(true);
    assert!(!uart.registers.interrupts(), "it is full");
    uart.registers.send(DEPTH);
    assert!(uart.registers.interrupts());
    uart.acknowledge();
    assert_eq!(uart.transmit(&bytes[sent..]), 100 - DEPTH);
    uart.interrupt_on_room(false);
    uart.registers.send(DEPTH);
    assert!(!uart.registers.interrupts());
    assert_eq!(uart.registers.line, bytes);
}

#[test]
fn interrupts_for_a_single_byte_and_for_many() {
    let mut fake = Fake::default();
    let mut uart = uart(&mut fake);
    uart.interrupt_on_input(true);
    uart.acknowledge();
    uart.registers.arrive(b"a");
    assert!(!uart.registers.interrupts(), "more may come");
    uart.registers.pause();
    assert!(uart.registers.interrupts());
    uart.acknowledge();
    let mut bytes = [0; 32];
    assert_eq!(uart.receive(&mut bytes), 1);
    uart.registers.arrive(&[3; 20]);
    assert!(uart.registers.interrupts());
    uart.acknowledge();
    assert_eq!(uart.receive(&mut bytes), 16, "a batch");
    assert_eq!(uart.receive(&mut bytes), 0, "more may come");
    uart.acknowledge();
    assert!(!uart.registers.interrupts());
    uart.registers.pause();
    assert!(uart.registers.interrupts());
    uart.acknowledge();
    assert_eq!(uart.receive(&mut bytes), 4);
    assert_eq!(uart.receive(&mut bytes), 0);
}

#[test]
fn what_came_before_a_pause_is_taken_however_late() {
    let mut fake = Fake::default();
    let mut uart = uart(&mut fake);
    uart.interrupt_on_input(true);
    uart.registers.arrive(b"abcdef");
    uart.registers.pause();
    uart.acknowledge();
    uart.interrupt_on_input(false);
    // Whoever asks has little room, and comes back without another interrupt.
    let mut bytes = [0; 4];
    assert_eq!(uart.receive(&mut bytes), 4);
    assert_eq!(uart.receive(&mut bytes), 2);
    assert_eq!(uart.receive(&mut bytes), 0);
}

#[test]
fn a_batch_takes_one_look_at_the_status() {
    let mut fake = Fake::default();
    let mut uart = uart(&mut fake);
    uart.registers.arrive(&[1; 32]);
    uart.registers.looks = 0;
    assert_eq!(uart.receive(&mut [0; 32]), 32);
    assert_eq!(uart.registers.looks, 2);
    uart.registers.looks = 0;
    assert_eq!(uart.transmit(&[1; BATCH]), BATCH);
    assert_eq!(uart.registers.looks, 1);
}

#[test]
fn what_is_left_in_the_fifo_interrupts_again() {
    let mut fake = Fake::default();
    let mut uart = uart(&mut fake);
    uart.interrupt_on_input(true);
    uart.registers.arrive(&[1; 40]);
    uart.acknowledge();
    assert_eq!(uart.receive(&mut [0; 8]), 8);
    assert!(uart.registers.interrupts());
}
