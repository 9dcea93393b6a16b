// SPDX-License-Identifier: BSD-2-Clause
//! The guest bundle: what `vmm-pd` loads into guest RAM at boot.
//!
//! One file: a header, a table of segments, the segments' bytes. The host writes it (`encode`, feature `encode`) and
//! prefills the memory region `guest_bundle` with it; `migration-pd` sends it along with its guest and keeps one that
//! comes in the region `bundle_store`; `vmm-pd` reads it from either ([`Bundle::read`]).
//!
//! Responsible for: the layout, and for refusing whatever would make a loader write outside guest RAM or read outside
//! the bundle. Never: interprets what is in a segment, or knows how a kernel or a device tree is laid out.
//!
//! Integers are little-endian. The checksum covers header and table. The segments are covered by the identity, which is
//! computed when they come over a link ([`Identifier`]) and not at every boot: those in the system's image are trusted
//! with all of it, and summing tens of megabytes would delay every one.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "encode")]
mod encode;
mod identity;

#[cfg(feature = "encode")]
pub use encode::{Contents, SegmentContents, encode};
pub use identity::Identifier;

use crc::{CRC_32_ISO_HDLC, Crc};
pub use vm::RAM_BASE;
use vm::{MAX_VCPUS, PAGE_SIZE};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First eight bytes of every bundle.
pub const MAGIC: [u8; 8] = *b"GODWITGB";

/// Version of the layout described here.
pub const VERSION: u32 = 2;

/// Bytes of the guest's firmware memory, from address 0 on, which the guest reads and executes only: where QEMU's `virt`
/// has its first flash. As much as EDK2 needs there, and little enough to be filled in one go.
pub const ROM_SIZE: u64 = 0x20_0000;

/// The only word of it that is not zero for a guest without firmware, and where: `b .`, at the vector of a synchronous
/// exception from EL1. A guest that has set no vectors ends there, and its exception registers still say why.
pub const ROM_LOOP: (u64, u32) = (0x200, 0x1400_0000);

/// Most segments of a bundle. A Linux guest has three: kernel, initramfs, device tree.
pub const MAX_SEGMENTS: usize = 8;

/// Alignment of each segment's bytes within the bundle, that of a page: what a guest's RAM still holds of it is the same
/// pages, which a snapshot stores once.
pub const DATA_ALIGNMENT: usize = PAGE_SIZE;

/// The most bytes that header and table have: with so many of its first bytes, [`Bundle::read`] knows a bundle.
pub const MAX_HEAD: usize = size_of::<Header>() + MAX_SEGMENTS * size_of::<SegmentEntry>();

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The upper bits of the identity of a bundle with firmware, and of those only; no other has them but by a chance of one in
/// 65,536.
const WITH_FIRMWARE: u64 = 0xf1a5 << 48;
/// Where these bits are.
const MARK: u64 = 0xffff << 48;

/// Whether the guest whose bundle has this identity has firmware: it cannot run without what its bundle puts into
/// [firmware memory](ROM_SIZE), which is no part of its RAM.
#[must_use]
pub const fn has_firmware(identity: u64) -> bool {
    identity & MARK == WITH_FIRMWARE
}

/// Why a bundle is refused, or cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The region ends before the bundle does.
    #[error("bundle of {needed} bytes in a region of {available}")]
    Truncated {
        /// Bytes that header, table or declared length need.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// The first bytes are not [`MAGIC`].
    #[error("not a guest bundle")]
    NotABundle,
    /// Written by another version of the host tool.
    #[error("bundle version {found}, expected {VERSION}")]
    Version {
        /// The version that the header names.
        found: u32,
    },
    /// More segments than [`MAX_SEGMENTS`].
    #[error("{count} segments, at most {MAX_SEGMENTS}")]
    TooManySegments {
        /// Number of segments.
        count: u32,
    },
    /// Header or table changed since they were written.
    #[error("header checksum {found:#010x}, computed {computed:#010x}")]
    Checksum {
        /// The header's.
        found: u32,
        /// Ours.
        computed: u32,
    },
    /// More than [`MAX_VCPUS`], or segments without a vCPU to run them.
    #[error("{vcpus} vCPUs")]
    Vcpus {
        /// Number of vCPUs.
        vcpus: u32,
    },
    /// The guest was laid out for another RAM size than the board gives it.
    #[error("bundle for {bundle:#x} bytes of RAM, the guest has {actual:#x}")]
    RamSize {
        /// The header's RAM size in bytes.
        bundle: u64,
        /// The size of the region in bytes.
        actual: u64,
    },
    /// A segment lies outside guest RAM and firmware memory, is longer in the file than in memory, or outside the bundle.
    #[error("segment {index} is out of range")]
    SegmentRange {
        /// Position in the table.
        index: usize,
    },
    /// Two segments share guest memory.
    #[error("segments {first} and {second} overlap")]
    SegmentOverlap {
        /// Position of one in the table.
        first: usize,
        /// Position of the other.
        second: usize,
    },
    /// Entry point or device tree lies in no segment, where something would have to be.
    #[error("address {ipa:#x} lies in no segment")]
    Unbacked {
        /// The entry point or the device tree's address, an IPA.
        ipa: u64,
    },
}

