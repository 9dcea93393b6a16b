// SPDX-License-Identifier: BSD-2-Clause
//! What a guest may rely on of its processor, from its start on.

use state::{BaselineV1, ImplementationV1, MachineRecordV2, RegisterFile};

use super::board::{BUNDLE, boot_from};
use super::*;

const DISCOVER_IMPL_VER: u64 = 0xc600_0040;
const DISCOVER_IMPL_CPUS: u64 = 0xc600_0041;

fn description(board: &mut Board, machine: &mut Machine) -> MachineRecordV2 {
    let length = length_of(&machine.request(board, Request::Describe));
    record::decode(board.exported(length)).unwrap()
}

fn encoded<T: record::Record>(record: &T) -> Vec<u8> {
    let mut bytes = vec![0; record::MAX_SIZE];
    let length = record::encode(record, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// What a guest can rely on that was started on another processor than these boards have.
fn elsewhere() -> BaselineV1 {
    let mut constants = RegisterFile::new();
    assert!(constants.set_word(Register::MIDR_EL1, 0x410f_d083));
    assert!(constants.set_word(Register::ID_AA64ISAR0_EL1, 0x1_1120));
    BaselineV1::of(&constants)
}

/// A guest that was started elsewhere, where it has arrived.
fn arrived(record: &[u8]) -> (Board, Machine) {
    let (mut here, mut machine) = Board::booted(1);
    // For its peer domains' parts.
    let _ = record_of(&mut here, &mut machine);
    let (mut there, mut other) = empty();
    resume_with(record.to_vec(), &mut here, &mut there, &mut other);
    (there, other)
}

fn record_with(baseline: BaselineV1) -> VcpusRecordV4 {
    let (mut here, mut machine) = Board::booted(1);
    let bytes = record_of(&mut here, &mut machine);
    let record: VcpusRecordV4 = record::decode(&bytes).unwrap();
    VcpusRecordV4 { baseline, ..record }
}

#[test]
fn a_guest_that_starts_relies_on_the_board_that_it_starts_on() {
    let (mut vacant, mut nobody) = empty();
    let board = description(&mut vacant, &mut nobody).baseline;
    let (mut here, mut machine) = Board::booted(1);
    assert_eq!(description(&mut here, &mut machine).baseline, board);
    let record: VcpusRecordV4 = record::decode(&record_of(&mut here, &mut machine)).unwrap();
    assert_eq!(record.baseline, board);
}

#[test]
fn a_guest_keeps_what_it_was_started_on_and_takes_it_along() {
    let bytes = encoded(&record_with(elsewhere()));
    let (mut there, mut machine) = arrived(&bytes);
    assert_eq!(description(&mut there, &mut machine).baseline, elsewhere());
    let again: VcpusRecordV4 = record::decode(&record_of(&mut there, &mut machine)).unwrap();
    assert_eq!(again.baseline, elsewhere());
    machine.request(&mut there, Request::Discard);
    there.run(&mut machine);
    let vacant = description(&mut there, &mut machine).baseline;
    assert_ne!(vacant, elsewhere(), "the board without it is what it is");
}

#[test]
fn a_guest_comes_back_from_a_core_where_linux_set_what_its_own_has_not() {
    let mut record = record_with(elsewhere());
    let state = record.vcpus[0].registers.word(Register::PSTATE).unwrap();
    assert!(
        record.vcpus[0]
            .registers
            .set_word(Register::PSTATE, state | 1 << 12)
    );
    let (mut there, mut other) = arrived(&encoded(&record));
    let back: VcpusRecordV4 = record::decode(&record_of(&mut there, &mut other)).unwrap();
    assert_eq!(back.vcpus[0].registers.word(Register::PSTATE), Some(state));
}

#[test]
fn a_guest_of_which_nobody_knows_what_it_was_started_on_relies_on_the_board_that_took_it() {
    let unknown = record_with(BaselineV1::default());
    let (mut there, mut machine) = arrived(&encoded(&unknown));
    let (mut vacant, mut nobody) = empty();
    assert_eq!(
        description(&mut there, &mut machine).baseline,
        description(&mut vacant, &mut nobody).baseline
    );
}

/// What a guest hears to a call.
fn call(board: &mut Board, machine: &mut Machine, x: &[u64]) -> [u64; 4] {
    board.exits(machine, 0, SMC, x);
    let general = &board.cores[0].thread.general;
    [general[0], general[1], general[2], general[3]]
}

#[test]
fn a_guest_learns_of_all_processors_that_it_was_promised_and_of_no_other() {
    let (mut vacant, mut nobody) = empty();
    let mut promise = description(&mut vacant, &mut nobody);
    let another = ImplementationV1 {
        midr: 0x410f_d083,
        revidr: 5,
        aidr: 7,
    };
    promise.baseline.implementations.push(another).unwrap();
    let (mut here, mut machine) = Board::promised(1, BUNDLE, Some(encoded(&promise)));
    let version = call(&mut here, &mut machine, &[DISCOVER_IMPL_VER, 0]);
    assert_eq!(version[..3], [0, 0x1_0000, 2]);
    assert!(!description(&mut here, &mut machine).baseline.told);
    call(&mut here, &mut machine, &[DISCOVER_IMPL_CPUS, 0]);
    let second = call(&mut here, &mut machine, &[DISCOVER_IMPL_CPUS, 1]);
    assert_eq!(second, [0, 0x410f_d083, 5, 7]);
    let none = call(&mut here, &mut machine, &[DISCOVER_IMPL_CPUS, 2]);
    assert_eq!(none[0], u64::MAX - 2, "INVALID_PARAMETER is -3");
    assert!(description(&mut here, &mut machine).baseline.knows(another));
}

#[test]
fn a_board_does_not_start_a_guest_that_is_promised_more_than_it_has() {
    let (mut vacant, mut nobody) = empty();
    let own = description(&mut vacant, &mut nobody);
    let mut more = own.clone();
    assert!(
        more.baseline
            .constants
            .set_word(Register::ID_AA64ISAR0_EL1, 0x21_1120)
    );
    let mut another_core = own;
    another_core.baseline.implementations.clear();
    let identifier = Register::ID_AA64ISAR0_EL1.identifier().value();
    for (promise, detail) in [(more, identifier), (another_core, 0)] {
        let (_, machine) = Board::promised(1, BUNDLE, Some(encoded(&promise)));
        let status = machine.status();
        assert_eq!((status.failure, status.detail), (Failure::Promise, detail));
    }
}

/// What a guest may rely on after a reset on a board whose image makes a promise to its own guest, if it came with `baseline`.
fn baseline_after_reset(baseline: &BaselineV1) -> (BaselineV1, BaselineV1) {
    let (mut vacant, mut nobody) = empty();
    let mut promise = description(&mut vacant, &mut nobody);
    let own = promise.baseline.clone();
    promise
        .baseline
        .implementations
        .push(core(0x410f_d083))
        .unwrap();
    let (mut here, mut machine) = Board::booted(1);
    let bytes = record_of(&mut here, &mut machine);
    let mut record: VcpusRecordV4 = record::decode(&bytes).unwrap();
    record.baseline = baseline.clone();
    let promise = Some(encoded(&promise));
    let (mut there, mut arrived) = Board::promised(1, BUNDLE + 1, promise);
    there.exits(&mut arrived, 0, SMC, &[SYSTEM_OFF]);
    arrived.request(&mut there, Request::Discard);
    there.run(&mut arrived);
    there.bundles.push(boot_from(BUNDLE, 1));
    resume_with(encoded(&record), &mut here, &mut there, &mut arrived);
    there.exits(&mut arrived, 0, SMC, &[SYSTEM_RESET]);
    assert_eq!(arrived.status().phase, Phase::Running);
    (description(&mut there, &mut arrived).baseline, own)
}

fn core(midr: u64) -> ImplementationV1 {
    ImplementationV1 {
        midr,
        ..ImplementationV1::default()
    }
}

#[test]
fn what_an_image_promises_its_guest_is_no_promise_to_one_that_came() {
    let (_, own) = baseline_after_reset(&BaselineV1::default());
    let (after, _) = baseline_after_reset(&own);
    assert_eq!(after, own);
}

#[test]
fn what_a_guest_was_promised_outlives_its_reset_on_another_board() {
    let (_, own) = baseline_after_reset(&BaselineV1::default());
    let mut promised = BaselineV1 { told: true, ..own };
    promised.implementations.push(core(0x411f_d050)).unwrap();
    let (after, _) = baseline_after_reset(&promised);
    // The kernel that starts again has not asked yet.
    assert_eq!(
        after,
        BaselineV1 {
            told: false,
            ..promised
        }
    );
}

#[test]
fn a_promise_does_not_take_back_debug_registers_that_the_guest_has() {
    let (mut vacant, mut nobody) = empty();
    let mut promise = description(&mut vacant, &mut nobody);
    let own = promise.baseline.clone();
    assert!(
        own.constants.contains(Register::MDRAR_EL1),
        "the board leaves them"
    );
    promise.baseline.constants.remove(Register::MDRAR_EL1);
    let (mut here, mut machine) = Board::promised(1, BUNDLE, Some(encoded(&promise)));
    assert_eq!(description(&mut here, &mut machine).baseline, own);
}
