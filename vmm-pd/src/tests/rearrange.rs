// SPDX-License-Identifier: BSD-2-Clause
//! List registers that are rearranged while the guest runs.

use super::board::{Board, Did, ENTRY, vcpu_id};
use super::{SMC, SYSTEM_OFF, access, store, two_running};
use channel::vmm::{Phase, Request};
use state::Register;

use crate::capture::tests::fake::Slot;
use crate::exit::Exit;
use crate::lifecycle::machine::Machine;
use crate::port::VcpuRegister;

/// A second vCPU's call: PSCI's version.
const VERSION: u64 = 0x8400_0000;

/// Two vCPUs; the first has as many interrupts pending as list registers, the least urgent of which is 43.
fn overflowing() -> (Board, Machine) {
    let (mut board, mut machine) = two_running();
    for core in &mut board.cores[..2] {
        core.interface.control = 1;
    }
    let mut set =
        |offset: u64, value| store(&mut board, &mut machine, 0, 0x0800_0000 + offset, value);
    set(0, 1);
    set(0x428, 0x9080_7060);
    set(0x42c, 0x20);
    set(0x828, 0x0101_0101);
    set(0x82c, 0x01);
    set(0x104, 0x1f00);
    set(0x204, 0x0f00);
    assert_eq!(board.cores[0].slots, [40, 41, 42, 43].map(Slot::Pending));
    board.did.clear();
    (board, machine)
}

/// The first vCPU raises 44, which is more urgent than all of them; the stub has not run yet.
fn raise(board: &mut Board, machine: &mut Machine) {
    let thread = &mut board.cores[0].thread;
    (thread.program_counter, thread.general[0]) = (ENTRY, 1 << 12);
    machine.exit(board, vcpu_id(0), access(0x0800_0204, 4, 0, true));
    let did = [Did::Resumed(0), Did::Suspended(0), Did::BeganCapture(0)];
    assert_eq!(board.did, did);
    board.did.clear();
}

fn rearranged() -> [Slot; 4] {
    [44, 40, 41, 42].map(Slot::Pending)
}

#[test]
fn the_most_urgent_are_in_list_registers_and_the_vcpu_is_as_it_was() {
    let (mut board, mut machine) = overflowing();
    board.cores[0].slots[1] = Slot::Active(41);
    board.cores[0].thread.general[7] = 77;
    board.cores[0].object.insert(VcpuRegister::CntvCtl, 1);
    let core = &mut board.cores[0];
    assert!(core.registers.set_word(Register::TPIDR_EL1, 0x7e11));
    core.interface.priority_mask = 0xf0;
    let before = (core.interface, core.object[&VcpuRegister::Cntvoff]);
    raise(&mut board, &mut machine);
    board.run(&mut machine);
    let core = &board.cores[0];
    assert_eq!(
        core.slots,
        [
            Slot::Active(41),
            Slot::Pending(44),
            Slot::Pending(40),
            Slot::Pending(42)
        ]
    );
    let after = (core.interface, core.object[&VcpuRegister::Cntvoff]);
    assert_eq!(after, before);
    assert_eq!(core.registers.word(Register::TPIDR_EL1), Some(0x7e11));
    assert_eq!(core.object[&VcpuRegister::CntvCtl], 1);
    let thread = &core.thread;
    assert_eq!(
        (thread.program_counter, thread.general[7]),
        (ENTRY + 4, 77),
        "it continues after its store"
    );
    assert_eq!(board.did.last(), Some(&Did::Resumed(0)));
    let others = [Did::Suspended(1), Did::Froze, Did::CapturedTimer(0)];
    let continued = !others.iter().any(|did| board.did.contains(did));
    assert!(continued, "the other vCPU and time: {:?}", board.did);
    assert_eq!(
        (machine.status().phase, machine.rearrange),
        (Phase::Running, 0)
    );
}

