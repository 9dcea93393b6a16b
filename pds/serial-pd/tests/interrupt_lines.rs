// SPDX-License-Identifier: BSD-2-Clause
//! The console over every UART and every kind of interrupt line that a board may have.

use channel::ring::{Duplex, pair};
use drivers::fake::{
    Attached, Dead, FakeAuxUart, FakeCadenceUart, FakeMesonUart, FakePl011, FakeUart, Line,
};
use drivers::{AuxUart, CadenceUart, MesonUart, Pl011, Registers, Uart, UartError};
use proptest::prelude::*;
use serial_pd::{Serial, SerialError};

/// Moments that a byte may take, each way, with all that it needs.
const TIMEOUT: usize = 4000;

/// A console, asleep but for interrupts and notifications, between a line and a `vmm-pd` that takes what comes.
fn all_bytes_pass<F: FakeUart, U: Uart>(
    new: impl Fn(Attached<F>) -> U,
    (line, seed): (Line, u64),
    (input, output): (&[u8], &[u8]),
    capacity: usize,
) {
    let board = Attached::<F>::new(line, seed, input);
    let (
        rings,
        Duplex {
            mut producer,
            mut consumer,
        },
    ) = pair(capacity, capacity).expect("memory");
    let mut serial = Serial::new(new(board.clone()), rings);
    let mut vmm_is_due = serial.work().expect("honest") | producer.free().is_ok();
    let (mut written, mut read) = (0, Vec::new());
    let mut moments = TIMEOUT * (input.len() + output.len() + 1);
    while moments > 0 {
        moments = moments.saturating_sub(1 + board.pass());
        let mut serial_is_due = board.take_interrupt();
        if core::mem::take(&mut vmm_is_due) {
            let mut bytes = [0; 64];
            while consumer.wait(0).expect("honest") {
                let count = consumer.pop(&mut bytes).expect("honest");
                read.extend_from_slice(&bytes[..count]);
            }
            while written < output.len() && producer.wait(1).expect("honest") {
                written += producer.push(&output[written..]).expect("honest");
            }
            serial_is_due |= producer.notify_due() | consumer.notify_due();
        }
        if serial_is_due {
            vmm_is_due |= serial.work().expect("a working device");
        }
    }
    let sent = board.with(|board| board.outgoing.clone());
    assert_eq!(
        (read.len(), sent.len()),
        (input.len(), output.len()),
        "{line:?} of {}",
        std::any::type_name::<F>()
    );
    assert_eq!(
        (&*read, &*sent),
        (input, output),
        "{line:?} of {}",
        std::any::type_name::<F>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    // Pitfall: A UART's interrupt was an edge, and the handler left while the line was up.
    #[test]
    fn no_byte_waits_for_an_edge_that_cannot_come(
        input in proptest::collection::vec(any::<u8>(), 0..800),
        output in proptest::collection::vec(any::<u8>(), 0..800),
        capacity in 1..400_usize,
        seed in any::<u64>(),
    ) {
        for line in [Line::Level, Line::Pulse, Line::Either] {
            let (setting, bytes) = ((line, seed), (&*input, &*output));
            all_bytes_pass::<FakeMesonUart, _>(
                |registers| MesonUart::new(registers, 24_000_000, 115_200), setting, bytes, capacity);
            all_bytes_pass::<FakeCadenceUart, _>(
                |registers| CadenceUart::new(registers, 100_000_000, 115_200), setting, bytes, capacity);
            all_bytes_pass::<FakeAuxUart, _>(
                |registers| AuxUart::new(registers, 0, 115_200), setting, bytes, capacity);
            all_bytes_pass::<FakePl011, _>(
                |registers| Pl011::new(registers, 24_000_000, 115_200), setting, bytes, capacity);
        }
    }
}

/// A console over a device that does not work, and what the first look at it says.
fn first_error<U: Uart>(uart: U) -> (Serial<U>, Result<bool, SerialError>, Duplex) {
    let (rings, vmm) = pair(64, 64).expect("memory");
    let mut serial = Serial::new(uart, rings);
    let first = serial.work();
    (serial, first, vmm)
}

fn is_left_alone<R: Registers, U: Uart>(dead: R, new: impl Fn(R) -> U) {
    let (mut serial, first, mut vmm) = first_error(new(dead));
    assert!(
        matches!(
            first,
            Err(SerialError::Device(UartError::Unresponsive { .. }))
        ),
        "{first:?}"
    );
    assert_eq!(serial.work(), Ok(false), "and it is said once");
    assert_eq!(vmm.consumer.available(), Ok(0), "constants are no input");
}

// Pitfall: A UART without a clock read as zeros, which looked like input without end.
#[test]
fn a_uart_that_reads_as_constants_is_reported_once_and_left_alone() {
    for value in [0, u32::MAX] {
        is_left_alone(Dead(value), |registers| {
            MesonUart::new(registers, 24_000_000, 115_200)
        });
        is_left_alone(Dead(value), |registers| {
            CadenceUart::new(registers, 100_000_000, 115_200)
        });
        is_left_alone(Dead(value), |registers| AuxUart::new(registers, 0, 115_200));
        is_left_alone(Dead(value), |registers| {
            Pl011::new(registers, 24_000_000, 115_200)
        });
    }
}
