// SPDX-License-Identifier: BSD-2-Clause
//! The console as a guest and as `serial-pd`'s ring see it.

mod drivers;
mod input;

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::vec::Vec;

const FLAG_TXFF: u32 = 1 << 5;
const FLAG_RXFE: u32 = 1 << 4;
const FLAG_BUSY: u32 = 1 << 3;
const FLAG_TXFE: u32 = 1 << 7;
const RX: u32 = 1 << 4;
const TX: u32 = 1 << 5;
const RT: u32 = 1 << 6;
const OE: u32 = 1 << 10;

/// A console on a line that takes `room` more bytes.
#[derive(Clone)]
struct Bench {
    console: Console,
    sent: Vec<u8>,
    room: usize,
}

impl Bench {
    fn new() -> Self {
        Self {
            console: Console::new(),
            sent: Vec::new(),
            room: usize::MAX,
        }
    }

    /// As Linux's `amba-pl011` sets it up: FIFOs, receive interrupts.
    fn started() -> Self {
        let mut bench = Self::new();
        bench.write(IFLS, LEVELS_AT_RESET.into());
        bench.write(ICR, 0x7ff);
        bench.write(LCR_H, 0x70);
        bench.write(CR, 0xf01);
        bench.write(IMSC, RX | RT);
        bench
    }

    fn write_as(&mut self, offset: u32, width: u8, value: u32) {
        let (sent, before) = (&mut self.sent, self.room);
        let mut used = 0;
        let put = |byte| {
            sent.push(byte);
            used += 1;
        };
        self.console.write(offset, width, value, put, before);
        assert!(used <= before, "more bytes than room");
        self.room -= used;
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.write_as(offset, 4, value);
    }

    fn read(&mut self, offset: u32) -> u32 {
        self.console.read(offset, 4)
    }

    /// Reads as long as there is something, as drivers do.
    fn read_away(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < most && self.read(FR) & FLAG_RXFE == 0 {
            bytes.push(u8::try_from(self.read(DR)).expect("no error bits"));
        }
        bytes
    }

    fn drained(&mut self, room: usize) {
        self.room = room;
        let (sent, mut used) = (&mut self.sent, 0);
        self.console.output_ready(
            |byte| {
                sent.push(byte);
                used += 1;
            },
            room,
        );
        assert!(used <= room, "more bytes than room");
        self.room -= used;
    }

    fn type_in(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.console.receive(*byte));
    }
}

#[test]
fn a_driver_recognises_a_pl011_of_revision_r1p4() {
    let mut bench = Bench::new();
    let read: Vec<u32> = (0xfe0..0x1000).step_by(4).map(|o| bench.read(o)).collect();
    assert_eq!(read, [0x11, 0x10, 0x24, 0x00, 0x0d, 0xf0, 0x05, 0xb1]);
}

#[test]
fn an_early_console_writes_before_any_driver() {
    let mut bench = Bench::new();
    for byte in b"Booting Linux" {
        assert_eq!(bench.read(FR) & (FLAG_TXFF | FLAG_BUSY), 0);
        bench.write_as(DR, 1, (*byte).into());
    }
    assert_eq!(bench.sent, b"Booting Linux");
    assert!(!bench.console.interrupt_line());
}

#[test]
fn registers_keep_what_they_have_and_no_more() {
    let mut bench = Bench::new();
    for (offset, kept) in [
        (ILPR, 0xff),
        (IBRD, 0xffff),
        (FBRD, 0x3f),
        (LCR_H, 0xff),
        (CR, 0xffff),
        (IFLS, 0x3f),
        (IMSC, 0x7ff),
        (DMACR, 0x7),
        (0x00c, 0),
        (0xffc, 0xb1),
    ] {
        bench.write(offset, 0xffff_ffff);
        assert_eq!(bench.read(offset), kept, "offset {offset:#x}");
    }
}

#[test]
fn narrow_accesses_see_their_lanes() {
    let mut bench = Bench::new();
    bench.write_as(IBRD, 2, 0x1234);
    assert_eq!(bench.console.read(IBRD, 1), 0x34);
    assert_eq!(bench.console.read(IBRD + 1, 1), 0x12);
    assert_eq!(bench.console.read(IBRD, 2), 0x1234);
    bench.write_as(IBRD + 1, 1, 0xff);
    assert_eq!(bench.read(IBRD), 0x1234);
    bench.write_as(IBRD, 1, 0xaabb);
    assert_eq!(bench.read(IBRD), 0xbb);
}

