// SPDX-License-Identifier: BSD-2-Clause
//! Single-producer single-consumer byte rings over a pair of shared-memory regions.
//!
//! Responsible for: moving bytes both ways between two domains that each write one region and
//! only read the other, without copying more than once, without polling and without lost
//! wake-ups. Must never: believe a peer domain. Its counters may hold anything at any time; what
//! does not fit our own is [`RingError::Corrupt`], and never reaches memory outside the ring.
//!
//! # Layout
//!
//! A region is a header of [`HEADER_LENGTH`] bytes, written by the region's owner alone, and
//! all the rest is the data that the owner sends. Counts are of bytes since the start and 64 bits
//! wide: they never wrap, so the capacity need not be a power of two and nothing is wasted. A
//! region of zeros is a ring at its start, so the two sides may come up in any order.
//!
//! # When to notify, when to sleep
//!
//! Each side writes into its header how far the peer domain must get before it wants to be woken:
//!
//! * before going to sleep, [`Consumer::wait`] or [`Producer::wait`] leaves that mark; when it
//!   returns true the peer domain is there already, and the caller must continue instead;
//! * after its pushes or takes, a side asks [`Producer::notify_due`] or [`Consumer::notify_due`],
//!   once for any number of them, and notifies when it is true.
//!
//! Both sides store first and look second, with a sequentially consistent fence between the two,
//! so at least one of them sees the other's store: no wake-up is lost. A mark counts once; a side
//! that is awake leaves none and is not disturbed. Notifications can be spurious.

mod copy;
mod cursor;
#[cfg(feature = "host")]
mod host;
#[cfg(test)]
mod model;

use copy::copy_from_peer_domain;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use cursor::{Cursor, narrow, widen};
#[cfg(feature = "host")]
pub use host::pair;
use zerocopy::{FromBytes, KnownLayout};

/// Bytes of a region that precede its data: a cache line.
pub const HEADER_LENGTH: usize = size_of::<Header>();

/// What a region's owner says about its side of the two rings.
///
/// Any bytes are a valid header, which is what deriving [`FromBytes`] proves.
#[derive(FromBytes, KnownLayout)]
#[repr(C, align(64))]
struct Header {
    /// Bytes that the owner has put into this region's data.
    produced: AtomicU64,
    /// Bytes that the owner has taken out of the peer domain's data.
    consumed: AtomicU64,
    /// The owner wants to be woken once the peer domain has produced more than this.
    awaits_data_beyond: AtomicU64,
    /// The owner wants to be woken once the peer domain has consumed more than this.
    awaits_space_beyond: AtomicU64,
}

/// A counter of the peer domain's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Bytes that it has sent.
    Produced,
    /// Bytes of ours that it has received.
    Consumed,
}

/// Why a ring cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Local configuration: the region is too small, too large or not aligned for a header.
    #[error("no ring fits into {length} bytes at {address:#x}")]
    Region {
        /// Where the region is mapped.
        address: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// The peer domain's fault: its counter contradicts ours or what it said before.
    #[error("the peer domain's {counter:?} is {found}, not within {lowest}..={highest}")]
    Corrupt {
        /// Which counter.
        counter: Counter,
        /// What it holds.
        found: u64,
        /// The least that is possible.
        lowest: u64,
        /// The most that is possible.
        highest: u64,
    },
    /// The caller's fault: it commits or consumes more than there is.
    #[error("{asked} bytes asked for where {there} are")]
    Excess {
        /// How many bytes the caller named.
        asked: usize,
        /// How many there are.
        there: usize,
    },
}

/// A contiguous piece of a region, for a device that reads or writes it by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Bytes from the beginning of the region, header included.
    pub offset: usize,
    /// Length in bytes; may be 0.
    pub length: usize,
}

/// Both directions between two domains.
#[derive(Debug)]
pub struct Duplex {
    /// What we send.
    pub producer: Producer,
    /// What we receive.
    pub consumer: Consumer,
}

/// The sending half: fills our own region.
#[derive(Debug)]
pub struct Producer {
    region: NonNull<u8>,
    own: NonNull<Header>,
    peer: NonNull<Header>,
    produced: Cursor,
    /// The peer domain's `consumed` when last looked at and found possible.
    consumed: u64,
    /// `produced` when [`Self::notify_due`] was last asked.
    announced: u64,
}

/// The receiving half: empties the peer domain's region.
#[derive(Debug)]
pub struct Consumer {
    region: NonNull<u8>,
    own: NonNull<Header>,
    peer: NonNull<Header>,
    consumed: Cursor,
    /// The peer domain's `produced` when last looked at and found possible.
    produced: u64,
    /// `consumed` when [`Self::notify_due`] was last asked.
    announced: u64,
}

// SAFETY: the pointers are to memory that lives as long as the program (`Duplex::new`'s contract),
// and each half is the only writer of the words it writes.
unsafe impl Send for Producer {}
// SAFETY: as for `Producer`.
unsafe impl Send for Consumer {}