/// The first bytes of a bundle.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U32,
    vcpus: U32,
    ram_size: U64,
    entry: U64,
    device_tree: U64,
    /// Of the whole bundle, in bytes, without the padding of its region.
    length: U64,
    /// CRC-64 (XZ) of the segments' places and bytes, not zero: what tells one guest's bundle from another's. With firmware,
    /// 48 bits of it below [`WITH_FIRMWARE`].
    identity: U64,
    segment_count: U32,
    /// CRC-32 (ISO-HDLC) of header and table with this field zero.
    checksum: U32,
}

/// An entry of the segment table, which follows the header.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct SegmentEntry {
    ipa: U64,
    /// From the bundle's first byte.
    offset: U64,
    file_size: U64,
    mem_size: U64,
}

/// Where a segment goes: which memory of the guest's, and how many bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// RAM.
    Ram(u64),
    /// Firmware memory.
    Rom(u64),
}

/// Something to be placed in guest RAM or firmware memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it goes, an IPA within guest RAM or firmware memory.
    pub ipa: u64,
    /// Where it lies, in bytes from the bundle's first.
    pub offset: u64,
    /// How many bytes it has there.
    pub size: u64,
    /// Bytes it occupies in guest RAM; those after the first `size` are zero.
    pub mem_size: u64,
}

impl Segment {
    /// Where it goes.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self.ipa.checked_sub(RAM_BASE) {
            Some(offset) => Place::Ram(offset),
            None => Place::Rom(self.ipa),
        }
    }

    /// What goes there, of the whole bundle; nothing if that is shorter than it was said to be.
    #[must_use]
    pub fn data<'b>(&self, bundle: &'b [u8]) -> &'b [u8] {
        let range = usize::try_from(self.offset)
            .ok()
            .zip(usize::try_from(self.offset + self.size).ok());
        range
            .and_then(|(start, end)| bundle.get(start..end))
            .unwrap_or_default()
    }
}

/// A checked bundle's header and table: every segment lies within the bundle and within guest RAM or firmware memory, and
/// none overlap there.
#[derive(Clone, Copy, Debug)]
pub struct Bundle {
    header: Header,
    entries: [SegmentEntry; MAX_SEGMENTS],
    count: usize,
}

impl Bundle {
    /// Checks the bundle at the start of `region` for a guest with `ram_size` bytes of RAM.
    ///
    /// # Errors
    ///
    /// Whatever [`BundleError`] describes; nothing of the bundle may then be used.
    pub fn parse(region: &[u8], ram_size: u64) -> Result<Self, BundleError> {
        Self::read(region, region.len() as u64, ram_size)
    }

