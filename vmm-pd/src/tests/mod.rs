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
mod trap;
mod withdrawn;

use board::{Board, Did, ENTRY, acknowledgements, vcpu_id};
use channel::vmm::{Failure, Phase, Request, decode_answer};
use channel::{Message, VcpuId};
use state::{PowerV1, Register, VcpusRecordV4, record};

use crate::capture::tests::fake::Slot;
use crate::exit::{Exit, Syndrome};
use crate::machine::Machine;
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
    let described = 1 << 24 | size << 22 | register << 16 | u64::from(write) << 6;
    Exit::Abort {
        program_counter: ENTRY,
        ipa,
        fetch: false,
        syndrome: Syndrome(0x25 << 26 | 1 << 25 | described),
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
        assert!(board.settle_once(&mut machine), "it goes on by itself");
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
    board.settle(&mut machine);
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
fn length_of(message: &channel::Message) -> usize {
    usize::try_from(decode_answer(message).expect("a length")).expect("small")
}

#[test]
fn a_machine_that_was_stopped_goes_on_where_it_was() {
    let (mut board, mut machine) = two_running();
    enable(&mut board, &mut machine, 0, 27);
    board.exits(&mut machine, 0, Exit::Timer, &[]);
    let before = [0, 1].map(|core| board.cores[core].thread.clone());
    machine.request(&mut board, Request::Stop);
    board.settle(&mut machine);
    assert_eq!(machine.status().phase, Phase::Stopped);
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4], "captured");
    machine.request(&mut board, Request::Resume);
    board.settle(&mut machine);
    assert_eq!(machine.status().phase, Phase::Running);
    assert_eq!([0, 1].map(|core| board.cores[core].thread.clone()), before);
    assert_eq!(board.cores[0].slots[0], Slot::Pending(27));
}

#[test]
fn no_vcpu_runs_before_all_have_their_state() {
    let (mut board, mut machine) = two_running();
    machine.request(&mut board, Request::Stop);
    board.settle(&mut machine);
    board.did.clear();
    machine.request(&mut board, Request::Resume);
    // The first vCPU's stub has not even left: nobody has been let go.
    assert!(!board.did.contains(&Did::Resumed(0)) && !board.did.contains(&Did::Resumed(1)));
    board.settle(&mut machine);
    assert_eq!(
        board.did[board.did.len() - 2..],
        [Did::Resumed(0), Did::Resumed(1)]
    );
}

#[test]
fn a_record_is_taken_over_by_an_empty_machine_only() {
    let (mut board, mut machine) = two_running();
    machine.request(&mut board, Request::Stop);
    board.settle(&mut machine);
    let length = length_of(&machine.request(&mut board, Request::Export));
    let record = board.exported(length).to_vec();
    let import = Request::Import {
        length: u32::try_from(length).expect("small"),
    };

    let mut other = Board::new();
    let mut empty = Machine::new(None);
    empty.start(&mut other);
    other.settle(&mut empty);
    assert_eq!(empty.status().phase, Phase::Empty);
    other.import = record.clone();
    other.import[40] ^= 1;
    assert!(
        empty.request(&mut other, import).answer().is_err(),
        "a damaged record"
    );
    assert_eq!(empty.status().phase, Phase::Empty, "all or nothing");
    other.import = record.clone();
    assert!(
        empty.request(&mut other, import).answer().is_err(),
        "its neighbours have no vCPUs"
    );
    other.take_neighbours_of(&mut board);
    let mut lossy: VcpusRecordV4 = record::decode(&record).expect("a record");
    lossy.vcpus[0].registers.remove(Register::V31);
    let mut bytes = vec![0; 0x8000];
    let lossy_length = record::encode(&lossy, &mut bytes).expect("room");
    bytes.truncate(lossy_length);
    other.import = bytes;
    let lossy = Request::Import {
        length: u32::try_from(lossy_length).expect("small"),
    };
    assert!(
        empty.request(&mut other, lossy).answer().is_err(),
        "a register is missing"
    );
    other.import = record.clone();
    assert!(empty.request(&mut other, import).answer().is_ok());
    assert_eq!(
        (empty.status().phase, empty.status().vcpus),
        (Phase::Imported, 2)
    );

    board.import = record;
    assert!(
        machine.request(&mut board, import).answer().is_err(),
        "it has a guest"
    );
}

