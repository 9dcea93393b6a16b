// SPDX-License-Identifier: BSD-2-Clause
//! A machine that is stopped, its record, and the board that takes that over.

use super::*;

#[test]
fn a_machine_that_was_stopped_continues_where_it_was() {
    let (mut board, mut machine) = two_running();
    enable(&mut board, &mut machine, 0, 27);
    board.exits(&mut machine, 0, Exit::Timer, &[]);
    let before = [0, 1].map(|core| board.cores[core].thread.clone());
    machine.request(&mut board, Request::Stop);
    board.run(&mut machine);
    assert_eq!(machine.status().phase, Phase::Stopped);
    assert_eq!(board.cores[0].slots, [Slot::Empty; 4], "captured");
    machine.request(&mut board, Request::Resume);
    board.run(&mut machine);
    assert_eq!(machine.status().phase, Phase::Running);
    assert_eq!([0, 1].map(|core| board.cores[core].thread.clone()), before);
    assert_eq!(board.cores[0].slots[0], Slot::Pending(27));
}

#[test]
fn no_vcpu_runs_before_all_have_their_state() {
    let (mut board, mut machine) = two_running();
    machine.request(&mut board, Request::Stop);
    board.run(&mut machine);
    board.did.clear();
    machine.request(&mut board, Request::Resume);
    // The first vCPU's stub has not even left: nobody has been resumed.
    assert!(!board.did.contains(&Did::Resumed(0)) && !board.did.contains(&Did::Resumed(1)));
    board.run(&mut machine);
    assert_eq!(
        board.did[board.did.len() - 2..],
        [Did::Resumed(0), Did::Resumed(1)]
    );
}

#[test]
fn a_record_is_taken_over_by_an_empty_machine_only() {
    let (mut board, mut machine) = two_running();
    machine.request(&mut board, Request::Stop);
    board.run(&mut machine);
    let length = length_of(&machine.request(&mut board, Request::Export));
    let record = board.exported(length).to_vec();
    let import = Request::Import {
        length: u32::try_from(length).expect("small"),
    };

    let mut other = Board::new();
    let mut empty = Machine::new(None);
    empty.start(&mut other);
    other.run(&mut empty);
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
        "the other domains have no vCPUs"
    );
    other.take_peer_domains_of(&mut board);
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
    other.run(&mut taken);
    other.import = record;
    other.take_peer_domains_of(&mut board);
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
    other.run(&mut taken);
    assert_eq!(taken.status().phase, Phase::Empty);
    assert_eq!(loaded(&other), Some(0));
}

#[test]
fn a_register_that_is_set_while_the_guest_is_paused_is_what_it_resumes_with() {
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
    board.run(&mut machine);
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
        other.run(&mut empty);
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
fn all_vcpus_and_time_are_stopped_before_interrupts_and_timers_are_captured() {
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