#[test]
fn input_interrupts_at_its_level_and_by_time_out_until_it_is_read() {
    let mut bench = Bench::started();
    assert!(!bench.console.interrupt_line());
    bench.type_in(b"a");
    assert_eq!(bench.read(MIS), RT);
    bench.type_in(b"bcdefgh");
    assert_eq!(bench.read(MIS), RX | RT);
    assert_eq!(bench.console.receive_room(), 8);
    assert_eq!(bench.read(DR), u32::from(b'a'));
    assert_eq!(bench.read(MIS), RT, "below the level, but not empty");
    let rest: Vec<u32> = (0..7).map(|_| bench.read(DR)).collect();
    assert_eq!(rest, b"bcdefgh".map(u32::from));
    assert_eq!(bench.read(MIS), 0);
    assert_ne!(bench.read(FR) & FLAG_RXFE, 0);
    assert!(!bench.console.interrupt_line());
}

#[test]
fn clearing_a_time_out_holds_until_the_next_byte_or_read() {
    let mut bench = Bench::started();
    bench.type_in(b"ab");
    bench.write(ICR, RT);
    assert!(!bench.console.interrupt_line());
    assert_eq!(bench.read(DR), u32::from(b'a'));
    assert!(bench.console.interrupt_line());
}

#[test]
fn without_fifos_a_single_byte_fills_the_receiver() {
    let mut bench = Bench::new();
    bench.write(IMSC, RX | RT);
    assert_eq!(bench.console.receive_room(), 1);
    bench.type_in(b"x");
    assert_eq!(bench.console.receive_room(), 0);
    assert_eq!(bench.read(MIS), RX);
    assert_eq!(bench.read(DR), u32::from(b'x'));
    assert!(!bench.console.interrupt_line());
}

#[test]
fn a_full_line_fills_the_fifo_and_its_draining_interrupts() {
    let mut bench = Bench::started();
    bench.room = 0;
    bench.write(IMSC, TX);
    for byte in 0..16 {
        assert_eq!(bench.read(FR) & FLAG_TXFF, 0);
        bench.write(DR, byte);
    }
    assert_eq!(
        bench.read(FR) & (FLAG_TXFF | FLAG_BUSY | FLAG_TXFE),
        FLAG_TXFF | FLAG_BUSY
    );
    assert!(bench.console.has_output() && !bench.console.interrupt_line());
    bench.write(DR, 99);
    bench.drained(7);
    assert!(
        !bench.console.interrupt_line(),
        "nine are above the level of eight"
    );
    bench.drained(1);
    assert_eq!(bench.read(MIS), TX);
    bench.drained(100);
    assert_eq!(bench.sent, (0..16).collect::<Vec<u8>>());
    assert_eq!(
        bench.read(FR) & (FLAG_BUSY | FLAG_TXFE | FLAG_TXFF),
        FLAG_TXFE
    );
    bench.write(ICR, TX);
    assert!(!bench.console.interrupt_line());
}

#[test]
fn a_driver_that_sends_in_its_interrupt_handler_is_called_until_it_has_nothing_left() {
    let mut bench = Bench::started();
    let text: Vec<u8> = (0..100).collect();
    let mut rest = text.iter();
    bench.write(DR, u32::from(*rest.next().expect("text")));
    bench.write(IMSC, TX);
    let mut calls = 0;
    while bench.console.interrupt_line() {
        calls += 1;
        // Linux writes half a FIFO in a go and masks the interrupt when it has nothing left.
        let burst: Vec<u8> = rest.by_ref().take(FIFO_DEPTH / 2).copied().collect();
        burst
            .iter()
            .for_each(|byte| bench.write(DR, (*byte).into()));
        if burst.is_empty() {
            bench.write(IMSC, 0);
        }
    }
    assert_eq!(bench.sent, text);
    assert_eq!(calls, 14);
}