#[test]
fn what_a_restore_left_that_failed_half_way_is_not_the_next_guests() {
    let (mut board, mut machine) = two_running();
    assert!(
        board.cores[0]
            .registers
            .set_word(Register::TTBR0_EL1, 0x4321_0000)
    );
    let record = record_of(&mut board, &mut machine);

    let mut other = Board::new();
    let mut taken = Machine::new(None);
    taken.start(&mut other);
    other.settle(&mut taken);
    other.import = record;
    other.take_neighbours_of(&mut board);
    let length = u32::try_from(other.import.len()).expect("small");
    assert!(
        taken
            .request(&mut other, Request::Import { length })
            .answer()
            .is_ok()
    );
    taken.request(&mut other, Request::Resume);
    let loaded = |board: &Board| board.cores[0].registers.word(Register::TTBR0_EL1);
    assert_eq!(loaded(&other), Some(0x4321_0000));
    let exit = Exit::HypervisorCall { program_counter: 0 };
    taken.exit(&mut other, vcpu_id(0), exit);
    assert_eq!(taken.status().phase, Phase::Failed);

    other.cores[0].forget_exits();
    taken.request(&mut other, Request::Discard);
    other.settle(&mut taken);
    assert_eq!(taken.status().phase, Phase::Empty);
    assert_eq!(loaded(&other), Some(0));
}

#[test]
fn a_register_that_is_set_while_the_guest_stands_still_is_what_it_goes_on_with() {
    let (mut board, mut machine) = two_running();
    let set = |vcpu: u64, register: Register, value: u128| Request::SetRegister {
        vcpu: VcpuId::try_from(vcpu).expect("one of four"),
        register: register.key(),
        value,
    };
    let refused = |answer: Message| answer.answer().is_err();
    let x19 = set(1, Register::X19, 0x1919);
    assert!(refused(machine.request(&mut board, x19)), "it runs");
    let before = record_of(&mut board, &mut machine);
    for bad in [
        // A constant, the identity, the timer's, one too wide, and a vCPU that has none.
        set(1, Register::MIDR_EL1, 1),
        set(1, Register::MPIDR_EL1, 1),
        set(1, Register::CNTV_CVAL_EL0, 1),
        set(1, Register::X19, 1 << 64),
        set(3, Register::X19, 1),
    ] {
        assert!(refused(machine.request(&mut board, bad)), "{bad:?}");
    }
    let unknown = Request::SetRegister {
        vcpu: VcpuId::try_from(0).expect("one of four"),
        register: 0x0013_ffff,
        value: 0,
    };
    assert!(refused(machine.request(&mut board, unknown)));
    let length = length_of(&machine.request(&mut board, Request::Export));
    assert_eq!(board.exported(length), before, "nothing has changed");
    assert!(!refused(machine.request(&mut board, x19)));
    machine.request(&mut board, Request::Resume);
    board.settle(&mut machine);
    assert_eq!(board.cores[1].thread.general[19], 0x1919);
    assert_ne!(board.cores[0].thread.general[19], 0x1919);
}

#[test]
fn a_value_that_no_guest_can_have_is_refused_by_its_name_whoever_brings_it() {
    let (mut board, mut machine) = two_running();
    let bytes = record_of(&mut board, &mut machine);
    for (register, value) in [
        // EL2h, AArch32 Supervisor, and 32-bit programs on a processor that says of none.
        (Register::PSTATE, 0x3c9),
        (Register::PSTATE, 0x3d3),
        (Register::PSTATE, 0x10),
        (Register::VBAR_EL1, 1),
        (Register::CSSELR_EL1, 0x20),
    ] {
        let set = Request::SetRegister {
            vcpu: vcpu_id(1),
            register: register.key(),
            value: value.into(),
        };
        let told = machine.request(&mut board, set).illegal_value();
        let told = told.expect("the answer says what is wrong");
        assert_eq!(
            (told.vcpu, told.register, told.value),
            (1, register.key(), value)
        );
        let mut record: VcpusRecordV4 = record::decode(&bytes).expect("a record");
        assert!(record.vcpus[1].registers.set_word(register, value));
        let mut crafted = vec![0; 0x8000];
        let length = record::encode(&record, &mut crafted).expect("room");
        crafted.truncate(length);
        let mut other = Board::new();
        let mut empty = Machine::new(None);
        empty.start(&mut other);
        other.settle(&mut empty);
        other.import = crafted;
        let length = u32::try_from(length).expect("small");
        let answer = empty.request(&mut other, Request::Import { length });
        assert_eq!(answer.illegal_value(), Some(told));
        assert_eq!(empty.status().phase, Phase::Empty);
    }
    let length = length_of(&machine.request(&mut board, Request::Export));
    assert_eq!(board.exported(length), bytes, "nothing has changed");
}

