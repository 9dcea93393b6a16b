// SPDX-License-Identifier: BSD-2-Clause
//! What an operator hears of a vCPU that hangs, and of one that does not.

use channel::vmm::{Request, decode_hang};
use hang::Hang;

use super::board::{Board, ENTRY, vcpu_id};
use super::{SMC, SYSTEM_RESET, two_running};
use crate::exit::{Exit, Syndrome};
use crate::lifecycle::machine::Machine;
use crate::port::VcpuRegister;

/// `msr hcr_el2, x0`, and `b .`.
const WANTS_EL2: u32 = 0xd51c_1100;
const ENDLESS: u32 = 0x1400_0000;
/// `PSTATE` at EL1, everything masked.
const MASKED: u64 = 0x3c5;

fn look(board: &mut Board, machine: &mut Machine, vcpu: usize) -> Option<Hang> {
    let vcpu = vcpu_id(vcpu);
    decode_hang(&machine.request(board, Request::Look { vcpu })).expect("an answer")
}

/// A fetch from a vector where nothing is, of a guest that has no vectors.
fn fetches_its_vector(board: &mut Board, machine: &mut Machine) {
    let thread = &mut board.cores[0].thread;
    (thread.program_counter, thread.state) = (0x200, MASKED);
    let exit = Exit::Abort {
        program_counter: 0x200,
        ipa: 0x200,
        fetch: true,
        syndrome: Syndrome(0x21 << 26 | 1 << 25 | 5),
    };
    board.exits(machine, 0, exit, &[]);
}

/// A guest whose first instruction is of EL2.
fn without_vectors() -> (Board, Machine) {
    let (mut board, mut machine) = Board::booted(1);
    board.ram.insert(ENTRY, WANTS_EL2.into());
    let object = &mut board.cores[0].object;
    object.insert(VcpuRegister::ElrEl1, ENTRY);
    object.insert(VcpuRegister::SpsrEl1, MASKED);
    object.insert(VcpuRegister::ESR, 1 << 25);
    fetches_its_vector(&mut board, &mut machine);
    (board, machine)
}

#[test]
fn the_first_exception_of_a_guest_without_vectors_is_known_after_any_number_more() {
    let (mut board, mut machine) = without_vectors();
    for _ in 0..10 {
        fetches_its_vector(&mut board, &mut machine);
    }
    let hang = look(&mut board, &mut machine, 0).expect("it hangs");
    let Hang::Vector {
        taken,
        first: Some(first),
    } = hang
    else {
        panic!("{hang}");
    };
    assert_eq!(taken.at, 0x200);
    assert_eq!((first.at, first.instruction), (ENTRY, Some(WANTS_EL2)));
    assert!(hang.to_string().contains("EL2"), "{hang}");
}

#[test]
fn a_guest_that_starts_again_does_not_hang_in_its_past() {
    let (mut board, mut machine) = without_vectors();
    board.exits(&mut machine, 0, SMC, &[SYSTEM_RESET]);
    assert_eq!(look(&mut board, &mut machine, 0), None);
    // Nor is it remembered of what it took before.
    board.cores[0].object.insert(VcpuRegister::ElrEl1, 0x200);
    fetches_its_vector(&mut board, &mut machine);
    let hang = look(&mut board, &mut machine, 0);
    assert!(
        matches!(hang, Some(Hang::Vector { first: None, .. })),
        "{hang:?}"
    );
}

#[test]
fn an_endless_loop_is_seen_of_the_vcpu_that_is_in_it_running_or_paused() {
    let (mut board, mut machine) = two_running();
    board.ram.insert(ENTRY + 8, ENDLESS.into());
    board.cores[1].thread.program_counter = ENTRY + 8;
    let hang = Some(Hang::Loop {
        at: ENTRY + 8,
        after: None,
    });
    let both = |board: &mut Board, machine: &mut Machine| [0, 1].map(|it| look(board, machine, it));
    assert_eq!(both(&mut board, &mut machine), [None, hang]);
    // Nothing was asked of the kernel but registers.
    assert!(board.did.is_empty(), "{:?}", board.did);
    machine.request(&mut board, Request::Stop);
    assert_eq!(both(&mut board, &mut machine), [None; 2], "on the way");
    board.run(&mut machine);
    assert_eq!(both(&mut board, &mut machine), [None, hang]);
    machine.request(&mut board, Request::Resume);
    board.run(&mut machine);
    assert_eq!(both(&mut board, &mut machine), [None, hang]);
}

#[test]
fn a_vcpu_that_sleeps_or_is_off_or_not_there_does_not_hang() {
    let (mut board, mut machine) = Board::booted(2);
    board.ram.insert(ENTRY + 4, 0xd65f_03c0_d503_207f);
    board.cores[0].thread.program_counter = ENTRY + 4;
    board.exits(&mut machine, 0, Exit::WaitForInterrupt, &[]);
    for vcpu in 0..4 {
        assert_eq!(look(&mut board, &mut machine, vcpu), None, "{vcpu}");
    }
}
