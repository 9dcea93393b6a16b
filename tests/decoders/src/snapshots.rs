// SPDX-License-Identifier: BSD-2-Clause
//! A snapshot's file, as `godwit` opens it: header, records, index, pages.
//!
//! The host has a heap. What a file makes it ask for is bounded by the file's own length, not by what it says of itself.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use godwit::snapshot::{CapturedMemory, FileError, SnapshotFile, State, VERSION, write};

use guest_bundle::{Bundle, Contents, RAM_BASE, SegmentContents, encode};

use crate::allocation::bounded;
use crate::samples::{self, CHECKSUM, PAGES, repair_record};

/// Sections of the header: machine, vCPUs, interrupt controller, timer, index.
const SECTIONS: [usize; 5] = [56, 72, 88, 104, 120];
/// Bytes of the header.
const HEADER: usize = 140;
/// Bytes of a page.
const PAGE: usize = 4096;
/// What opening and reading a file of `length` bytes may ask for: each part is read once, the index twice with a list of
/// what it names, and there is a path in every error.
const fn limit(length: usize) -> usize {
    8 * length + 0x4000
}

/// A file; the first byte says which checksums it is to be given.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if choice & 1 != 0 {
        repair_pages(&mut bytes);
    }
    if choice & 2 != 0 {
        repair_sections(&mut bytes, choice & 4 != 0);
    }
    if choice & 8 != 0 {
        repair_header(&mut bytes, choice & 16 != 0);
    }
    FILES.with_borrow(|files| {
        fs::write(&files.read, &bytes).expect("there is room for a file");
        let opened = bounded(limit(bytes.len()), || open(&files.read));
        let Ok(file) = opened else { return };
        if bytes[8] != u8::try_from(VERSION).expect("a small number") {
            // Another version is read and not written.
            return;
        }
        write(&files.written, file.state(), &file).expect("what was read can be written");
        let again = fs::read(&files.written).expect("it was written");
        let first = again.iter().zip(&bytes).position(|(a, b)| a != b);
        assert!(
            again == bytes,
            "another file than was read, from byte {first:?} on"
        );
    });
}

/// All of a snapshot.
fn open(path: &Path) -> Result<SnapshotFile, FileError> {
    let file = SnapshotFile::open(path)?;
    file.verify()?;
    Ok(file)
}

/// Where this thread's files are; they end with it.
struct Files {
    read: PathBuf,
    written: PathBuf,
}

thread_local! {
    static FILES: RefCell<Files> = RefCell::new(Files::new());
}

impl Files {
    fn new() -> Self {
        let thread = std::thread::current().id();
        let name = format!("godwit-decoders-{}-{thread:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        Self {
            read: path.with_extension("read"),
            written: path.with_extension("written"),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.read, &self.written] {
            let _ = fs::remove_file(path);
        }
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(field(bytes, at)?)).ok()
}

/// Where a section lies, if it lies within the file.
fn section(bytes: &[u8], at: usize) -> Option<std::ops::Range<usize>> {
    let offset = usize::try_from(u64::from_le_bytes(field(bytes, at)?)).ok()?;
    let end = offset.checked_add(word(bytes, at + 8)?)?;
    (end <= bytes.len()).then_some(offset..end)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// Gives every entry of the index the checksum of its page.
fn repair_pages(bytes: &mut [u8]) {
    let pages = field(bytes, 48).map(u64::from_le_bytes);
    let pages = pages.and_then(|offset| usize::try_from(offset).ok());
    let (Some(index), Some(pages)) = (section(bytes, SECTIONS[4]), pages) else {
        return;
    };
    for entry in index.step_by(8) {
        let slot = word(bytes, entry).and_then(|slot| slot.checked_sub(1));
        let Some(at) = slot.and_then(|slot| pages.checked_add(slot.checked_mul(PAGE)?)) else {
            continue;
        };
        if let Some(page) = bytes.get(at..at.saturating_add(PAGE)) {
            put(bytes, entry + 4, CHECKSUM.checksum(page));
        }
    }
}

fn repair_sections(bytes: &mut [u8], records: bool) {
    for (number, at) in SECTIONS.into_iter().enumerate() {
        let Some(range) = section(bytes, at) else {
            continue;
        };
        if records && number < 4 {
            repair_record(&mut bytes[range.clone()]);
        }
        let checksum = CHECKSUM.checksum(&bytes[range]);
        put(bytes, at + 12, checksum);
    }
}

fn repair_header(bytes: &mut [u8], length: bool) {
    if bytes.len() < HEADER {
        return;
    }
    if length {
        let length = bytes.len() as u64;
        bytes[24..32].copy_from_slice(&length.to_le_bytes());
    }
    let mut digest = CHECKSUM.digest();
    digest.update(&bytes[..16]);
    digest.update(&bytes[20..HEADER]);
    put(bytes, 16, digest.finalize());
}

/// What the sample's guest is started from.
struct SampleBundle {
    bytes: Vec<u8>,
    pages: u32,
    identity: u64,
}

fn bundle() -> SampleBundle {
    let ram_size = u64::from(PAGES) * PAGE as u64;
    let contents = Contents {
        vcpus: 1,
        ram_size,
        entry: RAM_BASE,
        device_tree: RAM_BASE,
        segments: vec![SegmentContents {
            ipa: RAM_BASE,
            data: b"a kernel and its device tree",
            mem_size: 0x100,
        }],
    };
    let mut bytes = encode(&contents).expect("a sample is a bundle");
    bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    SampleBundle {
        identity: Bundle::parse(&bytes, ram_size)
            .expect("it was written")
            .identity(),
        pages: u32::try_from(bytes.len() / PAGE).expect("it is small"),
        bytes,
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut state = State {
        taken_us: 1_700_000_000_000_000,
        running: true,
        machine: samples::machine(),
        vcpus: samples::vcpus(),
        vgic: samples::vgic(),
        timer: samples::timer(),
    };
    let mut memory = CapturedMemory::new(PAGES);
    for (page, fill) in [(0, 0), (1, 0x55), (2, 0), (3, 0x55), (4, 0x77)] {
        assert!(memory.put(page, &[fill; PAGE]));
    }
    let bundle = bundle();
    state.vcpus.bundle = bundle.identity;
    memory.add_bundle(bundle.pages);
    for (page, contents) in (PAGES..).zip(bundle.bytes.chunks_exact(PAGE)) {
        assert!(memory.put(page, contents.try_into().expect("a page")));
    }
    FILES.with_borrow(|files| {
        write(&files.written, &state, &memory).expect("a sample is a snapshot");
        let bytes = fs::read(&files.written).expect("it was written");
        let with = |choice: u8| {
            std::iter::once(choice)
                .chain(bytes.iter().copied())
                .collect()
        };
        [0, 0b111, 0b1111, 0b1_1111].map(with).to_vec()
    })
}
