// SPDX-License-Identifier: BSD-2-Clause
//! The machine on a board of memory: what each exit means to its guest.

mod accesses;
mod baseline;
mod board;
mod console;
mod day;
mod look;
mod programs;
mod rearrange;
mod restart;
mod stop;
mod trap;
mod withdrawn;

use board::{Board, Did, ENTRY, acknowledgements, vcpu_id};
use channel::vmm::{Failure, Phase, Request, decode_answer};
use channel::{Message, VcpuId};
use state::{PowerV1, Register, VcpusRecordV4, record};

use crate::capture::tests::fake::Slot;
use crate::exit::{Exit, Syndrome};
use crate::lifecycle::machine::Machine;
use crate::port::{Port as _, VcpuRegister};

/// The time of day when the board started, in seconds since 1970.
const DAY: u64 = 1_800_000_000;

const SMC: Exit = Exit::SecureMonitorCall(Syndrome(0x17 << 26 | 1 << 25));
const CPU_OFF: u64 = 0x8400_0002;
const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;

/// A one-register access of `width` bytes by `x<register>` that aborted at `ipa`.
fn access(ipa: u64, width: u64, register: u64, write: bool) -> Exit {
    let size = u64::from(width.trailing_zeros());
    let isv = 1 << 24 | size << 22 | register << 16 | u64::from(write) << 6;
    Exit::Abort {
        program_counter: ENTRY,
        ipa,
        fetch: false,
        syndrome: Syndrome(0x25 << 26 | 1 << 25 | isv),
    }
}

fn store(board: &mut Board, machine: &mut Machine, vcpu: usize, ipa: u64, value: u64) {
    board.cores[vcpu].thread.program_counter = ENTRY;
    board.exits(machine, vcpu, access(ipa, 4, 0, true), &[value]);
}

/// Switches the distributor on, and an interrupt with it.
fn enable(board: &mut Board, machine: &mut Machine, vcpu: usize, intid: u64) {
    store(board, machine, vcpu, 0x0800_0000, 1);
    let register = 0x0800_0100 + 4 * (intid / 32);
    store(board, machine, vcpu, register, 1 << (intid % 32));
}

fn two_running() -> (Board, Machine) {
    let (mut board, mut machine) = Board::booted(2);
    board.exits(&mut machine, 0, SMC, &[CPU_ON, 1, ENTRY + 8, 77]);
    board.did.clear();
    (board, machine)
}

fn length_of(message: &channel::Message) -> usize {
    usize::try_from(decode_answer(message).expect("a length")).expect("small")
}

/// The record of a paused machine.
fn record_of(board: &mut Board, machine: &mut Machine) -> Vec<u8> {
    machine.request(board, Request::Stop);
    board.run(machine);
    let length = length_of(&machine.request(board, Request::Export));
    board.exported(length).to_vec()
}

/// Lets an empty board take over a record of the machine on `from`, and run it.
fn run_record(record: Vec<u8>, from: &mut Board) -> Board {
    let (mut board, mut machine) = empty();
    resume_with(record, from, &mut board, &mut machine);
    board
}

/// A board without a guest.
fn empty() -> (Board, Machine) {
    let mut board = Board::new();
    let mut machine = Machine::new(None);
    machine.start(&mut board);
    board.run(&mut machine);
    (board, machine)
}

/// Lets a machine that is empty take over a record of the machine on `from`, and run it.
fn resume_with(record: Vec<u8>, from: &mut Board, board: &mut Board, machine: &mut Machine) {
    board.take_peer_domains_of(from);
    let length = u32::try_from(record.len()).expect("small");
    board.import = record;
    let imported = machine.request(board, Request::Import { length });
    assert!(imported.answer().is_ok());
    machine.request(board, Request::Resume);
    board.run(machine);
    assert_eq!(machine.status().phase, Phase::Running);
}

