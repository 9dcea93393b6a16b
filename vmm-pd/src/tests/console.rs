// SPDX-License-Identifier: BSD-2-Clause
//! What waits at the console belongs to the guest: it goes where the guest goes, once, and to nobody else.

use channel::vmm::{Phase, Request};
use proptest::prelude::*;
use state::console::MAX_WAITING;

use super::board::Board;
use super::{SMC, SYSTEM_OFF, SYSTEM_RESET, access, empty, record_of, resume_with, store};
use crate::capture::tests::fake::Slot;
use crate::exit::Exit;
use crate::lifecycle::machine::Machine;

const DATA: u64 = 0x0900_0000;
const FLAGS: u64 = 0x0900_0018;
const LINE_CONTROL: u64 = 0x0900_002c;
const INTERRUPT_MASK: u64 = 0x0900_0038;
/// `UARTFR.RXFE`.
const NOTHING_TO_READ: u64 = 1 << 4;
/// `UARTFR.TXFF`.
const NO_ROOM: u64 = 1 << 5;
/// `UARTIMSC.TXIM`.
const TRANSMIT: u64 = 1 << 5;

fn load(board: &mut Board, machine: &mut Machine, ipa: u64) -> u64 {
    board.exits(machine, 0, access(ipa, 4, 3, false), &[]);
    board.cores[0].thread.general[3]
}

/// What the guest reads until there is nothing more.
fn read_all(board: &mut Board, machine: &mut Machine) -> Vec<u8> {
    let mut read = Vec::new();
    while load(board, machine, FLAGS) & NOTHING_TO_READ == 0 {
        read.push(u8::try_from(load(board, machine, DATA)).expect("no error bits"));
    }
    read
}

fn type_in(board: &mut Board, machine: &mut Machine, bytes: &[u8]) {
    board.input.extend(bytes);
    machine.console_ready(board);
}

/// So many bytes, of which no two adjacent ones are the same.
fn typed(count: usize) -> Vec<u8> {
    (0..count)
        .map(|byte| (byte % 251).to_le_bytes()[0])
        .collect()
}

/// What a guest reads that comes to this board next.
fn read_by_the_next_guest(board: &mut Board, machine: &mut Machine) -> Vec<u8> {
    let (mut other, mut leaving) = Board::booted(1);
    let record = record_of(&mut other, &mut leaving);
    resume_with(record, &mut other, board, machine);
    read_all(board, machine)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_was_typed_goes_with_the_guest_once_and_in_order(
        counts in prop::collection::vec(0_usize..600, 1..5),
        with_fifos in any::<bool>(),
    ) {
        let (mut here, mut machine) = Board::booted(1);
        if with_fifos {
            store(&mut here, &mut machine, 0, LINE_CONTROL, 1 << 4);
        }
        let (mut all, mut read) = (Vec::new(), Vec::new());
        for (moves, count) in counts.into_iter().enumerate() {
            let bytes = typed(count);
            all.extend(&bytes);
            type_in(&mut here, &mut machine, &bytes);
            if moves % 2 == 1 {
                // Some of it is read between moves.
                read.push(u8::try_from(load(&mut here, &mut machine, DATA)).unwrap());
                prop_assert!(all.is_empty() || read.last() == all.get(read.len() - 1));
                read.truncate(all.len());
            }
            let record = record_of(&mut here, &mut machine);
            let (mut there, mut arrived) = empty();
            resume_with(record, &mut here, &mut there, &mut arrived);
            machine.request(&mut here, Request::Discard);
            here.run(&mut machine);
            prop_assert_eq!(read_by_the_next_guest(&mut here, &mut machine), b"");
            (here, machine) = (there, arrived);
        }
        read.extend(read_all(&mut here, &mut machine));
        prop_assert_eq!(read, all);
    }
}

#[test]
fn a_guest_that_continues_here_reads_what_was_typed_here_once() {
    let (mut board, mut machine) = Board::booted(1);
    let bytes = typed(400);
    type_in(&mut board, &mut machine, &bytes);
    for _ in 0..2 {
        record_of(&mut board, &mut machine);
        machine.request(&mut board, Request::Resume);
        board.run(&mut machine);
    }
    assert_eq!(read_all(&mut board, &mut machine), bytes);
}

#[test]
fn as_much_travels_as_the_ring_holds_and_the_oldest_of_it() {
    let (mut here, mut machine) = Board::booted(1);
    let bytes = typed(MAX_WAITING + 100);
    type_in(&mut here, &mut machine, &bytes);
    let record = record_of(&mut here, &mut machine);
    let (mut there, mut arrived) = empty();
    resume_with(record, &mut here, &mut there, &mut arrived);
    // And one byte in the receiver.
    let read = read_all(&mut there, &mut arrived);
    assert_eq!(read, bytes[..=MAX_WAITING]);
}

