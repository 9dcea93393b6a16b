// SPDX-License-Identifier: BSD-2-Clause
//! Files that are no snapshots, no longer, or not yet known: told apart, whatever is in them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::format::Header;
use super::*;

fn open(path: &Path, bytes: &[u8]) -> Result<SnapshotFile, FileError> {
    fs::write(path, bytes).unwrap();
    SnapshotFile::open(path)
}

#[test]
fn another_file_is_foreign() {
    let (_scratch, path) = written(9);
    for foreign in [&b""[..], b"GWSR", b"\x7fELF\x02\x01\x01", &[0; 8192]] {
        assert!(
            matches!(open(&path, foreign), Err(FileError::Foreign { .. })),
            "{foreign:02x?}"
        );
    }
}

#[test]
fn a_file_that_was_cut_off_is_truncated_wherever_that_was() {
    let (_scratch, path) = written(9);
    let whole = fs::read(&path).unwrap();
    for length in (1..whole.len()).step_by(97).chain([whole.len() - 1]) {
        match open(&path, &whole[..length]) {
            Err(FileError::Truncated { found, .. }) => assert_eq!(found, length as u64),
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

#[test]
fn a_later_version_is_newer_and_a_damaged_one_is_not() {
    let (_scratch, path) = written(9);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 3;
    // Without its checksum, this is damage.
    assert!(matches!(
        open(&path, &bytes),
        Err(FileError::Corrupted {
            part: Part::Header,
            ..
        })
    ));
    seal(&mut bytes, Header::SIZE);
    assert!(matches!(
        open(&path, &bytes),
        Err(FileError::Newer { version: 3, .. })
    ));
}

/// Gives a header of this length its checksum.
fn seal(bytes: &mut [u8], length: usize) {
    let mut digest = super::super::format::CHECKSUM.digest();
    digest.update(&bytes[..16]);
    digest.update(&bytes[20..length]);
    bytes[16..20].copy_from_slice(&digest.finalize().to_le_bytes());
}

#[test]
fn a_snapshot_of_version_1_is_read_and_has_no_bundle() {
    let (scratch, path) = written(9);
    let written = fs::read(&path).unwrap();
    let mut bytes = written.clone();
    // Its header was shorter by the last field.
    (bytes[8], bytes[12]) = (1, 136);
    seal(&mut bytes, 136);
    let file = open(&path, &bytes).unwrap();
    file.verify().unwrap();
    assert_eq!((file.pages(), file.bundle()), (9, None));
    assert_eq!(*file.state(), state(9, 2));
    let copy = scratch.path().join("copy");
    write(&copy, file.state(), &file).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), written);
    bytes[12] = 140;
    seal(&mut bytes, 140);
    assert!(matches!(
        open(&path, &bytes),
        Err(FileError::Corrupted {
            part: Part::Header,
            ..
        })
    ));
}

#[test]
fn a_bundle_that_is_damaged_or_another_guests_is_found_out() {
    let (_scratch, path) = written_with_bundle(9);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    let last = bytes.len() - PAGE_SIZE;
    bytes[last] ^= 1;
    let file = open(&path, &bytes).unwrap();
    assert!(matches!(
        file.verify(),
        Err(FileError::Corrupted {
            part: Part::Bundle,
            ..
        })
    ));
    let file = open(&path, &whole).unwrap();
    let mut other = file.state().clone();
    other.vcpus.bundle ^= 1;
    let copy = path.with_extension("other");
    write(&copy, &other, &file).unwrap();
    assert!(matches!(
        SnapshotFile::open(&copy),
        Err(FileError::Inconsistent {
            part: Part::Bundle,
            ..
        })
    ));
}

#[test]
fn damage_names_the_part_that_is_damaged() {
    let (_scratch, path) = written(9);
    let whole = fs::read(&path).unwrap();
    let word = |at: usize| u32::from_le_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
    let sections = [
        Part::Machine,
        Part::Vcpus,
        Part::Vgic,
        Part::Timer,
        Part::Index,
    ];
    for (section, part) in sections.into_iter().enumerate() {
        let mut bytes = whole.clone();
        bytes[word(56 + 16 * section) + 3] ^= 0x10;
        match open(&path, &bytes) {
            Err(FileError::Corrupted { part: found, .. }) => assert_eq!(found, part),
            other => panic!("{part}: {other:?}"),
        }
    }
    let mut bytes = whole.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let file = open(&path, &bytes).unwrap();
    assert!(matches!(
        file.verify(),
        Err(FileError::Corrupted {
            part: Part::Page(7),
            ..
        })
    ));
}

#[test]
fn records_of_different_machines_are_no_snapshot() {
    let (_scratch, path) = written(9);
    let mut other = state(9, 2);
    other.timer.frequency = 54_000_000;
    write(&path, &other, &memory(9)).unwrap();
    assert!(matches!(
        SnapshotFile::open(&path),
        Err(FileError::Inconsistent {
            part: Part::Timer,
            ..
        })
    ));
    write(&path, &state(9, 2), &memory(8)).unwrap();
    assert!(matches!(
        SnapshotFile::open(&path),
        Err(FileError::Inconsistent {
            part: Part::Index,
            ..
        })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Also where nothing is: behind the header, and behind the index.
    #[test]
    fn a_changed_bit_is_found_wherever_it_is(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (_scratch, path) = written(9);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let read = open(&path, &bytes).and_then(|file| file.verify());
        prop_assert!(read.is_err(), "byte {}", at);
    }

    /// A header that is whole and whose contents are nonsense is refused without allocating what it asks for.
    #[test]
    fn nonsense_with_a_good_checksum_is_refused(
        at in 20..Header::SIZE - 8, value in any::<u64>(), wide in any::<bool>(),
    ) {
        let (_scratch, path) = written(9);
        let mut bytes = fs::read(&path).unwrap();
        let length = if wide { 8 } else { 1 };
        bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
        let mut digest = super::super::format::CHECKSUM.digest();
        digest.update(&bytes[..16]);
        digest.update(&bytes[20..Header::SIZE]);
        bytes[16..20].copy_from_slice(&digest.finalize().to_le_bytes());
        if let Ok(file) = open(&path, &bytes) {
            let _ = file.verify();
            prop_assert_eq!(file.pages(), 9);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_snapshot(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
        let (_scratch, path) = written(1);
        prop_assert!(open(&path, &bytes).is_err());
        let with_magic: Vec<u8> = MAGIC.into_iter().chain(bytes).collect();
        prop_assert!(open(&path, &with_magic).is_err());
    }
}
