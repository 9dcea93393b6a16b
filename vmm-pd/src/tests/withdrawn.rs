// SPDX-License-Identifier: BSD-2-Clause
//! What is withdrawn from a list register, and who has it then.

use super::board::{Board, Did, ENTRY, vcpu_id};
use super::{
    AFFINITY_INFO, CPU_OFF, CPU_ON, SMC, access, acknowledgements, enable, store, two_running,
};
use channel::vmm::{Phase, Request};

use crate::capture::tests::fake::Slot;
use crate::exit::Exit;
use crate::lifecycle::machine::Machine;
use crate::port::VcpuRegister;

/// Two vCPUs; shared interrupt 40, which `targets` may have, waits in a list register of the first.
fn pending(targets: u64) -> (Board, Machine) {
    let (mut board, mut machine) = two_running();
    for core in &mut board.cores[..2] {
        core.interface.control = 1;
    }
    let mut set =
        |offset: u64, value| store(&mut board, &mut machine, 0, 0x0800_0000 + offset, value);
    set(0, 1);
    set(0x828, targets);
    set(0x104, 1 << 8);
    // The second shows that it runs, so that it can be given something.
    store(&mut board, &mut machine, 1, 0x0800_0100, 0);
    store(&mut board, &mut machine, 0, 0x0800_0204, 1 << 8);
    assert_eq!(board.cores[0].slots[0], Slot::Pending(40));
    board.did.clear();
    (board, machine)
}

#[test]
fn what_a_vcpu_has_not_taken_when_it_goes_off_is_given_to_the_new_target() {
    let (mut board, mut machine) = pending(0b01);
    board.exits(&mut machine, 0, SMC, &[CPU_OFF]);
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
    assert!(!board.did.contains(&Did::Resumed(0)), "it is off");
    store(&mut board, &mut machine, 1, 0x0800_0828, 0b10);
    assert_eq!(board.cores[1].slots[0], Slot::Pending(40));
}

#[test]
fn a_retargeted_interrupt_leaves_the_old_target_which_continues() {
    let (mut board, mut machine) = pending(0b01);
    board.cores[0].thread.general[7] = 77;
    store(&mut board, &mut machine, 1, 0x0800_0828, 0b10);
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
    assert_eq!(board.cores[1].slots[0], Slot::Pending(40));
    assert_eq!(board.cores[0].thread.general[7], 77);
    assert_eq!(machine.status().phase, Phase::Running);
    assert!(board.did.contains(&Did::Resumed(0)));
}

#[test]
fn a_vcpu_is_off_when_its_list_registers_are_empty_and_can_be_switched_on_again() {
    let (mut board, mut machine) = pending(0b01);
    board.cores[0].thread.general[0] = CPU_OFF;
    machine.exit(&mut board, vcpu_id(0), SMC);
    let ask = |board: &mut Board, machine: &mut Machine, x: [u64; 4]| {
        board.cores[1].thread.general[..4].copy_from_slice(&x);
        machine.exit(board, vcpu_id(1), SMC);
        board.cores[1].thread.general[0]
    };
    assert_eq!(
        ask(&mut board, &mut machine, [AFFINITY_INFO, 0, 0, 0]),
        0,
        "on"
    );
    let already_on = ask(&mut board, &mut machine, [CPU_ON, 0, ENTRY, 0]).cast_signed();
    assert_eq!(already_on, -4);
    board.run(&mut machine);
    assert_eq!(
        ask(&mut board, &mut machine, [AFFINITY_INFO, 0, 0, 0]),
        1,
        "off"
    );
    assert_eq!(ask(&mut board, &mut machine, [CPU_ON, 0, ENTRY + 16, 0]), 0);
    assert_eq!(board.cores[0].thread.program_counter, ENTRY + 16);
    assert_eq!(
        board.cores[0].slots[0],
        Slot::Pending(40),
        "nobody else may have it"
    );
}