// Pitfall: The timer fired between saving the GIC and saving the timer.
#[test]
fn all_vcpus_and_time_stand_still_before_interrupts_and_timers_are_captured() {
    let (mut board, mut machine) = two_running();
    board.did.clear();
    record_of(&mut board, &mut machine);
    let of_capture = |did: &&Did| !matches!(did, Did::Resumed(_) | Did::Injected(..));
    let done: Vec<Did> = board.did.iter().filter(of_capture).copied().collect();
    let order = [
        Did::Suspended(0),
        Did::Suspended(1),
        Did::Froze,
        Did::BeganCapture(0),
        Did::CapturedInterrupts(0),
        Did::CapturedTimer(0),
        Did::BeganCapture(1),
        Did::CapturedInterrupts(1),
        Did::CapturedTimer(1),
    ];
    assert_eq!(done, order);
}

/// The record of a machine that stands still.
fn record_of(board: &mut Board, machine: &mut Machine) -> Vec<u8> {
    machine.request(board, Request::Stop);
    board.settle(machine);
    let length = length_of(&machine.request(board, Request::Export));
    board.exported(length).to_vec()
}

/// Lets an empty board take over a record of the machine on `from`, and run it.
fn run_record(record: Vec<u8>, from: &mut Board) -> Board {
    let (mut board, mut machine) = empty();
    go_on_with(record, from, &mut board, &mut machine);
    board
}

/// A board without a guest.
fn empty() -> (Board, Machine) {
    let mut board = Board::new();
    let mut machine = Machine::new(None);
    machine.start(&mut board);
    board.settle(&mut machine);
    (board, machine)
}

/// Lets a machine that is empty take over a record of the machine on `from`, and run it.
fn go_on_with(record: Vec<u8>, from: &mut Board, board: &mut Board, machine: &mut Machine) {
    board.take_neighbours_of(from);
    let length = u32::try_from(record.len()).expect("small");
    board.import = record;
    let imported = machine.request(board, Request::Import { length });
    assert!(imported.answer().is_ok());
    machine.request(board, Request::Resume);
    board.settle(machine);
    assert_eq!(machine.status().phase, Phase::Running);
}

// Pitfall: `CPU_ON`'s entry and context were lost when it was saved before it ran.
#[test]
fn a_vcpu_that_was_started_and_has_not_run_keeps_its_entry_and_context() {
    let (mut board, mut machine) = two_running();
    let record = record_of(&mut board, &mut machine);
    let board = run_record(record, &mut board);
    let thread = &board.cores[1].thread;
    assert_eq!((thread.program_counter, thread.general[0]), (ENTRY + 8, 77));
    assert!(board.did.contains(&Did::Resumed(1)));
}

#[test]
fn a_vcpu_whose_start_is_pending_in_the_record_starts_there() {
    let (mut board, mut machine) = two_running();
    let bytes = record_of(&mut board, &mut machine);
    let mut record: VcpusRecordV4 = record::decode(&bytes).expect("a record");
    record.vcpus[1].power = PowerV1::OnPending {
        entry: ENTRY + 0x40,
        context: 99,
    };
    record.vcpus[1].registers.clear();
    let mut bytes = vec![0; 0x8000];
    let length = record::encode(&record, &mut bytes).expect("room");
    bytes.truncate(length);
    let board = run_record(bytes, &mut board);
    let thread = &board.cores[1].thread;
    assert_eq!(
        (thread.program_counter, thread.general[0]),
        (ENTRY + 0x40, 99)
    );
    assert!(board.did.contains(&Did::Resumed(1)));
}

// Pitfall: A vCPU that was off came back on.
#[test]
fn a_vcpu_that_is_off_stays_off() {
    let (mut board, mut machine) = Board::booted(2);
    let record = record_of(&mut board, &mut machine);
    let board = run_record(record, &mut board);
    assert!(board.did.contains(&Did::Resumed(0)) && !board.did.contains(&Did::Resumed(1)));
}

#[test]
fn exits_of_vcpus_that_do_not_run_are_ignored() {
    let (mut board, mut machine) = Board::booted(2);
    machine.exit(&mut board, vcpu_id(1), SMC);
    assert_eq!(machine.status().phase, Phase::Running);
    assert_eq!(board.did, []);
}
