// SPDX-License-Identifier: BSD-2-Clause
//! A link over a serial line, with every UART and every kind of interrupt line that a board may have.

use channel::ring::{Duplex, pair};
use drivers::fake::{Attached, Dead, FakeCadenceUart, FakeMesonUart, FakePl011, FakeUart, Line};
use drivers::{CadenceUart, MesonUart, Pl011, Uart, UartError};
use line::{Host, LONGEST_MESSAGE, Sink};
use link_pd::{Link, LinkError, SerialLink};
use proptest::prelude::*;

/// Moments in a millisecond.
const MILLISECOND: usize = 1600;
/// Milliseconds for a session to begin, and for a stream.
const TIMEOUT: usize = 600;

/// A receiver on the host that takes everything.
#[derive(Debug, Default)]
struct Vessel(Vec<u8>);

impl Sink for Vessel {
    fn room(&mut self) -> usize {
        4096
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

/// The host's end of the line.
struct Other {
    host: Host,
    stream: Vec<u8>,
    given: usize,
    received: Vessel,
}

impl Other {
    fn work<F: FakeUart>(&mut self, board: &Attached<F>, now: u64) {
        let arrived = board.with(|board| core::mem::take(&mut board.outgoing));
        self.host.input(&arrived, now, &mut self.received);
        let (stream, given) = (&self.stream, &mut self.given);
        while self.host.accept(|place| {
            let count = place.len().min(stream.len() - *given);
            place[..count].copy_from_slice(&stream[*given..*given + count]);
            *given += count;
            count
        }) > 0
        {}
        while board.with(|board| board.incoming.len()) < 64 {
            let bytes = self.host.output(now, &mut self.received);
            if bytes.is_empty() {
                return;
            }
            let count = bytes.len();
            board.with(|board| board.incoming.extend(bytes));
            self.host.sent(count);
        }
    }
}

/// A link, asleep but for interrupts and notifications, between a host and a `migration-pd` that takes what comes.
fn streams_pass<F: FakeUart, U: Uart>(
    new: impl Fn(Attached<F>) -> U,
    (line, seed): (Line, u64),
    (down, up): (&[u8], &[u8]),
) {
    let board = Attached::<F>::new(line, seed, &[]);
    let (rings, migration) = pair(2 * LONGEST_MESSAGE, 512).expect("memory");
    let Duplex {
        mut producer,
        mut consumer,
    } = migration;
    let mut link = Link::new(SerialLink::new(new(board.clone())), rings);
    let mut other = Other {
        host: Host::new(7, 921_600, 0),
        stream: down.to_vec(),
        given: 0,
        received: Vessel::default(),
    };
    let mut migration_is_due = link.work().expect("a working device") | producer.free().is_ok();
    let (mut written, mut read) = (0, Vec::new());
    // What comes before a session's first byte is zeros.
    let expected = LONGEST_MESSAGE + down.len();
    let mut moment = 0;
    while moment < TIMEOUT * MILLISECOND {
        moment += 1 + board.pass();
        other.work(&board, (moment / MILLISECOND) as u64);
        let mut link_is_due = board.take_interrupt();
        if core::mem::take(&mut migration_is_due) {
            let mut bytes = [0; 256];
            while consumer.wait(0).expect("honest") {
                let count = consumer.pop(&mut bytes).expect("honest");
                read.extend_from_slice(&bytes[..count]);
            }
            while written < up.len() && producer.wait(1).expect("honest") {
                written += producer.push(&up[written..]).expect("honest");
            }
            link_is_due |= producer.notify_due() | consumer.notify_due();
        }
        if link_is_due {
            migration_is_due |= link.work().expect("a working device");
        }
        if read.len() >= expected && other.received.0.len() >= up.len() {
            break;
        }
    }
    let name = std::any::type_name::<F>();
    assert_eq!(read.len(), expected, "{line:?} of {name}");
    assert_eq!(
        read.get(LONGEST_MESSAGE..),
        Some(down),
        "{line:?} of {name}"
    );
    assert_eq!(other.received.0, up, "{line:?} of {name}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    // Pitfall: A UART's interrupt was an edge, and the handler left while the line was up.
    #[test]
    fn no_stream_waits_for_an_edge_that_cannot_come(
        down in proptest::collection::vec(any::<u8>(), 0..600),
        up in proptest::collection::vec(any::<u8>(), 0..600),
        seed in any::<u64>(),
    ) {
        for line in [Line::Level, Line::Pulse, Line::Either] {
            let (setting, streams) = ((line, seed), (&*down, &*up));
            streams_pass::<FakeMesonUart, _>(
                |registers| MesonUart::new(registers, 24_000_000, 500_000), setting, streams);
            streams_pass::<FakeCadenceUart, _>(
                |registers| CadenceUart::new(registers, 100_000_000, 921_600), setting, streams);
            streams_pass::<FakePl011, _>(
                |registers| Pl011::new(registers, 24_000_000, 115_200), setting, streams);
        }
    }
}

fn is_left_alone<U: Uart>(uart: U) {
    let (rings, mut migration) = pair(64, 64).expect("memory");
    let mut link = Link::new(SerialLink::new(uart), rings);
    let first = link.work();
    assert!(
        matches!(first, Err(LinkError::Line(UartError::Unresponsive { .. }))),
        "{first:?}"
    );
    assert_eq!(link.work(), Ok(false), "and it is said once");
    assert_eq!(
        migration.consumer.available(),
        Ok(0),
        "constants are no input"
    );
}

// Pitfall: A UART without a clock read as zeros, which looked like input without end.
#[test]
fn a_uart_that_reads_as_constants_is_reported_once_and_left_alone() {
    for value in [0, u32::MAX] {
        is_left_alone(MesonUart::new(Dead(value), 24_000_000, 500_000));
        is_left_alone(CadenceUart::new(Dead(value), 100_000_000, 921_600));
        is_left_alone(Pl011::new(Dead(value), 24_000_000, 115_200));
    }
}
