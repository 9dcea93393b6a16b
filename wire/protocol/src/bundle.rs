// SPDX-License-Identifier: BSD-2-Clause
//! How a bundle is recognised by its first page, and offered.

use guest_bundle::Bundle;
use vm::PAGE_SIZE;

use crate::fingerprint::Page;
use crate::transfer::OfferedBundle;

/// A bundle that has this first page, if that is one and `room`, in pages, is enough for all of it.
#[must_use]
pub fn describe(first: &Page, room: u32, ram_bytes: u64) -> Option<Bundle> {
    let room = u64::from(room) * PAGE_SIZE as u64;
    let bundle = Bundle::read(first, room, ram_bytes).ok()?;
    (!bundle.is_empty()).then_some(bundle)
}

/// How a bundle is offered.
#[must_use]
pub fn offered(bundle: &Bundle) -> OfferedBundle {
    let pages = bundle.length().div_ceil(PAGE_SIZE as u64);
    OfferedBundle {
        identity: bundle.identity(),
        pages: u32::try_from(pages).unwrap_or(u32::MAX),
    }
}
