// SPDX-License-Identifier: BSD-2-Clause
//! A split virtqueue of single buffers (Virtio 1.2, 2.7).
//!
//! Responsible for: handing buffers to the device and taking them back, and for telling each
//! other as rarely as possible. Must never: read back what only the driver writes, or believe an
//! index of the device's before it is checked.

use super::memory::{QUEUE_SIZE, QueueMemory};
use super::{Transport, VirtioError};
use core::mem::offset_of;
use core::sync::atomic::{Ordering, fence};

/// The device writes the buffer (Virtio 1.2, 2.7.5, `VIRTQ_DESC_F_WRITE`).
const DESCRIPTOR_WRITE: u16 = 2;
/// The driver wants no interrupts (Virtio 1.2, 2.7.7, `VIRTQ_AVAIL_F_NO_INTERRUPT`).
const NO_INTERRUPT: u16 = 1;
/// The device wants no notifications (Virtio 1.2, 2.7.10, `VIRTQ_USED_F_NO_NOTIFY`).
const NO_NOTIFY: u16 = 1;

/// Who writes a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The driver; the device reads it.
    ToDevice,
    /// The device.
    FromDevice,
}

/// A queue, from the driver's side. A buffer occupies one of [`QUEUE_SIZE`] slots, which the
/// caller chooses among those that are free.
#[derive(Debug)]
pub(super) struct Queue {
    memory: &'static QueueMemory,
    number: u16,
    /// A bit for each slot that the device has.
    posted: u16,
    /// `available.index`, when it is next published.
    available: u16,
    /// `available.index`, as published.
    published: u16,
    /// `used.index` up to which buffers were taken back.
    used: u16,
}

const _: () = assert!(QUEUE_SIZE == u16::BITS as usize);

impl Queue {
    /// Sets up queue `number` of the device in memory at the physical address given.
    pub(super) fn new<T: Transport>(
        transport: &mut T,
        number: u16,
        memory: &'static QueueMemory,
        physical: u64,
    ) -> Result<Self, VirtioError> {
        let found = transport.max_queue_size(number);
        #[expect(clippy::cast_possible_truncation, reason = "16")]
        let size = QUEUE_SIZE as u32;
        if found < size {
            return Err(VirtioError::QueueTooShort {
                queue: number,
                found,
            });
        }
        transport.queue_set(
            number,
            size,
            physical + offset_of!(QueueMemory, descriptors) as u64,
            physical + offset_of!(QueueMemory, available) as u64,
            physical + offset_of!(QueueMemory, used) as u64,
        );
        Ok(Self {
            memory,
            number,
            posted: 0,
            available: 0,
            published: 0,
            used: 0,
        })
    }

    /// A slot that the device does not have.
    pub(super) fn free_slot(&self) -> Option<usize> {
        let slot = self.posted.trailing_ones() as usize;
        (slot < QUEUE_SIZE).then_some(slot)
    }

    /// Gives a buffer to the device with the next [`Self::publish`]. Nothing happens if the device
    /// has that slot already.
    pub(super) fn post(&mut self, slot: usize, address: u64, length: u32, direction: Direction) {
        let place = usize::from(self.available) % QUEUE_SIZE;
        let (Some(descriptor), Some(entry), Ok(index)) = (
            self.memory.descriptors.get(slot),
            self.memory.available.ring.get(place),
            u16::try_from(slot),
        ) else {
            return;
        };
        if self.posted & 1 << index != 0 {
            return;
        }
        let flags = match direction {
            Direction::ToDevice => 0,
            Direction::FromDevice => DESCRIPTOR_WRITE,
        };
        descriptor.address.store(address, Ordering::Relaxed);
        descriptor.length.store(length, Ordering::Relaxed);
        descriptor.flags.store(flags, Ordering::Relaxed);
        entry.store(index, Ordering::Relaxed);
        self.posted |= 1 << index;
        self.available = self.available.wrapping_add(1);
    }

    /// Lets the device see what was posted, and tells it if it wants to be told.
    pub(super) fn publish<T: Transport>(&mut self, transport: &mut T) {
        if self.available == self.published {
            return;
        }
        self.published = self.available;
        let (available, used) = (&self.memory.available, &self.memory.used);
        // Release: the device sees the entries that the index speaks of.
        available.index.store(self.available, Ordering::Release);
        // The device may switch notifications on again and look at the index, in this order.
        fence(Ordering::SeqCst);
        if used.flags.load(Ordering::Relaxed) & NO_NOTIFY == 0 {
            transport.notify(self.number);
        }
    }

    /// Takes back the buffer that the device has finished first: its slot, and how many bytes the
    /// device wrote.
    pub(super) fn take(&mut self) -> Result<Option<(usize, u32)>, VirtioError> {
        let used = &self.memory.used;
        // Acquire: the entry and the buffer are as the device left them.
        if used.index.load(Ordering::Acquire) == self.used {
            return Ok(None);
        }
        let Some(element) = used.ring.get(usize::from(self.used) % QUEUE_SIZE) else {
            return Ok(None);
        };
        let slot = element.slot.load(Ordering::Relaxed);
        let length = element.length.load(Ordering::Relaxed);
        let is_posted = slot < u16::BITS && self.posted & 1 << slot != 0;
        if !is_posted {
            return Err(VirtioError::NotPosted {
                queue: self.number,
                slot,
            });
        }
        self.posted &= !(1 << slot);
        self.used = self.used.wrapping_add(1);
        Ok(Some((slot as usize, length)))
    }

    /// Tells the device to look, whatever it wants.
    pub(super) fn notify<T: Transport>(&self, transport: &mut T) {
        transport.notify(self.number);
    }

    /// Takes back a buffer that the device has without its saying so, because it has lost it.
    pub(super) fn reclaim(&mut self, slot: usize) {
        self.posted &= !(1_u16.unbounded_shl(u32::try_from(slot).unwrap_or(u32::MAX)));
    }

    /// Switches interrupts on or off. True if there is something to [`Self::take`]: an interrupt
    /// may not have come for it.
    pub(super) fn set_interrupts(&self, enabled: bool) -> bool {
        let flags = if enabled { 0 } else { NO_INTERRUPT };
        self.memory.available.flags.store(flags, Ordering::Relaxed);
        // The device stores the index and looks at the flags, in this order.
        fence(Ordering::SeqCst);
        self.memory.used.index.load(Ordering::Relaxed) != self.used
    }
}
