// SPDX-License-Identifier: BSD-2-Clause
//! What a guest is started from, as a snapshot holds it: pages that follow those of guest RAM.
//!
//! Responsible for: holding them to what the guest's record says. Never: sends or stores them.

use protocol::bundle::{describe, offered};
use protocol::transfer::OfferedBundle;
use vm::PAGE_SIZE;

use super::{FileError, Memory};
use guest_bundle::{Bundle, Identifier};

/// The bundle behind guest RAM, if there is one that has its first page in order.
pub(super) fn bundle_of(memory: &impl Memory) -> Result<Option<Bundle>, FileError> {
    if memory.bundle_pages() == 0 {
        return Ok(None);
    }
    let mut first = [0; PAGE_SIZE];
    memory.read(memory.pages(), &mut first)?;
    let ram_bytes = u64::from(memory.pages()) * PAGE_SIZE as u64;
    Ok(describe(&first, memory.bundle_pages(), ram_bytes))
}

/// Whether the pages behind guest RAM are this bundle, by their first one.
pub(super) fn begins_as(memory: &impl Memory, bundle: OfferedBundle) -> Result<bool, FileError> {
    Ok(bundle_of(memory)?.is_some_and(|found| offered(&found) == bundle))
}

/// Whether they are what the first one says, each of them.
pub(super) fn is_right(memory: &impl Memory) -> Result<bool, FileError> {
    let Some(bundle) = bundle_of(memory)? else {
        return Ok(memory.bundle_pages() == 0);
    };
    let mut identifier = Identifier::new(&bundle);
    let mut page = [0; PAGE_SIZE];
    for number in 0..memory.bundle_pages() {
        memory.read(memory.pages().saturating_add(number), &mut page)?;
        identifier.update(&page);
    }
    Ok(identifier.is_right())
}