impl Duplex {
    /// The rings over the region that we write and the one that we read.
    ///
    /// # Errors
    ///
    /// [`RingError::Region`] if a region cannot hold a ring.
    ///
    /// # Safety
    ///
    /// * `own` is valid for reads and writes of `own_length` bytes and `peer` for reads of
    ///   `peer_length` bytes, until the program ends;
    /// * the two do not overlap, are normal memory, and nothing in this program uses them but the
    ///   value returned, of which there is only one for this pair. The peer domain may write `peer`
    ///   at any time and in any way, but cannot write `own`.
    pub unsafe fn new(
        own: NonNull<u8>,
        own_length: usize,
        peer: NonNull<u8>,
        peer_length: usize,
    ) -> Result<Self, RingError> {
        let sent = Cursor::new(own, own_length)?;
        let received = Cursor::new(peer, peer_length)?;
        let (own_header, peer_header) = (own.cast(), peer.cast());
        Ok(Self {
            producer: Producer {
                region: own,
                own: own_header,
                peer: peer_header,
                produced: sent,
                consumed: 0,
                announced: 0,
            },
            consumer: Consumer {
                region: peer,
                own: own_header,
                peer: peer_header,
                consumed: received,
                produced: 0,
                announced: 0,
            },
        })
    }
}

impl Producer {
    /// How many bytes can be under way at once.
    pub const fn capacity(&self) -> usize {
        self.produced.capacity
    }

    /// How many bytes can be sent now.
    ///
    /// # Errors
    ///
    /// [`RingError::Corrupt`] for a count that no honest peer domain has.
    pub fn free(&mut self) -> Result<usize, RingError> {
        // Acquire: what the peer domain read before it said so is read; we may write over it.
        let found = header(&self.peer).consumed.load(Ordering::Acquire);
        self.consumed = between(Counter::Consumed, found, self.consumed, self.produced.count)?;
        Ok(self.known_free())
    }

    /// Sends as much of `bytes` as there is room for; returns how many that was.
    ///
    /// # Errors
    ///
    /// As [`Self::free`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, RingError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.grant(rest.len())?;
            let Some((now, later)) = rest.split_at_checked(room.len()) else {
                break;
            };
            if now.is_empty() {
                break;
            }
            room.copy_from_slice(now);
            self.commit(now.len())?;
            rest = later;
        }
        Ok(bytes.len() - rest.len())
    }

    /// The next free bytes, in one piece: at most `most`, fewer where the ring is full or wraps,
    /// none when it is full. Written bytes are sent by [`Self::commit`].
    ///
    /// # Errors
    ///
    /// As [`Self::free`].
    pub fn grant(&mut self, most: usize) -> Result<&mut [u8], RingError> {
        let free = self.free()?.min(most);
        let [Span { offset, length }, _] = self.produced.spans(0, free);
        // SAFETY: `spans` stays within the region, which is ours to write, behind the header; the
        // peer domain cannot write it, and what it has yet to read lies outside the free part.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.region.as_ptr().add(offset), length) })
    }

    /// All free bytes as they lie in our region, for a device that writes them.
    ///
    /// # Errors
    ///
    /// As [`Self::free`].
    pub fn spans(&mut self) -> Result<[Span; 2], RingError> {
        let free = self.free()?;
        Ok(self.produced.spans(0, free))
    }

    /// Sends the next `count` bytes, which the caller or a device has written.
    ///
    /// # Errors
    ///
    /// [`RingError::Excess`] if they are more than were free.
    pub fn commit(&mut self, count: usize) -> Result<(), RingError> {
        let there = self.known_free();
        if count > there {
            return Err(RingError::Excess {
                asked: count,
                there,
            });
        }
        self.produced.advance(count);
        // Release: whoever sees the new count sees the bytes.
        header(&self.own)
            .produced
            .store(self.produced.count, Ordering::Release);
        Ok(())
    }

    /// Whether the peer domain wants to be notified of what was sent since this was last asked.
    #[must_use = "a notification that is due and not sent leaves the peer domain asleep"]
    pub fn notify_due(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let mark = header(&self.peer)
            .awaits_data_beyond
            .load(Ordering::Relaxed);
        let due = (self.announced..self.produced.count).contains(&mark);
        self.announced = self.produced.count;
        due
    }

    /// Asks to be notified once `space` bytes (at most the capacity) are free. True if they are
    /// already: the caller must not sleep.
    ///
    /// # Errors
    ///
    /// As [`Self::free`].
    #[must_use = "true means that no notification may come"]
    pub fn wait(&mut self, space: usize) -> Result<bool, RingError> {
        let space = space.min(self.capacity());
        self.leave_mark(space);
        fence(Ordering::SeqCst);
        Ok(self.free()? >= space)
    }

    /// The store of [`Self::wait`], which comes before its look.
    fn leave_mark(&self, space: usize) {
        let used = widen(self.capacity() - space);
        if self.produced.count > used {
            // Enough is free once the peer domain has consumed all but `used` of what we sent.
            header(&self.own)
                .awaits_space_beyond
                .store(self.produced.count - used - 1, Ordering::Relaxed);
        }
    }

    fn known_free(&self) -> usize {
        self.produced.capacity - narrow(self.produced.count - self.consumed)
    }
}

