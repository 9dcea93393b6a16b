// SPDX-License-Identifier: BSD-2-Clause
//! A snapshot's file, read a piece at a time and written whole.
//!
//! Responsible for: telling a file that is cut off from one that is damaged, from one that is something else, and from
//! one of a newer version; and for never leaving half a file under the name that was asked for. Never: trusts a length
//! or a place that the file names, or holds guest RAM in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use guest_bundle::{ROM_LOOP, ROM_SIZE, has_firmware};
use hang::Hang;
use protocol::fingerprint::{Fingerprint, Key, PAGE_SIZE, Page};
use protocol::transfer::OfferedBundle;
use state::record::{self, Record, RecordError};
use state::{MachineRecordV2, TimerRecordV1, VcpusRecordV4, VgicRecordV1};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::output::Output;

use super::bundle;
use super::error::{FileError, Part};
use super::format::{
    CHECKSUM, Entry, FLAG_RUNNING, HEADER_ROOM, Header, HeaderError, PAGE, Section, is_in_order,
};

type Result<T, E = FileError> = std::result::Result<T, E>;

/// A machine without its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// When the guest was paused: µs since 1970, UTC, by the host's clock.
    pub taken_us: u64,
    /// Whether it was running, and not paused.
    pub running: bool,
    /// What it was on.
    pub machine: MachineRecordV2,
    /// Its vCPUs and its console.
    pub vcpus: VcpusRecordV4,
    /// Its interrupt controller.
    pub vgic: VgicRecordV1,
    /// Its time.
    pub timer: TimerRecordV1,
}

impl State {
    /// Which part does not belong to the machine that is described, if one does not.
    fn mismatch(&self) -> Option<Part> {
        let vcpus = self.vcpus.vcpus.len();
        if usize::from(self.machine.vcpus) < vcpus {
            return Some(Part::Vcpus);
        }
        let shared = usize::from(self.machine.shared_interrupts);
        if self.vgic.vcpus.len() < vcpus || self.vgic.shared.len() != shared {
            return Some(Part::Vgic);
        }
        let frequency = self.machine.counter_frequency();
        let same = frequency.is_none_or(|frequency| frequency == u64::from(self.timer.frequency));
        (self.timer.vcpus.len() < vcpus || !same).then_some(Part::Timer)
    }
}

/// What is known of a page without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// All zero.
    Zero,
    /// Something else.
    Used {
        /// Which stored page: the same for pages of the same contents.
        slot: u32,
        /// CRC-32 of its contents.
        checksum: u32,
    },
}

/// An open snapshot.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    file: File,
    state: State,
    index: Vec<Entry>,
    bundle_pages: u32,
    pages_offset: u64,
    stored: u32,
}

