// SPDX-License-Identifier: BSD-2-Clause
//! What a guest is started from, which travels with it: its bundle.
//!
//! Responsible for: finding a bundle on a board, and taking one in that comes page by page. It is known by its identity,
//! a checksum of all that is loaded, so that it is sent only where it is not yet. Must never: leave a bundle in the store
//! that can be taken for one before all of it has come and its identity is right; the one that was there before ends
//! with the first page of the new one.

use crate::port::{Place, Port};
use crate::ram::GuestRam;
use guest_bundle::{Identifier, MAGIC};
use protocol::MoveFailure;
use protocol::bundle::{describe, offered};
use protocol::fingerprint::{PAGE_SIZE, Page};
use protocol::transfer::OfferedBundle;

/// A bundle that is on a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub place: Place,
    /// What it is.
    pub bundle: OfferedBundle,
}

/// Finds the bundle of this identity; `page` is room for one.
pub fn find<P: Port>(port: &mut P, identity: u64, page: &mut Page) -> Option<Found> {
    [Place::Image, Place::Store].into_iter().find_map(|place| {
        port.bundle_page(place, 0, page);
        let found = describe(page, port.bundle_pages(place), port.ram().bytes())?;
        let bundle = offered(&found);
        (bundle.identity == identity).then_some(Found { place, bundle })
    })
}

/// A bundle that comes.
#[derive(Debug)]
pub struct Taking {
    bundle: OfferedBundle,
    next: u32,
    identifier: Option<Identifier>,
    whole: bool,
}

impl Taking {
    /// Before its first page.
    #[must_use]
    pub const fn new(bundle: OfferedBundle) -> Self {
        Self {
            bundle,
            next: 0,
            identifier: None,
            whole: false,
        }
    }

    /// What comes.
    #[must_use]
    pub const fn bundle(&self) -> OfferedBundle {
        self.bundle
    }

    /// Whether all of it has come and is what was offered.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Takes a page, which has to be the next, into the board's store: the first one without the name that makes it a
    /// bundle, which it gets when the last one is there.
    ///
    /// # Errors
    ///
    /// [`MoveFailure::Bundle`]: it is not the bundle that was offered.
    pub fn take<P: Port>(
        &mut self,
        port: &mut P,
        number: u32,
        page: &Page,
    ) -> Result<(), MoveFailure> {
        let wrong = MoveFailure::Bundle {
            identity: self.bundle.identity,
        };
        if number != self.next || number >= self.bundle.pages {
            return Err(wrong);
        }
        if number == 0 {
            let bundle = describe(page, self.bundle.pages, port.ram().bytes())
                .filter(|bundle| offered(bundle) == self.bundle)
                .ok_or(wrong)?;
            self.identifier = Some(Identifier::new(&bundle));
            port.store(0, &named(page, [0; MAGIC.len()]));
        } else {
            port.store(number, page);
        }
        // Of what is in the store now, not of what came: the identity is to speak for that.
        let mut there = [0; PAGE_SIZE];
        port.bundle_page(Place::Store, number, &mut there);
        if let Some(identifier) = &mut self.identifier {
            identifier.update(&there);
        }
        self.next += 1;
        if self.next == self.bundle.pages {
            let identifier = self.identifier.take();
            port.bundle_page(Place::Store, 0, &mut there);
            let first = named(&there, MAGIC);
            let found = describe(&first, self.bundle.pages, port.ram().bytes());
            let same = found.is_some_and(|found| offered(&found) == self.bundle);
            if !same || !identifier.is_some_and(Identifier::is_right) {
                return Err(wrong);
            }
            port.store(0, &first);
            self.whole = true;
        }
        Ok(())
    }
}

/// A bundle's first page with these bytes at its beginning.
fn named(page: &Page, name: [u8; MAGIC.len()]) -> Page {
    let mut page = *page;
    if let Some(beginning) = page.first_chunk_mut() {
        *beginning = name;
    }
    page
}