#[test]
fn a_guest_boots_at_its_entry_with_the_device_tree_in_x0() {
    let (board, machine) = Board::booted(2);
    assert_eq!(machine.status().phase, Phase::Running);
    assert_eq!(board.loaded, [0, 1]);
    let thread = &board.cores[0].thread;
    assert_eq!(
        (thread.program_counter, thread.general[0]),
        (ENTRY, 0x4800_0000)
    );
    assert_eq!(thread.state, 0x3c5);
    assert_eq!(board.cores[0].object[&VcpuRegister::VMPIDR], 0x8000_0000);
}

// Pitfall: A board answered nothing while its guest's memory was gone through in one call.
#[test]
fn questions_are_answered_between_the_slices_of_a_load() {
    let (mut board, mut machine) = two_running();
    board.exits_once(&mut machine, 0, SMC, &[SYSTEM_RESET]);
    let mut answered = 0;
    while machine.status().phase == Phase::Starting {
        let answer = machine.request(&mut board, Request::Status);
        answered += usize::from(channel::vmm::Status::decode(&answer).is_ok());
        assert!(board.run_once(&mut machine), "it continues by itself");
    }
    assert!(answered > board::FLUSHES + 2 * board::SLICES);
    assert_eq!(machine.status().phase, Phase::Running);
}

#[test]
fn an_smc_returns_to_the_next_instruction_with_only_x0_changed() {
    let (mut board, mut machine) = Board::booted(1);
    board.exits(&mut machine, 0, SMC, &[0x8400_0000, 11, 12, 13]);
    let thread = &board.cores[0].thread;
    assert_eq!(thread.program_counter, ENTRY + 4);
    assert_eq!(thread.general[..4], [0x1_0001, 11, 12, 13]);
    assert_eq!(board.did, [Did::Resumed(0)]);
    let nonzero_immediate = Exit::SecureMonitorCall(Syndrome(0x17 << 26 | 7));
    board.exits(&mut machine, 0, nonzero_immediate, &[0x8400_0000]);
    assert_eq!(board.cores[0].thread.general[0], u64::MAX, "NOT_SUPPORTED");
}

// Pitfall: PSCI's reset wiped the identity.
#[test]
fn cpu_on_starts_a_vcpu_with_its_own_identity_and_everyones_time() {
    let (board, _) = two_running();
    let thread = &board.cores[1].thread;
    assert_eq!((thread.program_counter, thread.general[0]), (ENTRY + 8, 77));
    let of = |core: usize, register| board.cores[core].object[&register];
    assert_eq!(of(1, VcpuRegister::VMPIDR), 0x8000_0001);
    assert_eq!(of(0, VcpuRegister::Cntvoff), of(1, VcpuRegister::Cntvoff));
}

#[test]
fn cpu_on_is_refused_as_psci_says() {
    let (mut board, mut machine) = two_running();
    let mut call = |x: [u64; 3]| {
        board.exits(&mut machine, 0, SMC, &[CPU_ON, x[0], x[1], x[2]]);
        board.cores[0].thread.general[0].cast_signed()
    };
    assert_eq!(call([1, ENTRY, 0]), -4, "ALREADY_ON");
    assert_eq!(call([2, ENTRY, 0]), -2, "INVALID_PARAMETERS: no such vCPU");
    assert_eq!(
        call([0x100, ENTRY, 0]),
        -2,
        "INVALID_PARAMETERS: another cluster"
    );
    board.exits(&mut machine, 1, SMC, &[CPU_OFF]);
    board.exits(&mut machine, 0, SMC, &[AFFINITY_INFO, 1, 0]);
    assert_eq!(board.cores[0].thread.general[0], 1, "off");
    board.exits(&mut machine, 0, SMC, &[CPU_ON, 1, 0x10_0000, 0]);
    assert_eq!(
        board.cores[0].thread.general[0].cast_signed(),
        -9,
        "INVALID_ADDRESS"
    );
}

#[test]
fn system_off_happens_exactly_once() {
    let (mut board, mut machine) = two_running();
    let before = board.phases;
    board.exits(&mut machine, 0, SMC, &[SYSTEM_OFF]);
    assert_eq!(machine.status().phase, Phase::Off);
    board.did.clear();
    board.exits(&mut machine, 1, SMC, &[SYSTEM_OFF]);
    assert_eq!((board.phases - before, board.did.len()), (1, 0));
}

