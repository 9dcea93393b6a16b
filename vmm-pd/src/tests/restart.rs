// SPDX-License-Identifier: BSD-2-Clause
//! A guest that has been moved and asks for a reset.

use super::board::{BUNDLE, boot_from};
use super::*;

/// Moves the guest of a board that booted it to one that booted `identity` and then got the bundle `kept`, and has it ask
/// for a reset there.
fn reset_where(identity: u64, kept: Option<u64>) -> (Board, Machine) {
    let (mut here, mut machine) = Board::booted(1);
    let record = record_of(&mut here, &mut machine);
    let (mut there, mut arrived) = Board::booted_from(1, identity);
    there.exits(&mut arrived, 0, SMC, &[SYSTEM_OFF]);
    arrived.request(&mut there, Request::Discard);
    there.run(&mut arrived);
    assert_eq!(arrived.status().phase, Phase::Empty);
    there.loaded.clear();
    there.bundles.extend(kept.map(|kept| boot_from(kept, 1)));
    resume_with(record, &mut here, &mut there, &mut arrived);
    there.exits(&mut arrived, 0, SMC, &[SYSTEM_RESET]);
    (there, arrived)
}

// Pitfall: A guest that had been moved and asked for a reset came up as what its new board had booted.
#[test]
fn a_board_starts_nothing_else_in_a_guests_name() {
    let (there, arrived) = reset_where(BUNDLE + 1, None);
    assert_eq!(
        (arrived.status().phase, arrived.status().failure),
        (Phase::Failed, Failure::NoBundle)
    );
    assert!(there.loaded.is_empty());
}

#[test]
fn a_board_that_has_what_a_guest_starts_from_starts_it_again() {
    for (booted, kept) in [(BUNDLE, None), (BUNDLE + 1, Some(BUNDLE))] {
        let (there, arrived) = reset_where(booted, kept);
        assert_eq!(arrived.status().phase, Phase::Running);
        assert_eq!(arrived.status().bundle, BUNDLE);
        assert_eq!(there.loaded, [0, 1]);
    }
}

#[test]
fn a_guest_of_which_nothing_is_known_is_not_started_again_by_chance() {
    let (mut here, mut machine) = Board::booted(1);
    let bytes = record_of(&mut here, &mut machine);
    let mut record: VcpusRecordV4 = record::decode(&bytes).unwrap();
    record.bundle = 0;
    let mut bytes = vec![0; 0x8000];
    let length = record::encode(&record, &mut bytes).unwrap();
    bytes.truncate(length);
    let (mut there, mut arrived) = empty();
    resume_with(bytes, &mut here, &mut there, &mut arrived);
    there.exits(&mut arrived, 0, SMC, &[SYSTEM_RESET]);
    assert_eq!(arrived.status().failure, Failure::NoBundle);
}

/// A bundle with firmware, by its identity.
const FIRMWARE: u64 = 0xf1a5_0000_0000_1234;

#[test]
fn firmware_is_where_a_guest_that_has_some_runs_and_nowhere_else() {
    let (mut here, mut machine) = Board::booted_from(1, FIRMWARE);
    assert!(here.firmware);
    let record = record_of(&mut here, &mut machine);
    machine.request(&mut here, Request::Discard);
    here.run(&mut machine);
    assert!(!here.firmware, "the next guest does not find it");

    // Back to where its firmware is: it is there again.
    let (mut source, mut left) = Board::booted_from(1, FIRMWARE);
    record_of(&mut source, &mut left);
    resume_with(record.clone(), &mut source, &mut here, &mut machine);
    assert!(here.firmware);

    // To a board that starts another guest.
    let (mut other, mut elsewhere) = Board::booted(1);
    record_of(&mut other, &mut elsewhere);
    elsewhere.request(&mut other, Request::Discard);
    other.run(&mut elsewhere);
    let (mut source, _) = Board::booted_from(1, FIRMWARE);
    other.take_peer_domains_of(&mut source);
    let length = u32::try_from(record.len()).unwrap();
    other.import = record;
    let refused = elsewhere.request(&mut other, Request::Import { length });
    let reason = channel::vmm::Refusal::NoFirmware as u64;
    let refused = decode_answer(&refused);
    assert_eq!(refused, Err(channel::ProtocolError::Refused { reason }));
    assert_eq!(elsewhere.status().phase, Phase::Empty);
    assert!(!other.firmware);
}