#[test]
fn what_was_typed_for_a_guest_is_not_the_next_ones() {
    type Ending = fn(&mut Board, &mut Machine);
    let endings: [(&str, Ending); 3] = [
        ("paused and discarded", |board, machine| {
            record_of(board, machine);
        }),
        ("switched off", |board, machine| {
            board.exits(machine, 0, SMC, &[SYSTEM_OFF]);
        }),
        ("failed", |board, machine| {
            board.refuses_injection = true;
            super::enable(board, machine, 0, 27);
            board.exits(machine, 0, crate::exit::Exit::Timer, &[]);
            board.refuses_injection = false;
        }),
    ];
    for (how, ending) in endings {
        let (mut board, mut machine) = Board::booted(1);
        type_in(&mut board, &mut machine, &typed(400));
        ending(&mut board, &mut machine);
        type_in(&mut board, &mut machine, b"later");
        machine.request(&mut board, Request::Discard);
        board.run(&mut machine);
        assert_eq!(machine.status().phase, Phase::Empty, "{how}");
        assert_eq!(
            read_by_the_next_guest(&mut board, &mut machine),
            b"",
            "{how}"
        );
    }
}

#[test]
fn what_was_typed_at_an_empty_board_is_not_the_next_guests() {
    let (mut board, mut machine) = empty();
    type_in(&mut board, &mut machine, b"root");
    // Not even if nobody has said yet that it is there.
    board.input.extend(b"root");
    assert_eq!(read_by_the_next_guest(&mut board, &mut machine), b"");
    let mut starting = Board::new();
    starting.input.extend(b"early");
    let mut machine = Machine::new(None);
    machine.start(&mut starting);
    starting.run(&mut machine);
    assert_eq!(starting.input.len(), 0);
}

#[test]
fn a_guest_that_starts_again_reads_what_was_typed_before() {
    let (mut board, mut machine) = Board::booted(1);
    type_in(&mut board, &mut machine, b"abc");
    board.exits(&mut machine, 0, SMC, &[SYSTEM_RESET]);
    // The receiver's own byte goes with the reset, as in hardware.
    assert_eq!(read_all(&mut board, &mut machine), b"bc");
}

#[test]
fn output_that_the_line_had_no_room_for_is_printed_once_where_the_guest_is() {
    let (mut here, mut machine) = Board::booted(1);
    store(&mut here, &mut machine, 0, LINE_CONTROL, 1 << 4);
    here.line_room = 3;
    for byte in b"0123456789" {
        store(&mut here, &mut machine, 0, DATA, (*byte).into());
    }
    let record = record_of(&mut here, &mut machine);
    let (mut there, mut arrived) = empty();
    resume_with(record, &mut here, &mut there, &mut arrived);
    machine.request(&mut here, Request::Discard);
    here.run(&mut machine);
    here.line_room = usize::MAX;
    machine.console_ready(&mut here);
    assert_eq!(
        (here.output, there.output),
        (b"012".to_vec(), b"3456789".to_vec())
    );
}

#[test]
fn a_guest_that_waits_for_the_line_is_told_when_it_has_sent_or_time_passes() {
    type Event = fn(&mut Board, &mut Machine);
    let events: [(&str, Event); 3] = [
        ("the line has sent everything", |board, machine| {
            board.console_sent = true;
            machine.console_ready(board);
        }),
        ("the guest waits", |board, machine| {
            board.exits(machine, 0, Exit::WaitForInterrupt, &[]);
        }),
        ("its timer comes", |board, machine| {
            board.exits(machine, 0, Exit::Timer, &[]);
        }),
    ];
    for (what, event) in events {
        let (mut board, mut machine) = Board::booted(1);
        super::enable(&mut board, &mut machine, 0, 33);
        // The target of INTID 33 is vCPU 0.
        store(&mut board, &mut machine, 0, 0x0800_0820, 1 << 8);
        store(&mut board, &mut machine, 0, LINE_CONTROL, 1 << 4);
        board.console_sent = false;
        while load(&mut board, &mut machine, FLAGS) & NO_ROOM == 0 {
            store(&mut board, &mut machine, 0, DATA, b'x'.into());
        }
        store(&mut board, &mut machine, 0, INTERRUPT_MASK, TRANSMIT);
        machine.console_ready(&mut board);
        let interrupted = |board: &Board| board.cores[0].slots.contains(&Slot::Pending(33));
        assert!(!interrupted(&board), "{what}: not yet");
        event(&mut board, &mut machine);
        assert!(interrupted(&board), "{what}");
    }
}

#[test]
fn nothing_of_a_guest_is_left_on_a_page_that_the_next_can_read_or_in_a_record() {
    let (mut board, mut machine) = Board::booted(2);
    record_of(&mut board, &mut machine);
    // Beyond what the stub uses, the guest may have left what it likes.
    board
        .cores
        .iter_mut()
        .for_each(|core| core.page[511] = 0x5ec2e7);
    machine.request(&mut board, Request::Discard);
    board.run(&mut machine);
    assert_eq!(machine.status().phase, Phase::Empty);
    assert!(
        board
            .cores
            .iter()
            .all(|core| core.page.iter().all(|word| *word == 0))
    );
    assert!(board.exported(0x8000).iter().all(|byte| *byte == 0));
}
