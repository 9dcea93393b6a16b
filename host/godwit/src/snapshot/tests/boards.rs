// SPDX-License-Identifier: BSD-2-Clause
//! Snapshots of and to boards in this process: the real agent, behind a socket, with peer domains that keep records.

mod board;

use ::state::record;
use channel::vmm::Phase as GuestPhase;
use protocol::fingerprint::Page;
use protocol::management::Phase;
use state::admission::OtherCore;

use super::super::file::encode;
use super::*;
use crate::relay::Options;
use board::{Board, PAGES, TIMEOUT};

fn options() -> Options {
    Options {
        timeout: Duration::from_secs(2),
        ..Options::default()
    }
}

#[test]
fn a_running_guest_is_kept_as_it_was_when_it_was_paused_and_resumes() {
    let board = Board::start(GuestPhase::Running);
    let mut client = board.connect();
    let taken = take(&mut client, &options(), &mut |_| {}).unwrap();
    assert_eq!(client.status().unwrap().phase, Phase::Running);
    let expected = super::state(PAGES, 2);
    let found = State {
        taken_us: expected.taken_us,
        ..taken.state
    };
    assert_eq!(found, expected);
    assert!(taken.downtime.is_some());
    let (memory, mut here, mut there) = (super::memory(PAGES), [0; PAGE_SIZE], [0; PAGE_SIZE]);
    for page in 0..PAGES {
        taken.memory.read(page, &mut here).unwrap();
        memory.read(page, &mut there).unwrap();
        if page + 1 == PAGES {
            let writes = board.seen.lock().unwrap().writes;
            assert!(writes > 0, "the guest has written while it was copied");
            there[..8].copy_from_slice(&writes.to_le_bytes());
        }
        assert_eq!(here, there, "page {page}");
    }
    assert_eq!(board.seen.lock().unwrap().discarded, 0);
    assert_eq!(pages_of_bundle(&taken.memory), bundle(PAGES));
}

fn pages_of_bundle(memory: &impl Memory) -> Vec<Page> {
    let pages = memory.pages()..memory.pages() + memory.bundle_pages();
    let mut page = [0; PAGE_SIZE];
    let read = |number| {
        memory.read(number, &mut page).unwrap();
        page
    };
    pages.map(read).collect()
}

#[test]
fn what_a_guest_starts_from_is_restored_with_it_unless_it_is_there() {
    let (_scratch, path) = written_with_bundle(PAGES);
    let file = SnapshotFile::open(&path).unwrap();
    let board = Board::start(GuestPhase::Empty);
    let mut client = board.connect();
    let first = restore(&file, &mut client, &RestoreOptions::default(), &mut |_| {}).unwrap();
    let bundle = bundle(PAGES);
    assert!(board.seen.lock().unwrap().store.starts_with(&bundle));
    client.pause(TIMEOUT).unwrap();
    client.discard().unwrap();
    let again = restore(&file, &mut client, &RestoreOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(
        first.pages - again.pages,
        u32::try_from(bundle.len()).unwrap()
    );
    assert!(board.seen.lock().unwrap().store.starts_with(&bundle));
}

#[test]
fn a_paused_guest_is_kept_and_stays_paused() {
    let board = Board::start(GuestPhase::Stopped);
    let mut client = board.connect();
    let taken = take(&mut client, &options(), &mut |_| {}).unwrap();
    assert_eq!(client.status().unwrap().phase, Phase::Stopped);
    assert!(!taken.state.running && taken.downtime.is_none());
    // And it can be kept again.
    take(&mut client, &options(), &mut |_| {}).unwrap();
}

#[test]
fn there_is_nothing_to_keep_on_an_empty_board() {
    let board = Board::start(GuestPhase::Empty);
    assert!(matches!(
        take(&mut board.connect(), &options(), &mut |_| {}),
        Err(SnapshotError::NoGuest {
            phase: Phase::Empty,
            ..
        })
    ));
}

#[test]
fn what_is_restored_is_what_was_kept() {
    let (_scratch, path) = written(PAGES);
    let file = SnapshotFile::open(&path).unwrap();
    let board = Board::start(GuestPhase::Empty);
    let mut client = board.connect();
    let restored = restore(&file, &mut client, &RestoreOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(restored.phase, Phase::Running);
    let seen = board.seen.lock().unwrap();
    let [vmm, vgic, timer] = seen.imported.clone().unwrap();
    assert_eq!(record::decode(&vmm).as_ref(), Ok(&file.state().vcpus));
    assert_eq!(record::decode(&vgic).as_ref(), Ok(&file.state().vgic));
    assert_eq!(record::decode(&timer).as_ref(), Ok(&file.state().timer));
    let mut page = [0; PAGE_SIZE];
    for (number, found) in (0..).zip(&seen.memory) {
        file.read(number, &mut page).unwrap();
        assert_eq!(*found, page, "page {number}");
    }
}

#[test]
fn a_guest_can_be_left_standing_still_with_its_clock_set_forward() {
    let (_scratch, path) = written(PAGES);
    let file = SnapshotFile::open(&path).unwrap();
    let board = Board::start(GuestPhase::Empty);
    let mut client = board.connect();
    let options = RestoreOptions {
        paused: true,
        advance: Advance::By(Duration::from_secs(2)),
        other_core: OtherCore::default(),
    };
    let restored = restore(&file, &mut client, &options, &mut |_| {}).unwrap();
    assert_eq!(restored.phase, Phase::Imported);
    let seen = board.seen.lock().unwrap();
    let [_, _, timer] = seen.imported.clone().unwrap();
    let timer: TimerRecordV1 = record::decode(&timer).unwrap();
    assert_eq!(timer.count, file.state().timer.count + 125_000_000);
    assert_eq!(timer.vcpus, file.state().timer.vcpus);
}

#[test]
fn a_board_that_the_guest_would_notice_is_refused_with_the_reason() {
    let (_scratch, path) = written(PAGES);
    let file = SnapshotFile::open(&path).unwrap();
    let mut other = super::state(PAGES, 4).machine;
    assert!(
        other
            .baseline
            .constants
            .set_word(Register::CNTFRQ_EL0, 24_000_000)
    );
    let board = Board::with(GuestPhase::Empty, other);
    let error = restore(
        &file,
        &mut board.connect(),
        &RestoreOptions::default(),
        &mut |_| {},
    );
    let message = error.unwrap_err().to_string();
    assert!(message.contains("CNTFRQ_EL0"), "{message}");
}

#[test]
fn a_board_with_a_guest_is_refused() {
    let (_scratch, path) = written(PAGES);
    let file = SnapshotFile::open(&path).unwrap();
    let board = Board::start(GuestPhase::Running);
    assert!(matches!(
        restore(
            &file,
            &mut board.connect(),
            &RestoreOptions::default(),
            &mut |_| {}
        ),
        Err(SnapshotError::Occupied {
            phase: Phase::Running,
            ..
        })
    ));
}

#[test]
fn a_damaged_page_leaves_the_board_empty() {
    let (_scratch, path) = written(PAGES);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let file = SnapshotFile::open(&path).unwrap();
    let board = Board::start(GuestPhase::Empty);
    let mut client = board.connect();
    let error = restore(&file, &mut client, &RestoreOptions::default(), &mut |_| {});
    assert!(matches!(
        error,
        Err(SnapshotError::File(FileError::Corrupted {
            part: Part::Page(_),
            ..
        }))
    ));
    client.wait_for(Phase::Empty, TIMEOUT).unwrap();
    assert!(board.seen.lock().unwrap().imported.is_none());
}