#[test]
fn a_guest_is_off_when_its_last_words_have_left_the_board() {
    let (mut board, mut machine) = two_running();
    let before = board.phases;
    board.console_sent = false;
    board.exits(&mut machine, 0, SMC, &[SYSTEM_OFF]);
    machine.console_ready(&mut board);
    assert_eq!(machine.status().phase, Phase::Running);
    board.console_sent = true;
    assert_eq!(
        (board.phases - before, machine.status().phase),
        (0, Phase::Running)
    );
    machine.console_ready(&mut board);
    assert_eq!(
        (board.phases - before, machine.status().phase),
        (1, Phase::Off)
    );
}

#[test]
fn a_reset_starts_the_guest_again_with_nothing_left_of_it() {
    let (mut board, mut machine) = two_running();
    enable(&mut board, &mut machine, 1, 27);
    board.exits(&mut machine, 1, Exit::Timer, &[]);
    assert_ne!(board.cores[1].slots[0], Slot::Empty);
    board.exits(&mut machine, 0, SMC, &[SYSTEM_RESET]);
    assert_eq!(machine.status().phase, Phase::Running);
    assert_eq!(board.loaded, [0, 1, 0, 1]);
    assert_eq!(
        board.flushed,
        board::FLUSHES,
        "the last run's, and that once"
    );
    assert_eq!(board.cores[1].slots, [Slot::Empty; 4]);
    let thread = &board.cores[0].thread;
    assert_eq!(
        (thread.program_counter, thread.general[0]),
        (ENTRY, 0x4800_0000)
    );
}

#[test]
fn an_inter_processor_interrupt_never_waits_for_the_senders_slice() {
    let (mut board, mut machine) = two_running();
    enable(&mut board, &mut machine, 0, 1);
    enable(&mut board, &mut machine, 1, 1);
    // The receiver sleeps: it is resumed after the sender, so it goes first.
    board.exits(&mut machine, 1, Exit::WaitForInterrupt, &[]);
    board.did.clear();
    store(&mut board, &mut machine, 0, 0x0800_0f00, 1 << 17 | 1);
    assert_eq!(
        board.did,
        [Did::Resumed(0), Did::Injected(1, 1), Did::Resumed(1)]
    );
    // It is ready but not running: it is brought to the head of the queue.
    board.cores[1].slots[0] = Slot::Empty;
    board.exits(&mut machine, 1, Exit::Maintenance(0), &[]);
    board.did.clear();
    store(&mut board, &mut machine, 0, 0x0800_0f00, 1 << 17 | 1);
    assert_eq!(
        board.did,
        [
            Did::Resumed(0),
            Did::Injected(1, 1),
            Did::Suspended(1),
            Did::Resumed(1)
        ]
    );
}

#[test]
fn a_sleeping_vcpu_costs_one_call_and_is_woken_once_when_due() {
    let (mut board, mut machine) = Board::booted(1);
    board.cores[0].object.insert(VcpuRegister::CntvCtl, 1);
    board.cores[0].object.insert(VcpuRegister::CntvCval, 5_000);
    let calls = board.timer_calls;
    board.exits(&mut machine, 0, Exit::WaitForInterrupt, &[]);
    assert_eq!((board.did.len(), board.timer_calls - calls), (0, 1));
    assert_eq!(board.cores[0].thread.program_counter, ENTRY + 4);
    board.advance_time(10_000);
    assert!(board.timer_interrupt());
    machine.sleepers_due(&mut board);
    assert_eq!(board.did, [Did::Resumed(0)]);
    assert!(!board.timer_interrupt(), "nobody sleeps any more");
}