#[test]
fn a_stop_while_a_vcpu_switches_itself_off_finds_it_off() {
    let (mut board, mut machine) = pending(0b01);
    board.cores[0].thread.general[0] = CPU_OFF;
    machine.exit(&mut board, vcpu_id(0), SMC);
    machine.request(&mut board, Request::Stop);
    board.run(&mut machine);
    assert_eq!(machine.status().phase, Phase::Stopped);
    machine.request(&mut board, Request::Resume);
    board.run(&mut machine);
    board.exits(&mut machine, 1, SMC, &[AFFINITY_INFO, 0, 0]);
    assert_eq!(board.cores[1].thread.general[0], 1, "off");
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
}

#[test]
fn nothing_is_put_into_a_list_register_that_the_stub_is_about_to_empty() {
    let (mut board, mut machine) = pending(0b01);
    let thread = &mut board.cores[1].thread;
    (thread.program_counter, thread.general[0]) = (ENTRY, 0b10);
    machine.exit(&mut board, vcpu_id(1), access(0x0800_0828, 4, 0, true));
    assert_eq!(board.did.last(), Some(&Did::BeganCapture(0)));
    board.did.clear();
    board.cores[1].thread.general[0] = 1 << 16 | 5;
    machine.exit(&mut board, vcpu_id(1), access(0x0800_0f00, 4, 0, true));
    assert_eq!(board.did, [Did::Resumed(1)]);
    board.run(&mut machine);
    assert_eq!(board.cores[0].slots[0], Slot::Pending(5));
}

#[test]
fn a_timer_that_is_set_anew_before_its_interrupt_is_taken_gives_none() {
    for control in [0b001, 0b111] {
        let (mut board, mut machine) = two_running();
        board.cores[0].interface.control = 1;
        enable(&mut board, &mut machine, 0, 27);
        board.cores[0].object.insert(VcpuRegister::CntvCtl, 0b101);
        board.exits(&mut machine, 0, Exit::Timer, &[]);
        assert_eq!(board.cores[0].slots[0], Slot::Pending(27));
        let before = acknowledgements(&board.cores[0]);
        board.cores[0].object.insert(VcpuRegister::CntvCtl, control);
        board.exits(&mut machine, 0, Exit::WaitForInterrupt, &[]);
        assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
        assert!(
            acknowledgements(&board.cores[0]) > before,
            "it is reported again"
        );
    }
}

#[test]
fn a_vcpu_that_waits_gets_what_another_does_not_take() {
    let (mut board, mut machine) = pending(0b11);
    board.cores[1].object.insert(VcpuRegister::CntvCtl, 0);
    board.exits(&mut machine, 1, Exit::WaitForInterrupt, &[]);
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
    assert_eq!(board.cores[1].slots[0], Slot::Pending(40));
    assert_eq!(
        board
            .did
            .iter()
            .rev()
            .find(|did| matches!(did, Did::Resumed(1))),
        Some(&Did::Resumed(1))
    );
}

#[test]
fn of_several_targets_one_that_waits_gets_an_interrupt() {
    let (mut board, mut machine) = pending(0b11);
    board.cores[0].slots[0] = Slot::Empty;
    board.exits(&mut machine, 0, Exit::Maintenance(0), &[]);
    board.cores[1].object.insert(VcpuRegister::CntvCtl, 0);
    board.exits(&mut machine, 1, Exit::WaitForInterrupt, &[]);
    store(&mut board, &mut machine, 0, 0x0800_0204, 1 << 8);
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
    assert_eq!(board.cores[1].slots[0], Slot::Pending(40));
}

#[test]
fn a_vcpu_that_does_other_things_gives_what_it_does_not_take_to_one_that_waits() {
    let (mut board, mut machine) = pending(0b01);
    board.cores[1].object.insert(VcpuRegister::CntvCtl, 0);
    board.exits(&mut machine, 1, Exit::WaitForInterrupt, &[]);
    assert_eq!(
        board.cores[0].slots[0],
        Slot::Pending(40),
        "not one of its targets"
    );
    store(&mut board, &mut machine, 0, 0x0800_0828, 0b11);
    board.exits(&mut machine, 0, Exit::WaitForInterrupt, &[]);
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
    assert_eq!(board.cores[1].slots[0], Slot::Pending(40));
}
