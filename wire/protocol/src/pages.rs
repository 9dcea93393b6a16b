// SPDX-License-Identifier: BSD-2-Clause
//! Pages as they lie in a [`Transfer::Pages`](super::Transfer::Pages) message.
//!
//! Responsible for: packing and unpacking pages. Must never: give out a page whose contents are
//! not exactly one page.
//!
//! Each page is its number (32 bits), the length of its data (16 bits), both little-endian, and
//! the data: none for a page of zeros, [`PAGE_SIZE`] bytes as they are, or fewer that an LZ4
//! block decompresses to a page.
//!
//! A number below that of guest RAM's pages is a page of guest RAM. The numbers from there on are the pages of the bundle
//! that the guest is started from: each once, in order, and before those of guest RAM.

use crate::fingerprint::{PAGE_SIZE, Page};
use thiserror::Error;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes that precede each page's data.
pub const ENTRY_LENGTH: usize = size_of::<Entry>();

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Entry {
    page: U32,
    length: U16,
}

/// A page's contents on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents<'a> {
    /// All zero.
    Zero,
    /// As they are.
    Plain(&'a Page),
    /// An LZ4 block.
    Compressed(&'a [u8]),
}

/// The pages are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("malformed pages")]
pub struct MalformedPages;

impl<'a> Contents<'a> {
    /// The bytes that stand for the contents.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        match self {
            Self::Zero => &[],
            Self::Plain(page) => page.as_slice(),
            Self::Compressed(block) => block,
        }
    }

    /// The page itself; `room` is where it is decompressed, if it has to be.
    ///
    /// # Errors
    ///
    /// [`MalformedPages`] if the block does not decompress to a page.
    pub fn unpack<'b>(&self, room: &'b mut Page) -> Result<&'b Page, MalformedPages> {
        match self {
            Self::Zero => room.fill(0),
            Self::Plain(page) => *room = **page,
            Self::Compressed(block) => {
                lz4_flex::block::decompress_into(block, room)
                    .ok()
                    .filter(|length| *length == PAGE_SIZE)
                    .ok_or(MalformedPages)?;
            }
        }
        Ok(room)
    }
}

/// Appends a page to `body` at `used`; returns the new length, or None if there is no room.
#[must_use]
pub fn append(body: &mut [u8], used: usize, page: u32, contents: &Contents<'_>) -> Option<usize> {
    let data = contents.data();
    let entry = Entry {
        page: U32::new(page),
        length: U16::new(u16::try_from(data.len()).ok()?),
    };
    let end = used + ENTRY_LENGTH + data.len();
    let room = body.get_mut(used..end)?;
    let (header, rest) = room.split_at_mut_checked(ENTRY_LENGTH)?;
    entry.write_to(header).ok()?;
    rest.copy_from_slice(data);
    Some(end)
}

/// The pages in a message's body.
pub fn iterate(body: &[u8]) -> impl Iterator<Item = Result<(u32, Contents<'_>), MalformedPages>> {
    let mut rest = body;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = split(rest);
        // After an error nothing more is read.
        rest = next.as_ref().map_or(&[], |(_, _, rest)| rest);
        Some(next.map(|(page, contents, _)| (page, contents)))
    })
}

fn split(body: &[u8]) -> Result<(u32, Contents<'_>, &[u8]), MalformedPages> {
    let (entry, rest) = Entry::read_from_prefix(body).map_err(|_| MalformedPages)?;
    let (data, rest) = rest
        .split_at_checked(entry.length.get().into())
        .ok_or(MalformedPages)?;
    let contents = match data.len() {
        0 => Contents::Zero,
        PAGE_SIZE => Contents::Plain(data.try_into().map_err(|_| MalformedPages)?),
        1..PAGE_SIZE => Contents::Compressed(data),
        _ => return Err(MalformedPages),
    };
    Ok((entry.page.get(), contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages_come_back_in_order() {
        let mut body = [0; 5000];
        let plain = [0xa5; PAGE_SIZE];
        let mut block = [0; 2 * PAGE_SIZE];
        let length = lz4_flex::block::compress_into(&[9; PAGE_SIZE], &mut block).unwrap();
        let sent = [
            (7, Contents::Zero),
            (u32::MAX, Contents::Plain(&plain)),
            (0, Contents::Compressed(&block[..length])),
        ];
        let mut used = 0;
        for (page, contents) in &sent {
            used = append(&mut body, used, *page, contents).unwrap();
        }
        let received: Result<Vec<_>, _> = iterate(&body[..used]).collect();
        assert_eq!(received.as_deref(), Ok(&sent[..]));
        let mut room = [1; PAGE_SIZE];
        assert_eq!(sent[2].1.unpack(&mut room), Ok(&[9; PAGE_SIZE]));
        assert_eq!(sent[0].1.unpack(&mut room), Ok(&[0; PAGE_SIZE]));
        assert_eq!(append(&mut body, used, 1, &Contents::Plain(&plain)), None);
    }

    #[test]
    fn a_block_that_is_not_a_page_is_refused() {
        let mut block = [0; 2 * PAGE_SIZE];
        let length = lz4_flex::block::compress_into(&[9; PAGE_SIZE - 1], &mut block).unwrap();
        let mut room = [0; PAGE_SIZE];
        let contents = Contents::Compressed(&block[..length]);
        assert_eq!(contents.unpack(&mut room), Err(MalformedPages));
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..9000)) {
            let mut room = [0; PAGE_SIZE];
            for entry in iterate(&body) {
                let Ok((_, contents)) = entry else { break };
                let _ = contents.unpack(&mut room);
            }
        }
    }
}