    /// The same of a bundle of which there is only the beginning, at least as much of it as [`MAX_HEAD`]; it lies in a
    /// region of `room` bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn read(beginning: &[u8], room: u64, ram_size: u64) -> Result<Self, BundleError> {
        let (header, rest) = Header::read_from_prefix(beginning)
            .map_err(|_| truncated(size_of::<Header>() as u64, room))?;
        if header.magic != MAGIC {
            return Err(BundleError::NotABundle);
        }
        if header.version.get() != VERSION {
            return Err(BundleError::Version {
                found: header.version.get(),
            });
        }
        let count = header.segment_count.get();
        let segments = usize::try_from(count)
            .ok()
            .filter(|&count| count <= MAX_SEGMENTS)
            .ok_or(BundleError::TooManySegments { count })?;
        let prefix = (size_of::<Header>() + segments * size_of::<SegmentEntry>()) as u64;
        let (table, _) = <[SegmentEntry]>::ref_from_prefix_with_elems(rest, segments)
            .map_err(|_| truncated(prefix, room))?;
        let computed = checksum(&header, table);
        if header.checksum.get() != computed {
            return Err(BundleError::Checksum {
                found: header.checksum.get(),
                computed,
            });
        }
        let needed = header.length.get().max(prefix);
        if header.length.get() < prefix || needed > room {
            return Err(truncated(needed, room));
        }
        let mut entries = [SegmentEntry::default(); MAX_SEGMENTS];
        for (entry, found) in entries.iter_mut().zip(table) {
            *entry = *found;
        }
        let bundle = Self {
            header,
            entries,
            count: segments,
        };
        bundle.check(ram_size)?;
        Ok(bundle)
    }

    fn table(&self) -> &[SegmentEntry] {
        self.entries.get(..self.count).unwrap_or_default()
    }

    /// Its bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.header.length.get()
    }

    /// Whether there is no guest to boot: a board that waits for one to arrive.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of vCPUs; zero without a guest.
    #[must_use]
    pub const fn vcpus(&self) -> u32 {
        self.header.vcpus.get()
    }

    /// Bytes of RAM that the guest was laid out for.
    #[must_use]
    pub const fn ram_size(&self) -> u64 {
        self.header.ram_size.get()
    }

    /// What tells it from the bundle of another guest; not zero.
    #[must_use]
    pub const fn identity(&self) -> u64 {
        self.header.identity.get()
    }

    /// Where vCPU 0 starts, an IPA.
    #[must_use]
    pub const fn entry(&self) -> u64 {
        self.header.entry.get()
    }

    /// Where the device tree will be: vCPU 0's x0, an IPA.
    #[must_use]
    pub const fn device_tree(&self) -> u64 {
        self.header.device_tree.get()
    }

    /// What to place in guest RAM.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + use<'_> {
        self.table().iter().map(segment)
    }

    fn check(&self, ram_size: u64) -> Result<(), BundleError> {
        if self.ram_size() != ram_size {
            return Err(BundleError::RamSize {
                bundle: self.ram_size(),
                actual: ram_size,
            });
        }
        let vcpus = self.vcpus();
        if vcpus as usize > MAX_VCPUS || (vcpus == 0) != self.is_empty() {
            return Err(BundleError::Vcpus { vcpus });
        }
        for (index, segment) in self.segments().enumerate() {
            let inside = |start: u64, length: u64, room: u64| {
                start.checked_add(length).is_some_and(|end| end <= room)
            };
            let (start, room) = match segment.place() {
                Place::Ram(offset) => (offset, ram_size),
                Place::Rom(offset) => (offset, ROM_SIZE),
            };
            if segment.size > segment.mem_size
                || !inside(segment.offset, segment.size, self.length())
                || !inside(start, segment.mem_size, room)
            {
                return Err(BundleError::SegmentRange { index });
            }
        }
        self.check_overlaps()?;
        if self.is_empty() {
            return Ok(());
        }
        [self.entry(), self.device_tree()]
            .into_iter()
            .try_for_each(|ipa| self.check_backed(ipa))
    }

    fn check_overlaps(&self) -> Result<(), BundleError> {
        for (second, entry) in self.table().iter().enumerate() {
            for (first, other) in self.table().iter().take(second).enumerate() {
                // Neither sum overflows: both segments lie within the guest's memory.
                let before = entry.ipa.get() + entry.mem_size.get() <= other.ipa.get();
                let after = other.ipa.get() + other.mem_size.get() <= entry.ipa.get();
                if !before && !after {
                    return Err(BundleError::SegmentOverlap { first, second });
                }
            }
        }
        Ok(())
    }

    fn check_backed(&self, ipa: u64) -> Result<(), BundleError> {
        let backed = self.table().iter().any(|entry| {
            ipa.checked_sub(entry.ipa.get())
                .is_some_and(|offset| offset < entry.file_size.get())
        });
        if backed {
            Ok(())
        } else {
            Err(BundleError::Unbacked { ipa })
        }
    }
}

const fn truncated(needed: u64, available: u64) -> BundleError {
    BundleError::Truncated { needed, available }
}

const fn segment(entry: &SegmentEntry) -> Segment {
    Segment {
        ipa: entry.ipa.get(),
        offset: entry.offset.get(),
        size: entry.file_size.get(),
        mem_size: entry.mem_size.get(),
    }
}

fn checksum(header: &Header, table: &[SegmentEntry]) -> u32 {
    let unsummed = Header {
        checksum: U32::ZERO,
        ..*header
    };
    let mut digest = CHECKSUM.digest();
    digest.update(unsummed.as_bytes());
    digest.update(table.as_bytes());
    digest.finalize()
}

#[cfg(test)]
mod tests;
