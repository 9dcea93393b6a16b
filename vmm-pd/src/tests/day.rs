// SPDX-License-Identifier: BSD-2-Clause
//! The clock of the day is right wherever the guest is, and its match interrupts there.

use channel::vmm::Request;

use super::board::Board;
use super::{DAY, SMC, SYSTEM_RESET, access, empty, enable, record_of, resume_with, store};
use crate::capture::tests::fake::Slot;
use crate::exit::Exit;
use crate::lifecycle::machine::Machine;

/// Ticks a second of the boards' counters.
const SECOND: u64 = 62_500_000;

const DATA: u64 = 0x0901_0000;
const MATCH: u64 = 0x0901_0004;
const MASK: u64 = 0x0901_0010;
const CLEAR: u64 = 0x0901_001c;

/// What the guest reads, less what it was when the board started.
fn seconds(board: &mut Board, machine: &mut Machine) -> u64 {
    board.exits(machine, 0, access(DATA, 4, 3, false), &[]);
    board.cores[0].thread.general[3] - DAY
}

fn interrupted(board: &Board) -> bool {
    board.cores[0].slots.contains(&Slot::Pending(34))
}

/// A guest that is interrupted by the clock's match, five seconds after it started.
fn with_alarm() -> (Board, Machine) {
    let (mut board, mut machine) = Board::booted(1);
    enable(&mut board, &mut machine, 0, 34);
    // The target of INTID 34 is vCPU 0.
    store(&mut board, &mut machine, 0, 0x0800_0820, 1 << 16);
    store(&mut board, &mut machine, 0, MASK, 1);
    store(&mut board, &mut machine, 0, MATCH, DAY + 5);
    (board, machine)
}

/// The board's timer comes, if it is due.
fn timer_comes(board: &mut Board, machine: &mut Machine) {
    if board.timer_interrupt() {
        machine.sleepers_due(board);
        board.run(machine);
    }
}

#[test]
fn it_continues_while_the_guest_runs_and_stands_with_it() {
    let (mut board, mut machine) = Board::booted(1);
    assert_eq!(seconds(&mut board, &mut machine), 0);
    board.advance_time(7 * SECOND);
    assert_eq!(seconds(&mut board, &mut machine), 7);
    record_of(&mut board, &mut machine);
    board.advance_time(100 * SECOND);
    machine.request(&mut board, Request::Resume);
    board.run(&mut machine);
    assert_eq!(seconds(&mut board, &mut machine), 7);
}

#[test]
fn it_goes_with_the_guest() {
    let (mut here, mut machine) = Board::booted(1);
    here.advance_time(7 * SECOND);
    let record = record_of(&mut here, &mut machine);
    let (mut there, mut arrived) = empty();
    resume_with(record, &mut here, &mut there, &mut arrived);
    there.advance_time(3 * SECOND);
    assert_eq!(seconds(&mut there, &mut arrived), 10);
}

#[test]
fn a_guest_that_starts_again_finds_it_as_it_would_have_become() {
    let (mut board, mut machine) = Board::booted(1);
    board.advance_time(7 * SECOND);
    board.exits(&mut machine, 0, SMC, &[SYSTEM_RESET]);
    board.advance_time(3 * SECOND);
    assert_eq!(seconds(&mut board, &mut machine), 10);
    // And what the guest has set it to.
    store(&mut board, &mut machine, 0, DATA + 8, DAY + 100);
    board.exits(&mut machine, 0, SMC, &[SYSTEM_RESET]);
    assert_eq!(seconds(&mut board, &mut machine), 100);
}

#[test]
fn a_match_interrupts_a_guest_that_sleeps() {
    let (mut board, mut machine) = with_alarm();
    board.exits(&mut machine, 0, Exit::WaitForInterrupt, &[]);
    board.advance_time(4 * SECOND);
    timer_comes(&mut board, &mut machine);
    assert!(!interrupted(&board));
    board.advance_time(SECOND);
    timer_comes(&mut board, &mut machine);
    assert!(interrupted(&board));
    board.exits(&mut machine, 0, access(MASK + 4, 4, 3, false), &[]);
    assert_eq!(board.cores[0].thread.general[3], 1, "RTCRIS");
    store(&mut board, &mut machine, 0, CLEAR, 1);
    board.exits(&mut machine, 0, access(MASK + 4, 4, 3, false), &[]);
    assert_eq!(board.cores[0].thread.general[3], 0, "RTCRIS");
}

#[test]
fn a_match_interrupts_where_the_guest_is_by_then() {
    let (mut here, mut machine) = with_alarm();
    let record = record_of(&mut here, &mut machine);
    let (mut there, mut arrived) = empty();
    resume_with(record, &mut here, &mut there, &mut arrived);
    assert!(!interrupted(&there));
    there.advance_time(5 * SECOND);
    timer_comes(&mut there, &mut arrived);
    assert!(interrupted(&there));
}

#[test]
fn a_match_that_came_while_the_guest_was_being_stopped_interrupts_when_it_continues() {
    let (mut board, mut machine) = with_alarm();
    board.advance_time(5 * SECOND);
    record_of(&mut board, &mut machine);
    timer_comes(&mut board, &mut machine);
    assert!(!interrupted(&board));
    machine.request(&mut board, Request::Resume);
    board.run(&mut machine);
    assert!(interrupted(&board));
}
