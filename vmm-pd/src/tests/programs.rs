// SPDX-License-Identifier: BSD-2-Clause
//! 32-bit programs: a state that the kernel keeps for a thread and does not let anybody write.

use channel::vmm::{Phase, Request};
use state::{Register, VcpusRecordV4, record};

use super::board::{Board, Did, ENTRY};
use super::{access, enable, record_of};
use crate::exit::{Exit, Syndrome};
use crate::lifecycle::machine::Machine;
use crate::port::VcpuRegister;

/// User, T, a carry, GE and an IT block under way: nothing of that may be lost.
const STATE: u64 = 0x240f_9c30;
/// The same outside an IT block.
const UNCONDITIONAL: u64 = 0x200f_0030;
const VECTORS: u64 = 0xffff_8000_1000_0800;

/// A board whose guest has a 32-bit program at `0x1_0456`.
fn in_a_program(state: u64) -> (Board, Machine) {
    let (mut board, machine) = Board::booted(1);
    let core = &mut board.cores[0];
    core.thread.state = state;
    core.thread.program_counter = 0x1_0456;
    core.thread.general = core::array::from_fn(|number| 0x1_0000 + number as u64);
    core.object.insert(VcpuRegister::VBAR, VECTORS);
    assert!(core.registers.set_word(Register::ELR_EL1, 0x1234));
    assert!(core.registers.set_word(Register::SPSR_EL1, 0x6000_0005));
    (board, machine)
}

/// Lets an exit pass that says nothing of registers.
fn exits(board: &mut Board, machine: &mut Machine, exit: Exit) {
    board.exits(machine, 0, exit, &[]);
}

/// The vCPU has taken a synchronous exception from a 32-bit program of its own.
fn took(board: &Board, class: u64, state: u64) {
    let core = &board.cores[0];
    assert_eq!(core.thread.program_counter, VECTORS + 0x600);
    assert_eq!(core.thread.state, 0x3c5);
    assert_eq!(core.object[&VcpuRegister::SpsrEl1], state);
    assert_eq!(core.object[&VcpuRegister::ESR] >> 26, class);
}

#[test]
fn a_32_bit_program_continues_after_a_pause_with_every_bit_of_its_state() {
    let (mut board, mut machine) = in_a_program(STATE);
    let before = board.cores[0].thread.clone();
    // One interrupt is pending, which must not be taken on the way.
    enable_and_return(&mut board, &mut machine, &before);
    record_of(&mut board, &mut machine);
    machine.request(&mut board, Request::Resume);
    board.run(&mut machine);
    assert_eq!(machine.status().phase, Phase::Running);
    assert_eq!(board.cores[0].thread, before);
    // What the way took is as the record has it.
    assert_eq!(board.cores[0].object[&VcpuRegister::SpsrEl1], 0x6000_0005);
    assert_eq!(board.cores[0].object[&VcpuRegister::ElrEl1], 0x1234);
    assert!(board.did.contains(&Did::Injected(0, 27)));
}

fn enable_and_return(
    board: &mut Board,
    machine: &mut Machine,
    thread: &crate::capture::tests::fake::Thread,
) {
    board.cores[0].thread.state = 0x3c5;
    enable(board, machine, 0, 27);
    board.cores[0].thread = thread.clone();
    exits(board, machine, Exit::Timer);
    board.did.clear();
}

#[test]
fn a_32_bit_program_continues_on_another_board() {
    let (mut board, mut machine) = in_a_program(STATE);
    let bytes = record_of(&mut board, &mut machine);
    let decoded: VcpusRecordV4 = record::decode(&bytes).expect("a record");
    assert_eq!(
        decoded.vcpus[0].registers.word(Register::PSTATE),
        Some(STATE)
    );
    let before = board.cores[0].thread.clone();
    let mut other = Board::new();
    for core in &mut other.cores {
        // A processor that runs 32-bit programs.
        assert!(core.registers.set_word(Register::ID_AA64PFR0_EL1, 0x2222));
    }
    let mut empty = Machine::new(None);
    empty.start(&mut other);
    other.run(&mut empty);
    other.take_peer_domains_of(&mut board);
    let length = u32::try_from(bytes.len()).expect("small");
    other.import = bytes;
    let imported = empty.request(&mut other, Request::Import { length });
    assert!(imported.answer().is_ok(), "{:?}", imported.illegal_value());
    empty.request(&mut other, Request::Resume);
    other.run(&mut empty);
    let after = &other.cores[0].thread;
    assert_eq!((after.state, after.program_counter), (STATE, 0x1_0456));
    assert_eq!(after.general[..15], saved_general(&before)[..15]);
}

fn saved_general(thread: &crate::capture::tests::fake::Thread) -> [u64; 31] {
    // `record_of` ran the stub, which has its own in the first three.
    let mut general = thread.general;
    for (number, value) in general.iter_mut().enumerate().take(3) {
        *value = 0x1_0000 + number as u64;
    }
    general
}

#[test]
fn a_32_bit_program_that_waits_continues_after_as_many_bytes_as_its_instruction_has() {
    for (exit, bytes) in [
        (Exit::NarrowWait(Syndrome(1 << 26 | 1)), 2),
        (Exit::WaitForEvent, 4),
    ] {
        let (mut board, mut machine) = in_a_program(UNCONDITIONAL);
        exits(&mut board, &mut machine, exit);
        let thread = &board.cores[0].thread;
        assert_eq!(thread.program_counter, 0x1_0456 + bytes);
        assert_eq!(thread.state, UNCONDITIONAL);
    }
}

#[test]
fn a_wait_inside_an_it_block_is_an_undefined_instruction() {
    for exit in [
        Exit::NarrowWait(Syndrome(1 << 26)),
        Exit::WaitForInterrupt,
        Exit::WaitForEvent,
    ] {
        let (mut board, mut machine) = in_a_program(STATE);
        exits(&mut board, &mut machine, exit);
        took(&board, 0, STATE);
    }
}

#[test]
fn a_coprocessor_that_is_kept_from_guests_is_an_undefined_instruction() {
    for class in [3, 4, 5, 6, 8, 12] {
        let (mut board, mut machine) = in_a_program(UNCONDITIONAL);
        let exit = Exit::decode(crate::exit::label::VCPU_FAULT, |_| class << 26 | 1 << 25);
        exits(&mut board, &mut machine, exit);
        took(&board, 0, UNCONDITIONAL);
    }
}

#[test]
fn a_32_bit_program_finds_nothing_where_a_device_is() {
    for (ipa, write) in [
        (0x0900_0000, false),
        (0x0900_0000, true),
        (0x0800_0004, false),
        (0x0a00_0000, false),
    ] {
        let (mut board, mut machine) = in_a_program(UNCONDITIONAL);
        board.input.push_back(b'x');
        exits(&mut board, &mut machine, access(ipa, 4, 3, write));
        took(&board, 0x24, UNCONDITIONAL);
        assert_eq!(board.output, [], "nothing was written");
        assert_eq!(
            board.cores[0].thread.general[3], 0x1_0003,
            "nothing was read"
        );
    }
    let (mut board, mut machine) = in_a_program(UNCONDITIONAL);
    let isv_not_valid = Exit::Abort {
        program_counter: ENTRY,
        ipa: 0x0900_0000,
        fetch: false,
        syndrome: Syndrome(0x24 << 26 | 1 << 25 | 7),
    };
    // Had it been taken for an instruction of 64-bit programs: `ldp w0, w1, [x2]`.
    board.ram.insert(ENTRY, 0x2940_0440);
    exits(&mut board, &mut machine, isv_not_valid);
    took(&board, 0x24, UNCONDITIONAL);
}
