// SPDX-License-Identifier: BSD-2-Clause
//! How much memory a decoder asks for.
//!
//! Responsible for: an allocator that counts, and the bound. Must never: give out memory itself; that is the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has asked for so far, those that it gave back included.
    static ASKED_FOR: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call goes to the system's allocator as it came, and counting neither allocates nor unwinds: the counter
// is a thread-local without a destructor, and its sum wraps.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED_FOR.with(|sum| sum.set(sum.get().wrapping_add(layout.size())));
        // SAFETY: the caller's promise about `layout` is the system's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, which is the system's, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What `decode` gives, which has asked for at most `limit` bytes in all.
///
/// # Panics
///
/// It has asked for more.
pub fn bounded<T>(limit: usize, decode: impl FnOnce() -> T) -> T {
    let before = ASKED_FOR.with(Cell::get);
    let decoded = decode();
    let asked_for = ASKED_FOR.with(Cell::get).wrapping_sub(before);
    assert!(
        asked_for <= limit,
        "{asked_for} bytes asked for, at most {limit} allowed"
    );
    decoded
}

/// What `decode` gives, without a heap, as in a domain.
///
/// # Panics
///
/// It has asked for memory.
pub fn without_heap<T>(decode: impl FnOnce() -> T) -> T {
    bounded(0, decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_counted() {
        without_heap(|| 7);
        assert_eq!(bounded(64, || vec![1_u8; 64]).len(), 64);
        let more = std::panic::catch_unwind(|| bounded(63, || vec![1_u8; 64]));
        assert!(more.is_err());
    }
}
