// SPDX-License-Identifier: BSD-2-Clause
use proptest::prelude::*;

use super::*;

const RAM: u64 = 0x80_0000;

fn contents<'a>(segments: &[(u64, &'a [u8], u64)]) -> Contents<'a> {
    Contents {
        vcpus: 2,
        ram_size: RAM,
        entry: RAM_BASE,
        device_tree: RAM_BASE + 1,
        segments: segments
            .iter()
            .map(|&(ipa, data, mem_size)| SegmentContents {
                ipa,
                data,
                mem_size,
            })
            .collect(),
    }
}

#[test]
fn a_bundle_reads_back_as_written() {
    let bytes = encode(&contents(&[
        (RAM_BASE, b"kernel", 0x1000),
        (RAM_BASE + 0x1000, b"tree", 4),
    ]))
    .unwrap();
    let bundle = Bundle::parse(&bytes, RAM).unwrap();
    assert_eq!((bundle.vcpus(), bundle.ram_size()), (2, RAM));
    assert_eq!(
        (bundle.entry(), bundle.device_tree()),
        (RAM_BASE, RAM_BASE + 1)
    );
    let segments: Vec<_> = bundle.segments().collect();
    assert_eq!(
        segments[0],
        Segment {
            ipa: RAM_BASE,
            offset: 0x1000,
            size: 6,
            mem_size: 0x1000
        }
    );
    assert_eq!(
        segments[1],
        Segment {
            ipa: RAM_BASE + 0x1000,
            offset: 0x2000,
            size: 4,
            mem_size: 4
        }
    );
    let data: Vec<_> = segments
        .iter()
        .map(|segment| segment.data(&bytes))
        .collect();
    assert_eq!(data, [&b"kernel"[..], b"tree"]);
    assert_eq!(segments[1].place(), Place::Ram(0x1000));
}

#[test]
fn the_padding_of_the_region_is_ignored() {
    let mut bytes = encode(&contents(&[(RAM_BASE, b"kernel", 6)])).unwrap();
    bytes.resize(0x3000, 0xa5);
    assert_eq!(Bundle::parse(&bytes, RAM).unwrap().segments().count(), 1);
}

#[test]
fn a_board_without_a_guest_has_an_empty_bundle() {
    let bytes = encode(&Contents {
        ram_size: RAM,
        ..Contents::default()
    })
    .unwrap();
    let bundle = Bundle::parse(&bytes, RAM).unwrap();
    assert!(bundle.is_empty());
    assert_eq!(bundle.vcpus(), 0);
}

