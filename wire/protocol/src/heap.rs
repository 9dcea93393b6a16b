// SPDX-License-Identifier: BSD-2-Clause
//! How much memory `migration-pd` works in, which is set aside when a board's image is built.

use lz4_flex::block::get_maximum_output_size;
use vm::PAGE_SIZE;

use crate::{MAX_FRAME, table};

/// Bytes of the longest record: those of the regions in `system.xml` that records are exchanged in.
pub const MAX_RECORD: usize = 0x8000;
/// Bytes that a page may take while it is being compressed.
pub const COMPRESSED_ROOM: usize = get_maximum_output_size(PAGE_SIZE);
/// Bytes of all buffers: a frame that comes and two that go, a record, a page, and that page compressed.
const BUFFERS: usize = 3 * MAX_FRAME + PAGE_SIZE + MAX_RECORD + COMPRESSED_ROOM;

/// How much of `migration_heap` a board needs whose guest has so many pages of RAM.
#[must_use]
pub const fn needed(pages: u32) -> u64 {
    BUFFERS as u64 + table::bytes_needed(pages)
}