#[test]
fn the_other_vcpu_continues_and_what_it_sends_arrives() {
    let (mut board, mut machine) = overflowing();
    raise(&mut board, &mut machine);
    let call = |board: &mut Board, machine: &mut Machine, exit, x: u64| {
        let thread = &mut board.cores[1].thread;
        (thread.program_counter, thread.general[0]) = (ENTRY, x);
        machine.exit(board, vcpu_id(1), exit);
    };
    call(&mut board, &mut machine, SMC, VERSION);
    assert_eq!(board.cores[1].thread.general[0], 0x1_0001);
    let send = access(0x0800_0f00, 4, 0, true);
    call(&mut board, &mut machine, send, 1 << 16 | 5);
    assert_eq!(
        board.did,
        [Did::Resumed(1); 2],
        "nothing is injected meanwhile"
    );
    board.run(&mut machine);
    assert_eq!(
        board.cores[0].slots,
        [5, 44, 40, 41].map(Slot::Pending),
        "SGI 5 has priority 0"
    );
}

#[test]
fn a_stop_waits_until_the_vcpu_has_its_state_back() {
    for steps in 0.. {
        let (mut board, mut machine) = overflowing();
        board.cores[0].thread.general[7] = 77;
        raise(&mut board, &mut machine);
        for _ in 0..steps {
            if board.cores[0].has_exit() {
                let exit = board.cores[0].next_exit();
                machine.exit(&mut board, vcpu_id(0), exit);
            }
        }
        let over = !board.cores[0].has_exit();
        machine.request(&mut board, Request::Stop);
        assert_eq!(machine.status().phase, Phase::Stopping);
        board.run(&mut machine);
        assert_eq!(machine.status().phase, Phase::Stopped, "after {steps}");
        assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
        machine.request(&mut board, Request::Resume);
        board.run(&mut machine);
        assert_eq!(board.cores[0].slots, rearranged(), "after {steps}");
        let thread = &board.cores[0].thread;
        assert_eq!(
            (thread.program_counter, thread.general[7]),
            (ENTRY + 4, 77),
            "after {steps}"
        );
        if over {
            assert!(steps > 2, "the stub leaves several times");
            break;
        }
    }
}

#[test]
fn a_guest_that_ends_meanwhile_leaves_a_board_for_the_next() {
    let (mut board, mut machine) = overflowing();
    raise(&mut board, &mut machine);
    board.cores[1].thread.general[0] = SYSTEM_OFF;
    machine.exit(&mut board, vcpu_id(1), SMC);
    assert_eq!(machine.status().phase, Phase::Off);
    board.run(&mut machine);
    machine.request(&mut board, Request::Discard);
    board.run(&mut machine);
    assert_eq!(machine.status().phase, Phase::Empty);
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4]);
}

#[test]
fn the_end_of_the_timers_interrupt_is_not_forgotten() {
    let (mut board, mut machine) = two_running();
    board.cores[0].interface.control = 1;
    let mut set =
        |offset: u64, value| store(&mut board, &mut machine, 0, 0x0800_0000 + offset, value);
    set(0, 1);
    set(0x428, 0x9080_7060);
    set(0x418, 0x7000_0000);
    set(0x828, 0x0101_0101);
    set(0x100, 1 << 27);
    set(0x104, 0x0f00);
    set(0x204, 0x0e00);
    board.cores[0].object.insert(VcpuRegister::CntvCtl, 0b101);
    board.exits(&mut machine, 0, Exit::Timer, &[]);
    assert_eq!(board.cores[0].slots[3], Slot::Pending(27));
    // The guest has ended it; the kernel's report comes when the stub runs.
    board.cores[0].slots[3] = Slot::Ended(27);
    let before = super::acknowledgements(&board.cores[0]);
    board.did.clear();
    let thread = &mut board.cores[0].thread;
    thread.general[0] = 1 << 8;
    machine.exit(&mut board, vcpu_id(0), access(0x0800_0204, 4, 0, true));
    board.run(&mut machine);
    assert_eq!(
        board.cores[0].slots,
        [
            Slot::Pending(40),
            Slot::Pending(41),
            Slot::Pending(42),
            Slot::Pending(43)
        ]
    );
    assert_eq!(
        super::acknowledgements(&board.cores[0]),
        before + 1,
        "the kernel unmasks it"
    );
}