#[test]
fn every_register_is_found_as_a_reset_leaves_it() {
    let mut bench = Bench::new();
    // DDI 0183G, table 3-1; the lines of a terminal that is there in `UARTFR`.
    let after_reset = [
        (RSR_ECR, 0),
        (FR, FLAG_TXFE | FLAG_RXFE | 0x7),
        (ILPR, 0),
        (IBRD, 0),
        (FBRD, 0),
        (LCR_H, 0),
        (CR, 0x300),
        (IFLS, 0x12),
        (IMSC, 0),
        (RIS, 0),
        (MIS, 0),
        (ICR, 0),
        (DMACR, 0),
    ];
    for (offset, value) in after_reset {
        assert_eq!(bench.read(offset), value, "offset {offset:#x}");
    }
}

#[test]
fn what_is_written_is_sent_whether_or_not_the_transmitter_is_on() {
    for control in [0, 0x001, 0x100, 0x200, 0x300, 0x301] {
        let mut bench = Bench::new();
        bench.write(CR, control);
        // As an early console does it: a byte, then until the UART is not busy any more.
        for byte in b"early" {
            bench.write(DR, (*byte).into());
            let flags = bench.read(FR) & (FLAG_BUSY | FLAG_TXFF | FLAG_TXFE);
            assert_eq!(flags, FLAG_TXFE, "UARTCR {control:#x}");
        }
        assert_eq!(bench.sent, b"early", "UARTCR {control:#x}");
    }
}

#[test]
fn a_transmitter_that_heeds_its_line_keeps_what_was_written_until_that_is_up() {
    // In loopback the line is the guest's own `RTS`.
    let mut bench = Bench::started();
    bench.write(CR, 0x8381);
    bench.write(DR, 7);
    assert_eq!(
        bench.read(FR) & (FLAG_BUSY | FLAG_RXFE),
        FLAG_BUSY | FLAG_RXFE
    );
    assert!(!bench.console.has_output());
    bench.write(CR, 0x8b81);
    assert_eq!(bench.read(DR), 7);
}

#[test]
fn a_receiver_that_is_off_takes_no_input_and_one_that_is_on_asks_for_nothing_else() {
    let mut bench = Bench::started();
    for (control, room) in [(0, 0), (0x101, 0), (0x381, 0), (0x200, 16), (0x301, 16)] {
        bench.write(CR, control);
        assert_eq!(bench.console.receive_room(), room, "UARTCR {control:#x}");
    }
}

#[test]
fn loopback_receives_what_is_sent_and_reports_an_overrun() {
    let mut bench = Bench::started();
    bench.write(CR, 0x381);
    (0..17).for_each(|byte| bench.write(DR, byte));
    assert!(bench.sent.is_empty());
    assert_eq!(bench.read(RIS) & OE, OE);
    assert_eq!(bench.read(RSR_ECR), 1 << 3);
    let words: Vec<u32> = (0..16).map(|_| bench.read(DR)).collect();
    assert_eq!(words[..15], (0..15).collect::<Vec<u32>>());
    assert_eq!(words[15], 15 | 1 << 11);
    bench.write(RSR_ECR, 0);
    assert_eq!(bench.read(RSR_ECR), 0);
}

#[test]
fn loopback_wires_the_modem_lines_and_their_changes_interrupt() {
    let mut bench = Bench::started();
    assert_eq!(bench.read(FR) & 0x107, 0x007);
    bench.write(CR, 0x0381);
    assert_eq!(bench.read(FR) & 0x107, 0);
    assert_eq!(bench.read(RIS) & 0xf, 0b1110);
    bench.write(ICR, 0xf);
    bench.write(CR, 0x2381);
    assert_eq!(bench.read(FR) & 0x107, 0x100);
    assert_eq!(bench.read(RIS) & 0xf, 0b0001);
}

#[test]
fn unsent_bytes_are_sent_where_the_record_goes() {
    let mut bench = Bench::started();
    bench.room = 0;
    bench.write(IMSC, TX);
    (0..16).for_each(|byte| bench.write(DR, byte));
    let mut arrived = Console::import(&bench.console.export());
    assert!(!arrived.interrupt_line() && arrived.has_output());
    assert_eq!(arrived.read(FR, 4) & FLAG_TXFE, 0);
    let mut sent = Vec::new();
    arrived.output_ready(|byte| sent.push(byte), 64);
    assert_eq!(sent, Vec::from_iter(0..16));
    assert!(arrived.interrupt_line(), "the guest is told to continue");
    assert_ne!(arrived.read(FR, 4) & FLAG_TXFE, 0);
}