impl SnapshotFile {
    /// Opens a snapshot and reads everything but the pages.
    ///
    /// # Errors
    ///
    /// [`FileError`]; damage to a page shows when it is read, or in [`Self::verify`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(io_error(path))?;
        let found = file.metadata().map_err(io_error(path))?.len();
        let header = read_header(path, &file, found)?;
        let reader = Reader {
            path,
            file: &file,
            length: found,
        };
        let gap = header.gap().ok_or_else(|| corrupted(path, Part::Header))?;
        let state = reader.state(&header)?;
        let index = reader.index(&header, &state)?;
        reader.nothing(gap)?;
        let opened = Self {
            path: path.to_owned(),
            file,
            state,
            index,
            bundle_pages: header.bundle.get(),
            pages_offset: header.pages_offset.get(),
            stored: header.stored.get(),
        };
        match opened.bundle() {
            Some(bundle) if !bundle::begins_as(&opened, bundle)? => {
                let (path, part) = (path.to_owned(), Part::Bundle);
                Err(FileError::Inconsistent { path, part })
            }
            _ => Ok(opened),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything but the memory.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// How many pages of guest RAM there are.
    pub fn pages(&self) -> u32 {
        let all = u32::try_from(self.index.len()).unwrap_or(u32::MAX);
        all.saturating_sub(self.bundle_pages)
    }

    /// What the guest is started from, if that is there: its pages are numbered on from those of guest RAM.
    pub fn bundle(&self) -> Option<OfferedBundle> {
        (self.bundle_pages > 0).then_some(OfferedBundle {
            identity: self.state.vcpus.bundle,
            pages: self.bundle_pages,
        })
    }

    /// How many pages are stored: different ones that are not zero.
    pub const fn stored(&self) -> u32 {
        self.stored
    }

    /// What a page is; zero beyond the end.
    pub fn kind(&self, page: u32) -> PageKind {
        match self.entry(page) {
            Entry::ZERO => PageKind::Zero,
            entry => PageKind::Used {
                slot: entry.slot.get(),
                checksum: entry.checksum.get(),
            },
        }
    }

    /// Reads a page; false if it is zero.
    ///
    /// # Errors
    ///
    /// The system's, or [`FileError::Corrupted`].
    pub fn read(&self, page: u32, into: &mut Page) -> Result<bool> {
        let entry = self.entry(page);
        let Some(slot) = entry.slot.get().checked_sub(1) else {
            into.fill(0);
            return Ok(false);
        };
        let offset = self.pages_offset + u64::from(slot) * PAGE;
        self.file
            .read_exact_at(into, offset)
            .map_err(io_error(&self.path))?;
        if CHECKSUM.checksum(into) != entry.checksum.get() {
            return Err(corrupted(&self.path, self.part(page)));
        }
        Ok(true)
    }

    /// The eight aligned bytes at an IPA, the first lowest; None where there is no RAM, or a page that is damaged. Firmware is
    /// not in a snapshot.
    fn word(&self, ipa: u64) -> Option<u64> {
        if ipa < ROM_SIZE && !has_firmware(self.state.vcpus.bundle) {
            let (at, word) = ROM_LOOP;
            return Some(if ipa == at { word.into() } else { 0 });
        }
        let offset = ipa.checked_sub(self.state.machine.ram_base)?;
        let number = u32::try_from(offset / PAGE).ok()?;
        let mut page = [0; PAGE_SIZE];
        (number < self.pages()).then(|| self.read(number, &mut page).ok())??;
        let within = usize::try_from(offset % PAGE).ok()?;
        let (word, _) = page.get(within..)?.split_first_chunk()?;
        Some(u64::from_le_bytes(*word))
    }

    /// What a vCPU hangs in, if it does.
    pub fn hang(&self, vcpu: usize) -> Option<Hang> {
        let registers = self.state.vcpus.vcpus.get(vcpu)?.hang_registers()?;
        registers.hang(|ipa| self.word(ipa))
    }

    /// What a page is of.
    fn part(&self, page: u32) -> Part {
        if page < self.pages() {
            Part::Page(page)
        } else {
            Part::Bundle
        }
    }

    /// Reads all of it.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn verify(&self) -> Result<()> {
        let mut page = [0; PAGE_SIZE];
        // Which pages were the first of their contents, by checksum: a writer stores no contents twice, and no zeros.
        let mut first_with: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut slots = 0;
        for number in 0..all_pages(self) {
            let used = self.read(number, &mut page)?;
            let entry = self.entry(number);
            if !used || entry.slot.get() <= slots {
                continue;
            }
            slots = entry.slot.get();
            let alike = first_with.entry(entry.checksum.get()).or_default();
            if page == [0; PAGE_SIZE] || twin(self, alike, &page)?.is_some() {
                return Err(corrupted(&self.path, self.part(number)));
            }
            alike.push(number);
        }
        if !bundle::is_right(self)? {
            return Err(corrupted(&self.path, Part::Bundle));
        }
        Ok(())
    }

    fn entry(&self, page: u32) -> Entry {
        usize::try_from(page)
            .ok()
            .and_then(|page| self.index.get(page))
            .copied()
            .unwrap_or(Entry::ZERO)
    }
}

fn read_header(path: &Path, file: &File, found: u64) -> Result<Header> {
    let truncated = |expected| FileError::Truncated {
        path: path.to_owned(),
        expected,
        found,
    };
    let room = usize::try_from(found.min(HEADER_ROOM as u64)).unwrap_or(0);
    let mut bytes = vec![0; room];
    file.read_exact_at(&mut bytes, 0).map_err(io_error(path))?;
    let header = Header::read(&bytes).map_err(|error| match error {
        HeaderError::Foreign => FileError::Foreign {
            path: path.to_owned(),
        },
        HeaderError::Newer(version) => FileError::Newer {
            path: path.to_owned(),
            version,
        },
        HeaderError::TooShort => truncated(HEADER_ROOM as u64),
        HeaderError::Corrupted => corrupted(path, Part::Header),
    })?;
    let expected = header.file_length.get();
    match found {
        _ if found < expected => Err(truncated(expected)),
        _ if found > expected => Err(corrupted(path, Part::Header)),
        _ => Ok(header),
    }
}

/// Reads parts of a file whose length is known.
struct Reader<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
}