#[test]
fn a_vcpu_whose_timer_is_due_already_takes_its_interrupt_instead_of_sleeping() {
    let (mut board, mut machine) = Board::booted(1);
    enable(&mut board, &mut machine, 0, 27);
    board.did.clear();
    board.advance_time(10_000);
    board.cores[0].object.insert(VcpuRegister::CntvCtl, 1);
    board.cores[0].object.insert(VcpuRegister::CntvCval, 5_000);
    board.exits(&mut machine, 0, Exit::WaitForInterrupt, &[]);
    assert_eq!(board.did, [Did::Injected(0, 27), Did::Resumed(0)]);
}

#[test]
fn an_interrupt_that_is_still_to_be_taken_keeps_a_vcpu_awake() {
    let (mut board, mut machine) = Board::booted(1);
    enable(&mut board, &mut machine, 0, 27);
    board.cores[0].object.insert(VcpuRegister::CntvCtl, 0b101);
    board.exits(&mut machine, 0, Exit::Timer, &[]);
    board.did.clear();
    board.exits(&mut machine, 0, Exit::WaitForInterrupt, &[]);
    assert_eq!(board.did, [Did::Resumed(0)]);
}

#[test]
fn the_timers_interrupt_is_unmasked_when_the_guest_has_ended_it() {
    let (mut board, mut machine) = Board::booted(1);
    enable(&mut board, &mut machine, 0, 27);
    board.exits(&mut machine, 0, Exit::Timer, &[]);
    assert_eq!(board.cores[0].slots[0], Slot::Pending(27));
    let before = acknowledgements(&board.cores[0]);
    board.cores[0].slots[0] = Slot::Empty;
    board.exits(&mut machine, 0, Exit::Maintenance(0), &[]);
    assert_eq!(acknowledgements(&board.cores[0]), before + 1);
}

#[test]
fn a_masked_timer_interrupt_does_not_storm() {
    let (mut board, mut machine) = Board::booted(1);
    store(&mut board, &mut machine, 0, 0x0800_0000, 1);
    // Asserted while disabled in the distributor: nothing is injected, and the kernel's mask stays.
    let before = acknowledgements(&board.cores[0]);
    board.cores[0].object.insert(VcpuRegister::CntvCtl, 0b101);
    board.exits(&mut machine, 0, Exit::Timer, &[]);
    assert_eq!(board.cores[0].slots[0], Slot::Empty);
    assert_eq!(acknowledgements(&board.cores[0]), before);
    // Enabled while the condition still holds: delivered.
    enable(&mut board, &mut machine, 0, 27);
    assert_eq!(board.cores[0].slots[0], Slot::Pending(27));
}

#[test]
fn a_timer_interrupt_whose_cause_has_gone_is_not_delivered() {
    let (mut board, mut machine) = Board::booted(1);
    store(&mut board, &mut machine, 0, 0x0800_0000, 1);
    board.cores[0].object.insert(VcpuRegister::CntvCtl, 0b101);
    board.exits(&mut machine, 0, Exit::Timer, &[]);
    let before = acknowledgements(&board.cores[0]);
    board.cores[0].object.insert(VcpuRegister::CntvCtl, 0b001);
    enable(&mut board, &mut machine, 0, 27);
    assert_eq!(board.cores[0].slots[0], Slot::Empty);
    assert_eq!(acknowledgements(&board.cores[0]), before + 1);
}

#[test]
fn an_access_where_nothing_is_becomes_the_guests_abort() {
    let (mut board, mut machine) = Board::booted(1);
    board.cores[0]
        .object
        .insert(VcpuRegister::VBAR, 0x4100_0000);
    board.cores[0]
        .object
        .insert(VcpuRegister::SCTLR, 0x30d0_0800);
    board.exits(&mut machine, 0, access(0x1000_0008, 4, 3, true), &[]);
    let object = &board.cores[0].object;
    // Data abort from the same level, a write, synchronous external; FAR holds the address.
    assert_eq!(
        object[&VcpuRegister::ESR],
        0x25 << 26 | 1 << 25 | 1 << 6 | 0x10
    );
    assert_eq!(object[&VcpuRegister::FAR], 0x1000_0008);
    assert_eq!(object[&VcpuRegister::ElrEl1], ENTRY);
    assert_eq!(object[&VcpuRegister::SpsrEl1], 0x3c5);
    assert_eq!(board.cores[0].thread.program_counter, 0x4100_0200);
}