#[derive(Debug, Clone)]
enum Step {
    Read(u32, u8),
    Write(u32, u8, u32),
    /// A well-behaved driver sends this if the flag register says that there is room.
    Send(u8),
    Drained(usize),
    Input(Vec<u8>),
}

fn offset() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..0x50_u32, 1 => 0xfe0..0x1000_u32, 1 => any::<u32>()]
}

fn step() -> impl Strategy<Value = Step> {
    let width = || prop_oneof![Just(1_u8), Just(2), Just(4)];
    prop_oneof![
        (offset(), width()).prop_map(|(offset, width)| Step::Read(offset, width)),
        (offset(), width(), any::<u32>())
            .prop_map(|(offset, width, value)| Step::Write(offset, width, value)),
        any::<u8>().prop_map(Step::Send),
        (0..20_usize).prop_map(Step::Drained),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Step::Input),
    ]
}

fn run(bench: &mut Bench, step: Step) -> u32 {
    match step {
        Step::Read(offset, width) => bench.console.read(offset, width),
        Step::Write(offset, width, value) => {
            bench.write_as(offset, width, value);
            0
        }
        Step::Send(byte) => {
            if bench.read(FR) & FLAG_TXFF == 0 {
                bench.write(DR, byte.into());
            }
            0
        }
        Step::Drained(room) => {
            bench.drained(room);
            0
        }
        Step::Input(bytes) => {
            let room = bench.console.receive_room().min(bytes.len());
            bench.type_in(&bytes[..room]);
            0
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_guest_does_the_line_is_what_the_registers_say(
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut bench = Bench::new();
        for step in steps {
            run(&mut bench, step);
            let raised = bench.read(RIS) & bench.read(IMSC);
            prop_assert_eq!(bench.read(MIS), raised);
            prop_assert_eq!(bench.console.interrupt_line(), raised != 0);
            let flags = bench.read(FR);
            prop_assert_eq!(flags & FLAG_BUSY != 0, flags & FLAG_TXFE == 0);
        }
    }

    // Pitfall: A device had nothing to save by default.
    #[test]
    fn a_record_makes_a_console_that_behaves_alike(
        before in proptest::collection::vec(step(), 0..40),
        after in proptest::collection::vec(step(), 0..40),
    ) {
        let mut here = Bench::new();
        before.into_iter().for_each(|step| { run(&mut here, step); });
        here.console.complete();
        let record = here.console.export();
        let mut there = here.clone();
        there.console = Console::import(&record);
        prop_assert_eq!(there.console.export(), record);
        for step in after {
            prop_assert_eq!(run(&mut here, step.clone()), run(&mut there, step));
            prop_assert_eq!(here.console.export(), there.console.export());
        }
        prop_assert_eq!(here.sent, there.sent);
    }

    #[test]
    fn bytes_pass_both_ways_in_order_and_none_is_lost(
        output in proptest::collection::vec(any::<u8>(), 0..200),
        input in proptest::collection::vec(any::<u8>(), 0..200),
        rooms in proptest::collection::vec(0..30_usize, 1..20),
    ) {
        let mut bench = Bench::started();
        bench.room = 0;
        let (mut to_send, mut to_type) = (VecDeque::from(output.clone()), VecDeque::from(input.clone()));
        let (mut read, mut rooms) = (Vec::new(), rooms.into_iter().chain([64]).cycle());
        while bench.sent.len() < output.len() || read.len() < input.len() {
            for _ in 0..bench.console.receive_room() {
                to_type.pop_front().into_iter().for_each(|byte| bench.console.receive(byte));
            }
            // The guest reads only when interrupted, and one byte a time.
            if bench.console.interrupt_line() && bench.read(FR) & FLAG_RXFE == 0 {
                read.push(u8::try_from(bench.read(DR)).expect("no error bits"));
            }
            if bench.read(FR) & FLAG_TXFF == 0 {
                to_send.pop_front().into_iter().for_each(|byte| bench.write(DR, byte.into()));
            }
            bench.drained(rooms.next().expect("endless"));
        }
        prop_assert_eq!(bench.sent, output);
        prop_assert_eq!(read, input);
    }
}
