// SPDX-License-Identifier: BSD-2-Clause
//! The rings, checked exhaustively on the functions that the domains run.
//!
//! Responsible for: two models, each over every order of steps within its bounds. In [`honest`], two domains pass bytes
//! and sleep; one step is one access to what the other one can see, so that a domain can be interrupted between any two.
//! In [`hostile`], one domain uses both directions, and the peer domain writes anything into its header at any time. Both
//! are shown to find faults that are planted in the functions. Must never: imitate a ring; what is checked is
//! [`Producer`] and [`Consumer`], whose fields a model's state keeps between steps.
//!
//! Steps are in one order for both sides, as the fences make them: that the fences do so is the architecture's matter.

mod honest;
mod hostile;

use super::{Cursor, Duplex, HEADER_LENGTH, Header};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of data in a region.
const CAPACITY: usize = 2;
/// Bytes behind a region that nothing may touch, and what they hold.
const GUARD: usize = 6;
const UNTOUCHED: u8 = 0xa5;

/// A region as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Region {
    /// `produced`, `consumed` and the two marks.
    header: [u64; 4],
    data: [u8; CAPACITY],
}

impl Region {
    const EMPTY: Self = Self {
        header: [0; 4],
        data: [0; CAPACITY],
    };
}

/// A region in memory, for the duration of a step.
#[repr(C, align(64))]
struct Memory {
    header: Header,
    data: [u8; CAPACITY],
    guard: [u8; GUARD],
}

const _: () = assert!(core::mem::offset_of!(Memory, data) == HEADER_LENGTH);

impl Memory {
    fn new(region: Region) -> Self {
        let [produced, consumed, data, space] = region.header.map(AtomicU64::new);
        Self {
            header: Header {
                produced,
                consumed,
                awaits_data_beyond: data,
                awaits_space_beyond: space,
            },
            data: region.data,
            guard: [UNTOUCHED; GUARD],
        }
    }

    fn region(&self) -> Region {
        assert_eq!(self.guard, [UNTOUCHED; GUARD], "written behind the region");
        let Header {
            produced,
            consumed,
            awaits_data_beyond,
            awaits_space_beyond,
        } = &self.header;
        let words = [produced, consumed, awaits_data_beyond, awaits_space_beyond];
        Region {
            header: words.map(|word| word.load(Ordering::SeqCst)),
            data: self.data,
        }
    }
}

/// What a domain keeps to itself, as a value: for what it sends and for what it receives, how much that was, where it
/// stands in the region, what it last believed of the peer domain, and what it last spoke of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Private {
    sends: (u64, usize, u64, u64),
    receives: (u64, usize, u64, u64),
}

/// Does something with the rings of the domain that owns `own`.
fn with<T>(
    own: &mut Region,
    peer: Region,
    private: &mut Private,
    work: impl FnOnce(&mut Duplex) -> T,
) -> T {
    let (mut mine, mut others) = (Memory::new(*own), Memory::new(peer));
    let length = HEADER_LENGTH + CAPACITY;
    let start = |memory: &mut Memory| NonNull::from(memory).cast();
    // SAFETY: both regions are as long and live until the end of this function, nothing else uses them meanwhile, and
    // the rings end here too.
    let rings = unsafe { Duplex::new(start(&mut mine), length, start(&mut others), length) };
    let mut rings = rings.expect("regions that hold a ring");
    let Duplex { producer, consumer } = &mut rings;
    let cursor = |count, index| Cursor {
        count,
        index,
        capacity: CAPACITY,
    };
    let (count, index, seen, announced) = private.sends;
    producer.produced = cursor(count, index);
    (producer.consumed, producer.announced) = (seen, announced);
    let (count, index, seen, announced) = private.receives;
    consumer.consumed = cursor(count, index);
    (consumer.produced, consumer.announced) = (seen, announced);
    let result = work(&mut rings);
    let Duplex { producer, consumer } = rings;
    *private = Private {
        sends: (
            producer.produced.count,
            producer.produced.index,
            producer.consumed,
            producer.announced,
        ),
        receives: (
            consumer.consumed.count,
            consumer.consumed.index,
            consumer.produced,
            consumer.announced,
        ),
    };
    assert_eq!(
        others.region(),
        peer,
        "the peer domain's region was written"
    );
    *own = mine.region();
    result
}
