// SPDX-License-Identifier: BSD-2-Clause
//! Guest RAM, and what the guest is started from, as they come from a board.

use std::collections::BTreeMap;

use protocol::fingerprint::{PAGE_SIZE, Page};

use super::{FileError, Memory};

/// The pages that are not zero. A guest's other pages cost nothing.
#[derive(Debug, Default)]
pub struct CapturedMemory {
    pages: u32,
    bundle_pages: u32,
    used: BTreeMap<u32, Box<Page>>,
}

impl CapturedMemory {
    /// So many pages of zeros.
    pub fn new(pages: u32) -> Self {
        Self {
            pages,
            ..Self::default()
        }
    }

    /// What the guest is started from follows: so many pages of zeros.
    pub const fn add_bundle(&mut self, pages: u32) {
        self.bundle_pages = pages;
    }

    /// Replaces a page; false if there is none of this number.
    #[must_use]
    pub fn put(&mut self, number: u32, page: &Page) -> bool {
        if number >= self.pages.saturating_add(self.bundle_pages) {
            return false;
        }
        if page.iter().all(|byte| *byte == 0) {
            self.used.remove(&number);
        } else {
            self.used
                .entry(number)
                .or_insert_with(|| Box::new([0; PAGE_SIZE]))
                .copy_from_slice(page);
        }
        true
    }

    /// How many are not zero.
    pub fn used(&self) -> usize {
        self.used.len()
    }
}

impl Memory for CapturedMemory {
    fn pages(&self) -> u32 {
        self.pages
    }

    fn bundle_pages(&self) -> u32 {
        self.bundle_pages
    }

    fn read(&self, page: u32, into: &mut Page) -> Result<bool, FileError> {
        match self.used.get(&page) {
            Some(contents) => into.copy_from_slice(contents.as_slice()),
            None => into.fill(0),
        }
        Ok(self.used.contains_key(&page))
    }
}