#[test]
fn a_hypervisor_call_is_an_undefined_instruction() {
    let (mut board, mut machine) = Board::booted(1);
    board.cores[0]
        .object
        .insert(VcpuRegister::VBAR, 0x4100_0000);
    board.cores[0].thread.state = 0; // EL0
    let exit = Exit::HypervisorCall {
        program_counter: 0x4567_0000,
    };
    board.exits(&mut machine, 0, exit, &[]);
    assert_eq!(board.cores[0].object[&VcpuRegister::ESR], 1 << 25);
    assert_eq!(board.cores[0].object[&VcpuRegister::ElrEl1], 0x4567_0000);
    assert_eq!(board.cores[0].thread.program_counter, 0x4100_0400);
}

#[test]
fn a_pair_with_write_back_is_carried_out_register_by_register() {
    let (mut board, mut machine) = Board::booted(1);
    // ldp w2, w3, [x1], #8: encoded by an assembler. Two words of the UART's identification.
    board.ram.insert(ENTRY, 0x28c1_0c22);
    board.cores[0]
        .object
        .insert(VcpuRegister::SCTLR, 0x30d0_0800);
    let exit = Exit::Abort {
        program_counter: ENTRY,
        ipa: 0x0900_0fe0,
        fetch: false,
        syndrome: Syndrome(0x25 << 26 | 1 << 25),
    };
    board.exits(&mut machine, 0, exit, &[0, 0x0900_0fe0]);
    let thread = &board.cores[0].thread;
    assert_eq!(thread.general[1..4], [0x0900_0fe8, 0x11, 0x10]);
    assert_eq!(thread.program_counter, ENTRY + 4);
}

#[test]
fn console_output_costs_one_exit_a_character_and_input_raises_the_line() {
    let (mut board, mut machine) = Board::booted(1);
    enable(&mut board, &mut machine, 0, 33);
    store(&mut board, &mut machine, 0, 0x0800_0820, 1 << 8); // target of INTID 33: vCPU 0
    store(&mut board, &mut machine, 0, 0x0900_0000, b'g'.into());
    assert_eq!(board.output, b"g");
    store(&mut board, &mut machine, 0, 0x0900_0038, 1 << 4 | 1 << 6); // receive interrupts
    board.input.extend(b"x");
    machine.console_ready(&mut board);
    assert_eq!(board.cores[0].slots[0], Slot::Pending(33));
}

#[test]
fn a_kernel_that_refuses_ends_this_guest_with_the_reason() {
    let (mut board, mut machine) = Board::booted(1);
    enable(&mut board, &mut machine, 0, 27);
    board.refuses_injection = true;
    board.exits(&mut machine, 0, Exit::Timer, &[]);
    let status = machine.status();
    assert_eq!(
        (status.phase, status.failure),
        (Phase::Failed, Failure::Kernel)
    );
    assert_eq!(status.detail & 0xffff_ffff, 8, "seL4's error");
    board.refuses_injection = false;
    machine.request(&mut board, Request::Discard);
    board.run(&mut machine);
    assert_eq!(machine.status().phase, Phase::Empty, "ready for another");
}

#[test]
fn a_description_says_which_board_it_is_of_and_what_machine() {
    let (mut board, mut machine) = Board::booted(2);
    let length = length_of(&machine.request(&mut board, Request::Describe));
    let described = &board.export_region()[..length];
    let described: state::MachineRecordV2 = state::record::decode(described).unwrap();
    assert_eq!(described.board, "made of memory");
    assert_eq!((described.ram_size, described.vcpus), (128 << 20, 2));
}

/// The length that an answer tells.
#[test]
fn exits_of_vcpus_that_do_not_run_are_ignored() {
    let (mut board, mut machine) = Board::booted(2);
    machine.exit(&mut board, vcpu_id(1), SMC);
    assert_eq!(machine.status().phase, Phase::Running);
    assert_eq!(board.did, []);
}
