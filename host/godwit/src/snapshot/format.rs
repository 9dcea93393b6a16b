// SPDX-License-Identifier: BSD-2-Clause
//! How a snapshot lies in its file.
//!
//! Responsible for: the layout, and finding out what is wrong with bytes that should be one. Never: reads or writes a
//! file.
//!
//! # Layout, little-endian
//!
//! | bytes | |
//! |---|---|
//! | 0–4095 | the header below, filled up with zeros |
//! | then | the four records, as the domains exported them: machine, vCPUs, interrupt controller, timer |
//! | then | the index: an entry of 8 bytes for each page of guest RAM, and then for each of the bundle |
//! | then, from a multiple of 4096 on | the pages that are stored, 4096 bytes each |
//!
//! The header has a place and a checksum for each part, so that a program may map the file and look at one part alone.
//! An index entry is a slot and the CRC-32 of the page's contents. Slot 0 is a page of zeros, which is not stored and
//! whose checksum is 0; slot n is the n-th stored page. Pages with the same contents share a slot. Slots are given out
//! in the order of the pages, the parts lie one after the other, and what is between them is zero: a snapshot has one
//! form.
//!
//! The bundle is what the guest is started from. Version 1 knew of none; it is read and not written.

use std::ops::Range;

use crc::{CRC_32_ISO_HDLC, Crc};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version that this program writes.
pub const VERSION: u32 = 2;

/// The oldest version that this program reads.
pub const OLDEST_VERSION: u32 = 1;

/// How many bytes less the header of version 1 has: how many pages the bundle takes.
const SINCE_VERSION_2: usize = size_of::<U32>();

/// How every snapshot begins: a name, and two bytes that tell of a transfer as text.
pub const MAGIC: [u8; 8] = *b"GWSNAP\x1a\n";

/// Where the first record lies: the header has a page of its own.
pub(super) const HEADER_ROOM: usize = 4096;

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;

/// CRC-32 as in zip files, and as records have it.
pub(super) const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The guest was running when the snapshot was taken.
pub(super) const FLAG_RUNNING: u32 = 1;

/// Where a part lies, and what it must be.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Section {
    /// From the file's beginning.
    pub(super) offset: U64,
    /// Bytes.
    pub(super) length: U32,
    /// CRC-32 of those bytes.
    pub(super) checksum: U32,
}

/// The header. The first 20 bytes are the same in every version.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    magic: [u8; 8],
    version: U32,
    /// Bytes of the header that the checksum covers.
    length: U32,
    /// CRC-32 of the header's bytes before and after this field.
    checksum: U32,
    pub(super) flags: U32,
    /// Bytes of the whole file.
    pub(super) file_length: U64,
    /// When the guest was paused: µs since 1970, UTC, by the host's clock.
    pub(super) taken_us: U64,
    /// Pages of guest RAM.
    pub(super) pages: U32,
    /// Pages stored.
    pub(super) stored: U32,
    /// Where the first stored page lies.
    pub(super) pages_offset: U64,
    /// Machine, vCPUs, interrupt controller, timer.
    pub(super) records: [Section; 4],
    pub(super) index: Section,
    /// Pages of the bundle; 0 for none.
    pub(super) bundle: U32,
}

/// A page in the index.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub(super) struct Entry {
    /// 0 for a page of zeros, else which stored page it is, from 1.
    pub(super) slot: U32,
    /// CRC-32 of the contents; 0 for a page of zeros.
    pub(super) checksum: U32,
}

impl Entry {
    pub(super) const ZERO: Self = Self {
        slot: U32::ZERO,
        checksum: U32::ZERO,
    };
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    Foreign,
    Newer(u32),
    TooShort,
    Corrupted,
}

impl Header {
    /// How many bytes it has.
    pub(super) const SIZE: usize = size_of::<Self>();

    /// With nothing in it but what every header of this version has.
    pub(super) fn new() -> Self {
        let mut header = Self::new_zeroed();
        header.magic = MAGIC;
        header.version = U32::new(VERSION);
        header.length = U32::new(u32::try_from(Self::SIZE).unwrap_or(u32::MAX));
        header
    }

    /// Completes it with its checksum.
    pub(super) fn sealed(mut self) -> Self {
        self.checksum = U32::ZERO;
        self.checksum = U32::new(checksum_of(self.as_bytes()));
        self
    }

    /// The header that a file begins with; `bytes` are its first page, or all that there is.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let beginning = bytes.get(..MAGIC.len()).unwrap_or(bytes);
        if beginning.is_empty() || !MAGIC.starts_with(beginning) {
            return Err(HeaderError::Foreign);
        }
        let word = |at: usize| Some(U32::read_from_prefix(bytes.get(at..)?).ok()?.0.get());
        let (version, length) = word(8).zip(word(12)).ok_or(HeaderError::TooShort)?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| (20..=HEADER_ROOM).contains(length))
            .ok_or(HeaderError::Corrupted)?;
        let covered = bytes.get(..length).ok_or(HeaderError::TooShort)?;
        if word(16) != Some(checksum_of(covered)) {
            return Err(HeaderError::Corrupted);
        }
        let older = match version {
            VERSION => 0,
            OLDEST_VERSION => SINCE_VERSION_2,
            _ => return Err(HeaderError::Newer(version)),
        };
        if length + older != Self::SIZE {
            return Err(HeaderError::Corrupted);
        }
        let mut header = Self::new_zeroed();
        let (fields, _) = header.as_mut_bytes().split_at_mut(length);
        fields.copy_from_slice(covered);
        // The rest of the header's page is nothing, and says nothing.
        if bytes.iter().skip(length).any(|byte| *byte != 0) {
            return Err(HeaderError::Corrupted);
        }
        if header.flags.get() & !FLAG_RUNNING != 0 {
            return Err(HeaderError::Corrupted);
        }
        Ok(header)
    }
}

impl Header {
    /// What lies between the index and the stored pages, if every part is where a writer puts it: one after the other.
    pub(super) fn gap(&self) -> Option<Range<u64>> {
        let parts = self.records.iter().chain([&self.index]);
        let mut end = HEADER_ROOM as u64;
        for part in parts {
            if part.offset.get() != end {
                return None;
            }
            end += u64::from(part.length.get());
        }
        let pages = self.pages_offset.get();
        let stored = u64::from(self.stored.get()) * PAGE;
        let placed = pages == end.next_multiple_of(PAGE);
        let ends = pages.checked_add(stored) == Some(self.file_length.get());
        (placed && ends).then_some(end..pages)
    }
}

/// Over a header, without the field that it goes to.
fn checksum_of(header: &[u8]) -> u32 {
    let mut digest = CHECKSUM.digest();
    digest.update(header.get(..16).unwrap_or(header));
    digest.update(header.get(20..).unwrap_or_default());
    digest.finalize()
}

/// Whether an index gives slots out as a writer does: in order, all of them, each with one checksum.
pub(super) fn is_in_order(index: &[Entry], stored: u32) -> bool {
    let mut checksums: Vec<U32> = Vec::new();
    for entry in index {
        let Some(slot) = entry.slot.get().checked_sub(1) else {
            if *entry != Entry::ZERO {
                return false;
            }
            continue;
        };
        match usize::try_from(slot) {
            Ok(slot) if slot < checksums.len() => {
                if checksums.get(slot) != Some(&entry.checksum) {
                    return false;
                }
            }
            Ok(slot) if slot == checksums.len() => checksums.push(entry.checksum),
            _ => return false,
        }
    }
    checksums.len() as u64 == u64::from(stored)
}
