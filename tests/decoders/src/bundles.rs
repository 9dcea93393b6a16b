// SPDX-License-Identifier: BSD-2-Clause
//! The guest bundle (`wire/bundle`), as `vmm-pd` reads it.
//!
//! A bundle leaves its writer a choice, namely where segments lie within it, so what is checked is what a loader relies
//! on, and that writing the contents again gives a bundle of the same contents.

use guest_bundle::{
    Bundle, Contents, Identifier, MAX_SEGMENTS, Place, RAM_BASE, ROM_SIZE, Segment,
    SegmentContents, encode,
};

use crate::allocation::without_heap;
use crate::samples::CHECKSUM;

/// Bytes of the header; the checksum is its last field (`guest_bundle::Header`).
const HEADER: usize = 64;
/// Bytes of an entry of the table.
const ENTRY: usize = 32;
/// Bytes of the samples' RAM.
const RAM: u64 = 0x10_0000;

/// A bundle; the first byte says whether it is to be given a checksum.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if choice % 2 == 1 {
        repair(&mut bytes);
    }
    let ram = ram_size(&bytes).unwrap_or(RAM);
    let Ok(bundle) = without_heap(|| Bundle::parse(&bytes, ram)) else {
        return;
    };
    let segments: Vec<_> = bundle.segments().collect();
    assert!(segments.len() <= MAX_SEGMENTS);
    for segment in &segments {
        let (offset, room) = match segment.place() {
            Place::Ram(offset) => (offset, ram),
            Place::Rom(offset) => (offset, ROM_SIZE),
        };
        let end = offset.checked_add(segment.mem_size);
        assert!(end.is_some_and(|end| end <= room));
        assert_eq!(segment.data(&bytes).len() as u64, segment.size);
        assert!(segment.size <= segment.mem_size);
    }
    let contents = Contents {
        vcpus: bundle.vcpus(),
        ram_size: bundle.ram_size(),
        entry: bundle.entry(),
        device_tree: bundle.device_tree(),
        segments: segments
            .iter()
            .map(|segment| SegmentContents {
                ipa: segment.ipa,
                data: segment.data(&bytes),
                mem_size: segment.mem_size,
            })
            .collect(),
    };
    let written = encode(&contents).expect("what was read can be written");
    let again = Bundle::parse(&written, ram).expect("what was written can be read");
    let place = |segment: &Segment| (segment.ipa, segment.size, segment.mem_size);
    assert!((again.segments().map(|it| place(&it))).eq(segments.iter().map(place)));
    assert_eq!(again.entry(), bundle.entry());
    let mut identifier = Identifier::new(&again);
    without_heap(|| identifier.update(&written));
    assert!(identifier.is_right());
}

/// The size of RAM that the bundle is for, so that it is not refused for that.
fn ram_size(bytes: &[u8]) -> Option<u64> {
    let field = bytes.get(16..24)?.try_into().ok()?;
    Some(u64::from_le_bytes(field)).filter(|size| *size <= 1 << 40)
}

fn repair(bytes: &mut [u8]) {
    let Some(count) = bytes.get(HEADER - 8).copied() else {
        return;
    };
    let end = HEADER + usize::from(count) * ENTRY;
    if let Some(head) = bytes.get_mut(..end) {
        head[HEADER - 4..HEADER].fill(0);
        let checksum = CHECKSUM.checksum(head);
        head[HEADER - 4..HEADER].copy_from_slice(&checksum.to_le_bytes());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let guest = Contents {
        vcpus: 2,
        ram_size: RAM,
        entry: RAM_BASE + 0x1000,
        device_tree: RAM_BASE + 0x8000,
        segments: vec![
            SegmentContents {
                ipa: RAM_BASE + 0x1000,
                data: b"the kernel",
                mem_size: 0x2000,
            },
            SegmentContents {
                ipa: RAM_BASE + 0x8000,
                data: b"the device tree",
                mem_size: 0x100,
            },
        ],
    };
    let empty = Contents {
        ram_size: RAM,
        ..Contents::default()
    };
    [guest, empty]
        .iter()
        .map(|contents| {
            let bundle = encode(contents).expect("a sample is a bundle");
            std::iter::once(1).chain(bundle).collect()
        })
        .collect()
}
