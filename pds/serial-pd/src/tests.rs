// SPDX-License-Identifier: BSD-2-Clause
//! The console between a fake UART and a fake `vmm-pd`.

use super::*;
use channel::ring::pair;
use proptest::prelude::*;
use std::collections::VecDeque;

/// A UART with FIFOs of 16 bytes and interrupts that mark changes, as a PL011's do.
#[derive(Debug, Default)]
struct Fake {
    transmit: VecDeque<u8>,
    receive: VecDeque<u8>,
    line: Vec<u8>,
    on_room: bool,
    on_input: bool,
    room_came: bool,
    broken: bool,
}

impl Fake {
    fn interrupts(&self) -> bool {
        (self.on_room && self.room_came) || (self.on_input && !self.receive.is_empty())
    }

    fn send(&mut self, count: usize) {
        let before = self.transmit.len();
        self.line.extend(self.transmit.drain(..count.min(before)));
        self.room_came |= before > 2 && self.transmit.len() <= 2;
    }
}

impl Uart for Fake {
    fn check(&mut self) -> Result<(), UartError> {
        if self.broken {
            return Err(UartError::Unresponsive {
                register: 0,
                expected: 1,
                found: 0,
            });
        }
        Ok(())
    }

    fn is_interrupting(&mut self) -> bool {
        self.interrupts()
    }

    fn transmit(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(16 - self.transmit.len());
        self.transmit.extend(&bytes[..count]);
        count
    }

    fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let count = bytes.len().min(self.receive.len());
        for (place, byte) in bytes.iter_mut().zip(self.receive.drain(..count)) {
            *place = byte;
        }
        count
    }

    fn interrupt_on_room(&mut self, enabled: bool) {
        self.on_room = enabled;
    }

    fn interrupt_on_input(&mut self, enabled: bool) {
        self.on_input = enabled;
    }

    fn acknowledge(&mut self) {
        self.room_came = false;
    }
}

proptest! {
    /// Everything but a due interrupt or notification is asleep, so a lost one shows as bytes that
    /// never arrive.
    #[test]
    fn all_bytes_pass_in_order_though_each_side_sleeps_until_it_is_woken(
        output in proptest::collection::vec(any::<u8>(), 0..400),
        input in proptest::collection::vec(any::<u8>(), 0..400),
        capacity in 1..70_usize,
        paces in proptest::collection::vec(1..40_usize, 4..16),
    ) {
        let (rings, mut vmm) = pair(capacity, capacity).expect("memory");
        let mut serial = Serial::new(Fake::default(), rings);
        let (mut written, mut read, mut typed) = (0, Vec::new(), 0);
        let (mut vmm_is_due, mut paces) = (serial.work().expect("honest"), paces.into_iter().cycle());
        vmm_is_due |= vmm.producer.free().is_ok();
        for _ in 0..4000 {
            let pace = paces.next().expect("endless");
            serial.uart.send(pace);
            let arrives = pace.min(16 - serial.uart.receive.len()).min(input.len() - typed);
            serial.uart.receive.extend(&input[typed..typed + arrives]);
            typed += arrives;
            let mut serial_is_due = serial.uart.interrupts();
            if core::mem::take(&mut vmm_is_due) {
                let mut bytes = [0; 400];
                while vmm.consumer.wait(0).expect("honest") {
                    let count = vmm.consumer.pop(&mut bytes).expect("honest");
                    read.extend_from_slice(&bytes[..count]);
                }
                while written < output.len() && vmm.producer.wait(pace).expect("honest") {
                    written += vmm.producer.push(&output[written..]).expect("honest");
                }
                serial_is_due |= vmm.producer.notify_due() | vmm.consumer.notify_due();
            }
            if serial_is_due {
                vmm_is_due |= serial.work().expect("honest");
            }
        }
        prop_assert_eq!(&serial.uart.line, &output);
        prop_assert_eq!(read, input);
        prop_assert!(!serial.uart.interrupts(), "an interrupt that never ends");
    }
}

#[test]
fn it_rests_when_it_has_printed_everything_and_only_then() {
    let (rings, mut vmm) = pair(64, 64).expect("memory");
    let mut serial = Serial::new(Fake::default(), rings);
    let mut rests_after = |output: &[u8], sent: usize, input: &[u8]| {
        assert_eq!(vmm.producer.push(output), Ok(output.len()));
        serial.uart.send(sent);
        serial.uart.receive.extend(input);
        serial.work().expect("honest");
        serial.rests()
    };
    assert!(rests_after(b"a", 0, b""));
    assert!(!rests_after(b"", 1, b""), "nothing to print");
    assert!(!rests_after(b"", 0, b"x"), "input");
    assert!(!rests_after(&[b'b'; 20], 0, b""), "the UART is full");
    assert!(rests_after(b"", 16, b""));
}

#[test]
fn nobody_waits_for_a_uart_that_takes_nothing() {
    let (rings, mut vmm) = pair(8, 8).expect("memory");
    let mut serial = Serial::new(Fake::default(), rings);
    serial.uart.broken = true;
    for _ in 0..3 {
        assert_eq!(vmm.producer.push(b"12345678"), Ok(8));
        assert_eq!(vmm.producer.wait(8), Ok(false));
        let due = serial.work().or_else(|_| serial.work());
        assert_eq!(due, Ok(true));
        assert_eq!(vmm.producer.free(), Ok(8));
    }
    assert!(serial.uart.line.is_empty() && !serial.uart.interrupts());
}

#[test]
fn input_without_a_reader_stays_in_the_uart_and_is_quiet() {
    let (rings, mut vmm) = pair(8, 8).expect("memory");
    let mut serial = Serial::new(Fake::default(), rings);
    assert_eq!(serial.work(), Ok(false));
    serial.uart.receive.extend(b"0123456789");
    assert_eq!(serial.work(), Ok(true));
    assert_eq!(serial.uart.receive.len(), 2);
    assert!(!serial.uart.interrupts());
    assert_eq!(vmm.consumer.pop(&mut [0; 4]), Ok(4));
    assert!(vmm.consumer.notify_due());
    assert_eq!(serial.work(), Ok(false), "it is awake");
    assert!(serial.uart.receive.is_empty() && serial.uart.on_input);
}

#[test]
fn a_corrupt_peer_domain_silences_the_uart_for_good() {
    let (rings, mut vmm) = pair(64, 64).expect("memory");
    let mut serial = Serial::new(Fake::default(), rings);
    assert_eq!(serial.work(), Ok(false));
    vmm.producer.lie(65);
    serial.uart.receive.extend(b"x");
    assert!(matches!(
        serial.work(),
        Err(SerialError::Ring(RingError::Corrupt { found: 65, .. }))
    ));
    assert!(!serial.uart.interrupts());
    vmm.producer.lie(0);
    assert_eq!(serial.work(), Ok(false));
    assert!(serial.uart.line.is_empty() && !serial.uart.interrupts());
}
