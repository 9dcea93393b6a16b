// SPDX-License-Identifier: BSD-2-Clause
//! What a guest gets for debug registers and a performance monitor that its board keeps from it.

use channel::vmm::Phase;

use super::board::{Board, ENTRY};
use super::{SMC, SYSTEM_RESET};
use crate::exit::{Exit, Syndrome, class};
use crate::lifecycle::machine::Machine;
use crate::port::VcpuRegister;

/// `PSTATE` of a guest's user mode.
const USER: u64 = 0;

fn access(encoding: [u64; 5], register: u64, read: bool) -> u64 {
    let [op0, op1, crn, crm, op2] = encoding;
    let fields = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1;
    class::SYSTEM_REGISTER << 26 | 1 << 25 | fields | register << 5 | u64::from(read)
}

fn trapped(board: &mut Board, machine: &mut Machine, syndrome: u64, x: &[u64]) {
    board.cores[0].thread.program_counter = ENTRY;
    board.exits(machine, 0, Exit::SystemRegister(Syndrome(syndrome)), x);
}

const MDSCR: [u64; 5] = [2, 0, 0, 2, 2];
const OSLSR: [u64; 5] = [2, 0, 1, 1, 4];
const PMCCNTR: [u64; 5] = [3, 3, 9, 13, 0];

#[test]
fn an_access_is_answered_and_the_guest_continues_behind_it() {
    let (mut board, mut machine) = Board::booted(1);
    trapped(&mut board, &mut machine, access(OSLSR, 17, true), &[]);
    let thread = &board.cores[0].thread;
    assert_eq!((thread.program_counter, thread.general[17]), (ENTRY + 4, 8));
    // Into the zero register, and from it.
    trapped(&mut board, &mut machine, access(OSLSR, 31, true), &[]);
    trapped(&mut board, &mut machine, access(MDSCR, 31, false), &[]);
    assert_eq!(machine.status().phase, Phase::Running);
    assert!(board.output.is_empty(), "nothing was missed");
}

#[test]
fn what_a_guest_misses_is_said_once_a_kind_when_there_is_room_and_once_more_to_the_next_guest() {
    let (mut board, mut machine) = Board::booted(1);
    let step = access(MDSCR, 0, false);
    trapped(&mut board, &mut machine, step, &[1]);
    assert!(board.output.is_empty(), "there was no room");
    board.room = 4096;
    for _ in 0..100 {
        trapped(&mut board, &mut machine, step, &[1]);
        trapped(
            &mut board,
            &mut machine,
            access([3, 3, 9, 12, 0], 0, false),
            &[1],
        );
    }
    let said = String::from_utf8(std::mem::take(&mut board.output)).unwrap();
    assert_eq!(said.matches("godwit: ").count(), 2, "{said}");
    assert!(said.contains("single steps") && said.contains("performance"));
    board.exits(&mut machine, 0, SMC, &[SYSTEM_RESET]);
    trapped(&mut board, &mut machine, step, &[1]);
    assert!(!board.output.is_empty(), "a new guest");
}

#[test]
fn a_user_gets_the_trap_that_its_own_kernel_would_have_had() {
    let (mut board, mut machine) = Board::booted(1);
    board.cores[0].thread.state = USER;
    board.cores[0].object.insert(VcpuRegister::VBAR, 0x8000);
    let syndrome = access(PMCCNTR, 3, true);
    trapped(&mut board, &mut machine, syndrome, &[]);
    let object = &board.cores[0].object;
    assert_eq!(object[&VcpuRegister::ESR], syndrome);
    assert_eq!(object[&VcpuRegister::ElrEl1], ENTRY);
    assert_eq!(object[&VcpuRegister::SpsrEl1], USER);
    assert_eq!(board.cores[0].thread.program_counter, 0x8400);
}

#[test]
fn a_debug_exception_is_the_guests_own_and_ends_nobody() {
    let classes = [
        (class::BREAKPOINT_LOWER, 1),
        (class::STEP_LOWER, 1),
        (class::WATCHPOINT_LOWER, 1),
        (class::BRK, 0),
    ];
    for (class, same) in classes {
        for (state, from_el1) in [(USER, 0), (0x3c5, 1)] {
            let (mut board, mut machine) = Board::booted(1);
            board.cores[0].thread.state = state;
            let exit = Exit::decode(crate::exit::label::VCPU_FAULT, |_| {
                class << 26 | 1 << 25 | 0x22
            });
            board.exits(&mut machine, 0, exit, &[]);
            assert_eq!(machine.status().phase, Phase::Running, "{class:#x}");
            let syndrome = board.cores[0].object[&VcpuRegister::ESR];
            assert_eq!(syndrome >> 26, class + same * from_el1);
            assert_eq!(syndrome & 0x3f, 0x22);
        }
    }
}
