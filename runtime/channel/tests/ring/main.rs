// SPDX-License-Identifier: BSD-2-Clause
//! The rings between domains: against a plain queue, a hostile peer domain, and two threads.

mod honest;
mod hostile;
mod threads;

use channel::ring::{Duplex, HEADER_LENGTH};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Bytes around a region that nothing may touch.
const GUARD: usize = 64;
/// What they hold.
const UNTOUCHED: u8 = 0xa5;

/// A shared region: as Microkit gives it, page aligned and zero, but with guards around it.
struct Region {
    start: NonNull<u8>,
    layout: Layout,
    length: usize,
}

// SAFETY: plain memory; what accesses it is the rings' own matter, which is what is tested.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl Region {
    fn new(capacity: usize) -> Self {
        let length = HEADER_LENGTH + capacity;
        let layout = Layout::from_size_align(length + 2 * GUARD, 64).expect("a valid layout");
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory");
        let region = Self {
            start,
            layout,
            length,
        };
        for offset in (0..GUARD).chain(GUARD + length..layout.size()) {
            // SAFETY: within the allocation.
            unsafe { region.start.add(offset).write(UNTOUCHED) };
        }
        region
    }

    fn pointer(&self) -> NonNull<u8> {
        // SAFETY: within the allocation.
        unsafe { self.start.add(GUARD) }
    }

    fn read(&self, offset: usize) -> u8 {
        assert!(offset < self.length, "offset {offset} outside the region");
        // SAFETY: within the allocation; no reference to it is alive in these tests.
        unsafe { self.pointer().add(offset).read() }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(
            offset + bytes.len() <= self.length,
            "offset {offset} outside the region"
        );
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: within the allocation; no reference to it is alive in these tests.
            unsafe { self.pointer().add(offset + index).write(*byte) };
        }
    }

    fn guards_are_untouched(&self) -> bool {
        (0..GUARD)
            .chain(GUARD + self.length..self.layout.size())
            // SAFETY: within the allocation.
            .all(|offset| unsafe { self.start.add(offset).read() } == UNTOUCHED)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// The rings as seen by the domain that owns `own`.
fn attach(own: &Region, peer: &Region) -> Duplex {
    // SAFETY: the tests keep the regions for as long as the rings, and attach each side once.
    unsafe { Duplex::new(own.pointer(), own.length, peer.pointer(), peer.length) }
        .expect("regions that hold a ring")
}