#[test]
fn the_layout_is_pinned() {
    // The first bytes of version 2: a host and a domain of different builds must agree on them.
    let bytes = encode(&contents(&[(RAM_BASE, b"k0", 0x10)])).unwrap();
    assert_eq!(&bytes[..8], b"GODWITGB");
    assert_eq!(bytes[8..16], [2, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(bytes[16..24], RAM.to_le_bytes());
    assert_eq!(bytes[24..32], RAM_BASE.to_le_bytes());
    assert_eq!(bytes[32..40], (RAM_BASE + 1).to_le_bytes());
    assert_eq!(bytes[40..48], 4098u64.to_le_bytes());
    assert_eq!(bytes[56..60], [1, 0, 0, 0]);
    assert_eq!(bytes[64..72], RAM_BASE.to_le_bytes());
    assert_eq!(bytes[72..80], 4096u64.to_le_bytes());
    assert_eq!(bytes[80..88], 2u64.to_le_bytes());
    assert_eq!(bytes[88..96], 0x10u64.to_le_bytes());
    assert_eq!(bytes[4096..], *b"k0");
}

#[test]
fn what_is_loaded_elsewhere_or_is_something_else_has_another_identity() {
    let identity = |segments: &[(u64, &[u8], u64)]| {
        let bytes = encode(&contents(segments)).unwrap();
        Bundle::parse(&bytes, RAM).unwrap().identity()
    };
    let one = identity(&[(RAM_BASE, b"kernel", 0x10)]);
    assert_eq!(one, identity(&[(RAM_BASE, b"kernel", 0x10)]));
    let others = [
        identity(&[(RAM_BASE, b"kernes", 0x10)]),
        identity(&[(RAM_BASE, b"kernel", 0x11)]),
        identity(&[(RAM_BASE, b"kernel", 0x10), (RAM_BASE + 0x10, b"k", 1)]),
    ];
    assert!(others.iter().all(|other| *other != one && *other != 0));
}

/// Whether the pieces of so many bytes of a bundle give the identity that its header names.
fn is_right(bytes: &[u8], piece: usize) -> bool {
    let mut identifier = Identifier::new(&Bundle::parse(bytes, RAM).unwrap());
    bytes
        .chunks(piece)
        .for_each(|piece| identifier.update(piece));
    identifier.is_right()
}

#[test]
fn a_bundle_that_comes_in_pieces_is_known_by_its_identity() {
    let data = [0x5a; 10_000];
    let bytes = encode(&contents(&[
        (RAM_BASE, &data, 0x4000),
        (RAM_BASE + 0x4000, b"", 0),
        (RAM_BASE + 0x5000, b"tree", 4),
    ]))
    .unwrap();
    for piece in [1, 64, 4096, bytes.len()] {
        assert!(is_right(&bytes, piece), "{piece}");
    }
    for position in [4096, 4096 + 9999, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1;
        assert!(!is_right(&damaged, 4096), "{position}");
    }
    let mut early = Identifier::new(&Bundle::parse(&bytes, RAM).unwrap());
    early.update(&bytes[..4096]);
    assert!(!early.is_right());
}

#[test]
fn a_bundle_is_known_by_its_beginning() {
    let bytes = encode(&contents(&[(RAM_BASE, b"kernel", 6)])).unwrap();
    let length = bytes.len() as u64;
    let bundle = Bundle::read(&bytes[..MAX_HEAD], length, RAM).unwrap();
    assert_eq!((bundle.length(), bundle.segments().count()), (length, 1));
    assert_eq!(
        Bundle::read(&bytes[..MAX_HEAD], length - 1, RAM).unwrap_err(),
        BundleError::Truncated {
            needed: length,
            available: length - 1
        }
    );
}

#[test]
fn segments_outside_guest_ram_are_refused() {
    let below = contents(&[(RAM_BASE - 1, b"k", 1)]);
    let above = contents(&[(RAM_BASE, b"ab", RAM + 1)]);
    let wrapping = contents(&[(u64::MAX, b"ab", 2)]);
    let shrinking = contents(&[(RAM_BASE, b"ab", 1)]);
    for contents in [below, above, wrapping, shrinking] {
        assert_eq!(
            encode(&contents).unwrap_err(),
            BundleError::SegmentRange { index: 0 }
        );
    }
}

#[test]
fn overlapping_segments_are_refused() {
    let overlapping = contents(&[(RAM_BASE, b"ab", 0x20), (RAM_BASE + 0x1f, b"c", 1)]);
    assert_eq!(
        encode(&overlapping).unwrap_err(),
        BundleError::SegmentOverlap {
            first: 0,
            second: 1
        }
    );
}

#[test]
fn an_entry_point_without_code_is_refused() {
    let nowhere = Contents {
        entry: RAM_BASE + 2,
        ..contents(&[(RAM_BASE, b"ab", 0x20)])
    };
    assert_eq!(
        encode(&nowhere).unwrap_err(),
        BundleError::Unbacked { ipa: RAM_BASE + 2 }
    );
}

#[test]
fn another_ram_size_is_refused() {
    let bytes = encode(&contents(&[(RAM_BASE, b"ab", 2)])).unwrap();
    let error = Bundle::parse(&bytes, 2 * RAM).unwrap_err();
    assert_eq!(
        error,
        BundleError::RamSize {
            bundle: RAM,
            actual: 2 * RAM
        }
    );
}

#[test]
fn vcpus_without_a_guest_and_a_guest_without_vcpus_are_refused() {
    let no_vcpu = Contents {
        vcpus: 0,
        ..contents(&[(RAM_BASE, b"ab", 2)])
    };
    assert_eq!(
        encode(&no_vcpu).unwrap_err(),
        BundleError::Vcpus { vcpus: 0 }
    );
    let no_guest = Contents {
        vcpus: 1,
        ram_size: RAM,
        ..Contents::default()
    };
    assert_eq!(
        encode(&no_guest).unwrap_err(),
        BundleError::Vcpus { vcpus: 1 }
    );
    let five = Contents {
        vcpus: 5,
        ..contents(&[(RAM_BASE, b"ab", 2)])
    };
    assert_eq!(encode(&five).unwrap_err(), BundleError::Vcpus { vcpus: 5 });
}

#[test]
fn other_versions_and_other_files_are_refused() {
    let mut bytes = encode(&contents(&[(RAM_BASE, b"ab", 2)])).unwrap();
    bytes[8] = 1;
    assert_eq!(
        Bundle::parse(&bytes, RAM).unwrap_err(),
        BundleError::Version { found: 1 }
    );
    bytes[0] ^= 1;
    assert_eq!(
        Bundle::parse(&bytes, RAM).unwrap_err(),
        BundleError::NotABundle
    );
}

proptest! {
    #[test]
    fn a_changed_header_or_table_is_refused(position in 0usize..96, flip in 1u8..) {
        let mut bytes = encode(&contents(&[(RAM_BASE, b"ab", 2)])).unwrap();
        bytes[position] ^= flip;
        prop_assert!(Bundle::parse(&bytes, RAM).is_err());
    }

    #[test]
    fn a_shortened_bundle_is_refused(cut in 1usize..4098) {
        let bytes = encode(&contents(&[(RAM_BASE, b"ab", 2)])).unwrap();
        prop_assert!(Bundle::parse(&bytes[..bytes.len() - cut], RAM).is_err());
    }

    #[test]
    fn whatever_is_accepted_stays_within_ram(
        starts in prop::collection::vec((0u64..RAM * 2, 0usize..0x100, 0u64..RAM), 1..6),
    ) {
        let data = [0x5au8; 0x100];
        let segments: Vec<_> = starts.iter().map(|&(at, len, size)| (RAM_BASE + at, &data[..len], size)).collect();
        let mut contents = contents(&segments);
        contents.entry = RAM_BASE + starts[0].0;
        contents.device_tree = contents.entry;
        if let Ok(bytes) = encode(&contents) {
            let bundle = Bundle::parse(&bytes, RAM).unwrap();
            for segment in bundle.segments() {
                let (offset, room) = match segment.place() {
                    Place::Ram(offset) => (offset, RAM),
                    Place::Rom(offset) => (offset, ROM_SIZE),
                };
                prop_assert!(offset + segment.mem_size <= room);
                prop_assert!(segment.size <= segment.mem_size && segment.data(&bytes).len() as u64 == segment.size);
            }
            prop_assert_eq!(bundle.segments().count(), segments.len());
        }
    }
}

#[test]
fn segments_for_firmware_memory_stay_within_it_and_show_in_the_identity() {
    let with = |ipa, size| {
        let data = vec![0x55; size];
        let whole = |ipa| SegmentContents {
            ipa,
            data: &data,
            mem_size: data.len() as u64,
        };
        encode(&Contents {
            vcpus: 1,
            ram_size: RAM,
            entry: ipa,
            device_tree: RAM_BASE,
            segments: vec![whole(ipa), whole(RAM_BASE)],
        })
    };
    let identity = |bytes: &[u8]| Bundle::parse(bytes, RAM).unwrap().identity();
    let firmware = with(0, 0x1000).unwrap();
    assert!(has_firmware(identity(&firmware)));
    let place = Bundle::parse(&firmware, RAM)
        .unwrap()
        .segments()
        .next()
        .unwrap()
        .place();
    assert_eq!(place, Place::Rom(0));
    assert!(!has_firmware(identity(
        &with(RAM_BASE + 0x1000, 0x1000).unwrap()
    )));
    assert!(with(ROM_SIZE - 0x1000, 0x1000).is_ok());
    for at in [ROM_SIZE - 0xfff, ROM_SIZE, RAM_BASE - 0x1000] {
        assert_eq!(
            with(at, 0x1000),
            Err(BundleError::SegmentRange { index: 0 })
        );
    }
}