impl Reader<'_> {
    fn state(&self, header: &Header) -> Result<State> {
        let [machine, vcpus, vgic, timer] = header.records;
        let state = State {
            taken_us: header.taken_us.get(),
            running: header.flags.get() & FLAG_RUNNING != 0,
            machine: self.record(machine, Part::Machine)?,
            vcpus: self.record(vcpus, Part::Vcpus)?,
            vgic: self.record(vgic, Part::Vgic)?,
            timer: self.record(timer, Part::Timer)?,
        };
        match state.mismatch() {
            Some(part) => Err(self.inconsistent(part)),
            None => Ok(state),
        }
    }

    fn record<T: Record>(&self, section: Section, part: Part) -> Result<T> {
        let bytes = self.section(section, part, record::MAX_SIZE as u64)?;
        record::decode(&bytes).map_err(|error| FileError::Record {
            path: self.path.to_owned(),
            part,
            error,
        })
    }

    fn index(&self, header: &Header, state: &State) -> Result<Vec<Entry>> {
        let pages = u64::from(header.pages.get());
        if pages.checked_mul(PAGE) != Some(state.machine.ram_size) {
            return Err(self.inconsistent(Part::Index));
        }
        let pages = pages + u64::from(header.bundle.get());
        let length = pages * size_of::<Entry>() as u64;
        let bytes = self.section(header.index, Part::Index, length)?;
        let index = <[Entry]>::ref_from_bytes(&bytes)
            .ok()
            .filter(|index| index.len() as u64 == pages)
            .filter(|index| is_in_order(index, header.stored.get()));
        index
            .map(<[Entry]>::to_vec)
            .ok_or_else(|| corrupted(self.path, Part::Index))
    }

    /// A part's bytes. What is allocated is bounded by the file's own length and by `limit`.
    fn section(&self, section: Section, part: Part, limit: u64) -> Result<Vec<u8>> {
        let (offset, length) = (section.offset.get(), u64::from(section.length.get()));
        let inside = offset
            .checked_add(length)
            .is_some_and(|end| end <= self.length);
        let length = usize::try_from(length)
            .ok()
            .filter(|_| inside && length <= limit);
        let mut bytes = vec![0; length.ok_or_else(|| corrupted(self.path, Part::Header))?];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(io_error(self.path))?;
        if CHECKSUM.checksum(&bytes) != section.checksum.get() {
            return Err(corrupted(self.path, part));
        }
        Ok(bytes)
    }

    /// Less than a page that must be zero.
    fn nothing(&self, gap: std::ops::Range<u64>) -> Result<()> {
        let mut room = [0; PAGE_SIZE];
        let length = usize::try_from(gap.end - gap.start).unwrap_or(PAGE_SIZE);
        let bytes = room.get_mut(..length).unwrap_or_default();
        self.file
            .read_exact_at(bytes, gap.start)
            .map_err(io_error(self.path))?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(corrupted(self.path, Part::Index));
        }
        Ok(())
    }

    fn inconsistent(&self, part: Part) -> FileError {
        FileError::Inconsistent {
            path: self.path.to_owned(),
            part,
        }
    }
}

fn corrupted(path: &Path, part: Part) -> FileError {
    FileError::Corrupted {
        path: path.to_owned(),
        part,
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |error| FileError::Io { path, error }
}

/// Where the pages of a snapshot that is written come from.
pub trait Memory {
    /// How many pages guest RAM has.
    fn pages(&self) -> u32;

    /// How many pages that has which the guest is started from; they are numbered on from those of guest RAM.
    fn bundle_pages(&self) -> u32;

    /// Reads one; false if it is zero.
    ///
    /// # Errors
    ///
    /// If they come from another file.
    fn read(&self, page: u32, into: &mut Page) -> Result<bool>;
}

impl Memory for SnapshotFile {
    fn pages(&self) -> u32 {
        self.pages()
    }

    fn bundle_pages(&self) -> u32 {
        self.bundle_pages
    }

    fn read(&self, page: u32, into: &mut Page) -> Result<bool> {
        self.read(page, into)
    }
}

/// How many pages there are, of guest RAM and of the bundle.
fn all_pages(memory: &impl Memory) -> u32 {
    memory.pages().saturating_add(memory.bundle_pages())
}

/// Writes a snapshot. The file appears under its name when it is complete, and replaces what was there.
///
/// # Errors
///
/// The system's, or that a record cannot be encoded.
pub fn write(path: &Path, state: &State, memory: &impl Memory) -> Result<()> {
    let output = Output::create(path).map_err(io_error(path))?;
    let file = output.file().try_clone().map_err(io_error(path))?;
    Writer::new(path, file, memory).write(state)?;
    output.finish().map_err(io_error(path))
}

/// Whether a snapshot could be written there, before one is taken.
///
/// # Errors
///
/// [`FileError::Io`].
pub fn can_write(path: &Path) -> Result<()> {
    Output::create(path).map(drop).map_err(io_error(path))
}

struct Writer<'a, M> {
    path: &'a Path,
    file: BufWriter<File>,
    memory: &'a M,
    position: u64,
}