impl Consumer {
    /// How many bytes can be under way at once.
    pub const fn capacity(&self) -> usize {
        self.consumed.capacity
    }

    /// How many bytes can be taken now.
    ///
    /// # Errors
    ///
    /// [`RingError::Corrupt`] for a count that no honest peer domain has.
    pub fn available(&mut self) -> Result<usize, RingError> {
        // Acquire: the bytes that the count speaks of are there.
        let found = header(&self.peer).produced.load(Ordering::Acquire);
        let highest = self.consumed.count + widen(self.capacity());
        self.produced = between(Counter::Produced, found, self.produced, highest)?;
        Ok(self.known_available())
    }

    /// Takes as many bytes as there are and fit into `bytes`, in one copy; returns how many.
    ///
    /// # Errors
    ///
    /// As [`Self::available`].
    pub fn pop(&mut self, bytes: &mut [u8]) -> Result<usize, RingError> {
        let count = self.look(bytes)?;
        self.consume(count)?;
        Ok(count)
    }

    /// Copies as many bytes as there are and fit into `bytes`, and takes none; returns how many.
    ///
    /// # Errors
    ///
    /// As [`Self::available`].
    pub fn look(&mut self, bytes: &mut [u8]) -> Result<usize, RingError> {
        let count = self.available()?.min(bytes.len());
        let mut rest = bytes;
        for Span { offset, length } in self.consumed.spans(0, count) {
            let (now, later) = rest.split_at_mut(length.min(rest.len()));
            // SAFETY: `spans` stays within the peer domain's region, and `now` is no longer.
            unsafe { copy_from_peer_domain(self.region.as_ptr().add(offset), now) };
            rest = later;
        }
        Ok(count)
    }

    /// The bytes that can be taken, but for the first `skip`, as they lie in the peer domain's
    /// region, for a device that reads them. They stay until [`Self::consume`].
    ///
    /// # Errors
    ///
    /// As [`Self::available`].
    pub fn peek(&mut self, skip: usize) -> Result<[Span; 2], RingError> {
        let available = self.available()?;
        Ok(self
            .consumed
            .spans(skip.min(available), available.saturating_sub(skip)))
    }

    /// Takes `count` bytes without looking at them (a device has).
    ///
    /// # Errors
    ///
    /// [`RingError::Excess`] if they are more than there were.
    pub fn consume(&mut self, count: usize) -> Result<(), RingError> {
        let there = self.known_available();
        if count > there {
            return Err(RingError::Excess {
                asked: count,
                there,
            });
        }
        self.consumed.advance(count);
        // Release: our reads of the bytes come before the peer domain may write over them.
        header(&self.own)
            .consumed
            .store(self.consumed.count, Ordering::Release);
        Ok(())
    }

    /// Whether the peer domain wants to be notified of what was taken since this was last asked.
    #[must_use = "a notification that is due and not sent leaves the peer domain asleep"]
    pub fn notify_due(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let mark = header(&self.peer)
            .awaits_space_beyond
            .load(Ordering::Relaxed);
        let due = (self.announced..self.consumed.count).contains(&mark);
        self.announced = self.consumed.count;
        due
    }

    /// Asks to be notified once more than `seen` bytes are there: 0 for any, or as many as a
    /// device is already reading. True if they are already: the caller must not sleep.
    ///
    /// # Errors
    ///
    /// As [`Self::available`].
    #[must_use = "true means that no notification may come"]
    pub fn wait(&mut self, seen: usize) -> Result<bool, RingError> {
        let seen = seen.min(self.capacity());
        self.leave_mark(seen);
        fence(Ordering::SeqCst);
        Ok(self.available()? > seen)
    }

    /// The store of [`Self::wait`], which comes before its look.
    fn leave_mark(&self, seen: usize) {
        header(&self.own)
            .awaits_data_beyond
            .store(self.consumed.count + widen(seen), Ordering::Relaxed);
    }

    fn known_available(&self) -> usize {
        narrow(self.produced - self.consumed.count)
    }
}

fn header(pointer: &NonNull<Header>) -> &Header {
    // SAFETY: `Duplex::new` was given regions that are readable until the program ends, and
    // `Cursor::new` checked that they are long enough and aligned. All fields are atomic, so the
    // peer domain may write them at any time.
    unsafe { pointer.as_ref() }
}

/// A counter of the peer domain's, if it is possible.
fn between(counter: Counter, found: u64, lowest: u64, highest: u64) -> Result<u64, RingError> {
    if (lowest..=highest).contains(&found) {
        Ok(found)
    } else {
        Err(RingError::Corrupt {
            counter,
            found,
            lowest,
            highest,
        })
    }
}
