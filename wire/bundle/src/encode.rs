// SPDX-License-Identifier: BSD-2-Clause
//! Writing a bundle, which only the host does.
//!
//! Responsible for: producing bytes that [`Bundle::parse`](crate::Bundle::parse) accepts, or saying why there are none.
//! Never: pads for a region's page size; whoever fills the region does.

extern crate alloc;

use alloc::vec::Vec;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U32, U64};

use crate::{
    Bundle, BundleError, DATA_ALIGNMENT, Header, MAGIC, SegmentEntry, VERSION, checksum, identity,
};

/// What goes into a bundle. The default is a board without a guest.
#[derive(Clone, Debug, Default)]
pub struct Contents<'a> {
    /// Number of vCPUs; zero without a guest.
    pub vcpus: u32,
    /// Bytes of guest RAM.
    pub ram_size: u64,
    /// Where vCPU 0 starts, an IPA.
    pub entry: u64,
    /// Where the device tree lies, an IPA.
    pub device_tree: u64,
    /// What to place in guest RAM and firmware memory.
    pub segments: Vec<SegmentContents<'a>>,
}

/// A segment to write.
#[derive(Clone, Copy, Debug)]
pub struct SegmentContents<'a> {
    /// Where it goes, an IPA.
    pub ipa: u64,
    /// What goes there.
    pub data: &'a [u8],
    /// Bytes it occupies, at least `data.len()`.
    pub mem_size: u64,
}

/// Writes a bundle.
///
/// # Errors
///
/// The same as reading it back: the result has been read back.
pub fn encode(contents: &Contents<'_>) -> Result<Vec<u8>, BundleError> {
    let mut offset = size_of::<Header>() + contents.segments.len() * size_of::<SegmentEntry>();
    let mut table = Vec::with_capacity(contents.segments.len());
    for segment in &contents.segments {
        offset = offset.next_multiple_of(DATA_ALIGNMENT);
        table.push(SegmentEntry {
            ipa: U64::new(segment.ipa),
            offset: U64::new(offset as u64),
            file_size: U64::new(segment.data.len() as u64),
            mem_size: U64::new(segment.mem_size),
        });
        offset += segment.data.len();
    }
    let mut header = Header {
        magic: MAGIC,
        version: U32::new(VERSION),
        vcpus: U32::new(contents.vcpus),
        ram_size: U64::new(contents.ram_size),
        entry: U64::new(contents.entry),
        device_tree: U64::new(contents.device_tree),
        length: U64::new(offset as u64),
        identity: U64::new(identity::of(
            &table,
            contents.segments.iter().map(|segment| segment.data),
        )),
        segment_count: U32::new(u32::try_from(table.len()).unwrap_or(u32::MAX)),
        checksum: U32::ZERO,
    };
    header.checksum = U32::new(checksum(&header, &table));

    let mut bytes = Vec::with_capacity(offset);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(table.as_bytes());
    for segment in &contents.segments {
        bytes.resize(bytes.len().next_multiple_of(DATA_ALIGNMENT), 0);
        bytes.extend_from_slice(segment.data);
    }
    Bundle::parse(&bytes, contents.ram_size)?;
    Ok(bytes)
}