impl<'a, M: Memory> Writer<'a, M> {
    fn new(path: &'a Path, file: File, memory: &'a M) -> Self {
        Self {
            path,
            file: BufWriter::with_capacity(1 << 20, file),
            memory,
            position: 0,
        }
    }

    fn write(mut self, state: &State) -> Result<()> {
        let mut header = Header::new();
        header.flags = U32::new(if state.running { FLAG_RUNNING } else { 0 });
        header.taken_us = U64::new(state.taken_us);
        header.pages = U32::new(self.memory.pages());
        header.bundle = U32::new(self.memory.bundle_pages());
        self.put(&[0; HEADER_ROOM])?;
        header.records = [
            self.record(&state.machine, Part::Machine)?,
            self.record(&state.vcpus, Part::Vcpus)?,
            self.record(&state.vgic, Part::Vgic)?,
            self.record(&state.timer, Part::Timer)?,
        ];
        // The index's length is known, its contents are not.
        let index_offset = self.position;
        let length = u64::from(all_pages(self.memory)) * size_of::<Entry>() as u64;
        self.position += length;
        self.position = self.position.next_multiple_of(PAGE);
        header.pages_offset = U64::new(self.position);
        let seek = |file: &mut BufWriter<File>, position| {
            io::Seek::seek(file, io::SeekFrom::Start(position)).map(|_| ())
        };
        seek(&mut self.file, self.position).map_err(io_error(self.path))?;
        let (index, stored) = self.store_pages()?;
        header.stored = U32::new(stored);
        header.file_length = U64::new(self.position);
        header.index = Section {
            offset: U64::new(index_offset),
            length: U32::new(u32::try_from(length).unwrap_or(u32::MAX)),
            checksum: U32::new(CHECKSUM.checksum(index.as_bytes())),
        };
        let finish = |mut file: BufWriter<File>, header: Header| {
            seek(&mut file, index_offset)?;
            file.write_all(index.as_bytes())?;
            seek(&mut file, 0)?;
            file.write_all(header.sealed().as_bytes())?;
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            // Without a stored page nothing was written behind the index.
            file.set_len(header.file_length.get())
        };
        finish(self.file, header).map_err(io_error(self.path))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io_error(self.path))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn record<T: Record>(&mut self, record: &T, part: Part) -> Result<Section> {
        let bytes = encode(record).map_err(|error| FileError::Record {
            path: self.path.to_owned(),
            part,
            error,
        })?;
        let section = Section {
            offset: U64::new(self.position),
            length: U32::new(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            checksum: U32::new(CHECKSUM.checksum(&bytes)),
        };
        self.put(&bytes)?;
        Ok(section)
    }

    /// Writes the pages that are not zero, each contents once.
    fn store_pages(&mut self) -> Result<(Vec<Entry>, u32)> {
        let key = Key::new(crate::random::random_bits());
        let mut first_with: HashMap<[u64; 2], Vec<u32>> = HashMap::new();
        let mut index: Vec<Entry> = Vec::new();
        let mut stored = 0;
        let mut page = [0; PAGE_SIZE];
        for number in 0..all_pages(self.memory) {
            if !self.memory.read(number, &mut page)? {
                index.push(Entry::ZERO);
                continue;
            }
            let Fingerprint(print) = key.fingerprint_of(&page);
            let alike = first_with.entry(print).or_default();
            if let Some(twin) = twin(self.memory, alike, &page)? {
                let entry = usize::try_from(twin).ok().and_then(|twin| index.get(twin));
                index.push(entry.copied().unwrap_or(Entry::ZERO));
                continue;
            }
            alike.push(number);
            stored += 1;
            index.push(Entry {
                slot: U32::new(stored),
                checksum: U32::new(CHECKSUM.checksum(&page)),
            });
            self.put(&page)?;
        }
        Ok((index, stored))
    }
}

/// Which of some pages has the same contents.
fn twin(memory: &impl Memory, candidates: &[u32], page: &Page) -> Result<Option<u32>> {
    let mut other = [0; PAGE_SIZE];
    for candidate in candidates {
        memory.read(*candidate, &mut other)?;
        if other == *page {
            return Ok(Some(*candidate));
        }
    }
    Ok(None)
}

/// A record's bytes.
pub(super) fn encode<T: Record>(record: &T) -> Result<Vec<u8>, RecordError> {
    let mut bytes = vec![0; record::MAX_SIZE];
    let length = record::encode(record, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}
