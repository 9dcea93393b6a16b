// SPDX-License-Identifier: BSD-2-Clause
//! A port of a virtio console (Virtio 1.2, 5.3).
//!
//! Responsible for: sending from any physical memory without a copy, several buffers under way at
//! once, and receiving into buffers of its own. Must never: give up a buffer that the device has.
//!
//! It is port 1, by which QEMU knows a `virtserialport`. Port 0 would do without control queues, but
//! is a `virtconsole` to QEMU, which drops what the other end does not take at once.
//!
//! Received bytes are copied once more, into the ring to `migration-pd`. The device could write
//! into the ring itself, but it fills buffers in part and in the order in which they were posted:
//! with more than one in the ring, bytes would end up with gaps between them; with one, the device
//! would stop after each piece.

use super::control::Control;
use super::memory::{BUFFER_LENGTH, BUFFERS, Buffer, PortMemory, QUEUE_SIZE};
use super::queue::{Direction, Queue};
use super::{Transport, VirtioError};
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use heapless::Deque;
use virtio_drivers::transport::{DeviceStatus, DeviceType};

/// The port.
const PORT: u32 = 1;
/// Its queues (Virtio 1.2, 5.3.2).
const RECEIVE: u16 = 4;
const TRANSMIT: u16 = 5;
/// The features that we need: `VIRTIO_F_VERSION_1` (Virtio 1.2, 6) and `VIRTIO_CONSOLE_F_MULTIPORT`
/// (Virtio 1.2, 5.3.3).
const VERSION_1: u64 = 1 << 32;
const MULTIPORT: u64 = 1 << 1;

/// Physically contiguous bytes to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The physical address.
    pub address: u64,
    /// How many bytes.
    pub length: u32,
}

/// A piece on its way.
#[derive(Debug)]
struct Transmission {
    slot: usize,
    /// How many bytes [`Port::sent`] is yet to count.
    length: u32,
}

/// A receive buffer with bytes that are yet to be taken.
#[derive(Debug)]
struct Reception {
    slot: usize,
    length: usize,
    taken: usize,
}

/// A port, open as soon as the device has it.
#[derive(Debug)]
pub struct Port<T: Transport> {
    transport: T,
    control: Control,
    receive: Queue,
    transmit: Queue,
    memory: &'static PortMemory,
    physical: u64,
    /// In the order in which they were handed over.
    transmissions: Deque<Transmission, QUEUE_SIZE>,
    /// Bytes that are no longer on their way and that [`Self::sent`] is yet to count.
    finished: usize,
    reception: Option<Reception>,
}

impl<T: Transport> Port<T> {
    /// Resets the device and sets it up (Virtio 1.2, 3.1.1), without interrupts.
    ///
    /// # Errors
    ///
    /// It is not a device that this driver is for.
    ///
    /// # Safety
    ///
    /// `memory` is valid until the program ends, zero, used by nothing but this driver and the
    /// device, and lies at the physical address given, where the device may write.
    pub unsafe fn new(
        mut transport: T,
        memory: NonNull<PortMemory>,
        physical: u64,
    ) -> Result<Self, VirtioError> {
        if transport.device_type() != DeviceType::Console {
            return Err(VirtioError::NotConsole);
        }
        if transport.requires_legacy_layout() {
            return Err(VirtioError::Legacy);
        }
        negotiate(&mut transport)?;
        // SAFETY: the caller's promise. All of it is atomic, so the device may write it as well.
        let memory: &'static PortMemory = unsafe { memory.as_ref() };
        let at = |offset| physical + offset as u64;
        let receive = Queue::new(
            &mut transport,
            RECEIVE,
            &memory.receive,
            at(offset_of!(PortMemory, receive)),
        )?;
        let transmit = Queue::new(
            &mut transport,
            TRANSMIT,
            &memory.transmit,
            at(offset_of!(PortMemory, transmit)),
        )?;
        let control_at = at(offset_of!(PortMemory, control));
        let control = Control::new(&mut transport, &memory.control, control_at, PORT)?;
        transport.finish_init();
        let mut port = Self {
            transport,
            control,
            receive,
            transmit,
            memory,
            physical,
            transmissions: Deque::new(),
            finished: 0,
            reception: None,
        };
        port.set_interrupts(false, false);
        (0..BUFFERS).for_each(|slot| port.post_buffer(slot));
        port.receive.publish(&mut port.transport);
        port.control.start(&mut port.transport);
        Ok(port)
    }

    /// Answers an interrupt: to be called before looking for what it was about, and once at the
    /// start.
    ///
    /// # Errors
    ///
    /// [`VirtioError::NotPosted`]: the device is broken.
    pub fn acknowledge(&mut self) -> Result<(), VirtioError> {
        self.transport.ack_interrupt();
        let news = self.control.work(&mut self.transport)?;
        (0..news.departures).for_each(|_| self.lose_oldest());
        Ok(())
    }

    /// Hands over a piece to send, with the next [`Self::start`]. False if too many are under way.
    ///
    /// The bytes must stay until [`Self::sent`] has counted them.
    pub fn send(&mut self, piece: Piece) -> bool {
        let Some(slot) = self.transmit.free_slot() else {
            return false;
        };
        let transmission = Transmission {
            slot,
            length: piece.length,
        };
        if self.transmissions.push_back(transmission).is_err() {
            // There are as many places as slots.
            return false;
        }
        self.transmit
            .post(slot, piece.address, piece.length, Direction::ToDevice);
        true
    }

    /// Lets the device see the pieces handed over.
    pub fn start(&mut self) {
        self.transmit.publish(&mut self.transport);
    }

    /// How many bytes more the device no longer needs, in the order in which they were handed
    /// over: because they have been sent, or because nobody was there to take them.
    ///
    /// # Errors
    ///
    /// [`VirtioError::NotPosted`]: the device is broken.
    pub fn sent(&mut self) -> Result<usize, VirtioError> {
        while let Some((slot, _)) = self.transmit.take()? {
            // A stream is sent in order: an earlier piece that has not come back is lost.
            while let Some(first) = self.transmissions.pop_front() {
                self.finished += first.length as usize;
                self.transmit.reclaim(first.slot);
                if first.slot == slot {
                    break;
                }
            }
        }
        Ok(core::mem::take(&mut self.finished))
    }

    /// The other end has gone. QEMU forgets the piece that it was in the middle of (its
    /// `discard_throttle_data`), so it will never come back; its slot is ours again when a later
    /// piece does. The others wait until the device is told to look.
    fn lose_oldest(&mut self) {
        let mut under_way = self.transmissions.iter_mut();
        if let Some(oldest) = under_way.find(|transmission| transmission.length > 0) {
            self.finished += core::mem::take(&mut oldest.length) as usize;
            self.transmit.notify(&mut self.transport);
        }
    }

    /// Whether another piece can be handed over.
    pub fn can_send(&self) -> bool {
        self.transmit.free_slot().is_some()
    }

    /// Whether something is on its way.
    pub fn is_sending(&self) -> bool {
        !self.transmissions.is_empty()
    }

    /// Copies received bytes into `bytes`, up to its length or the end of a buffer of the
    /// device's; returns how many. 0 means that there are none, if `bytes` has room for any.
    ///
    /// # Errors
    ///
    /// [`VirtioError::NotPosted`] or [`VirtioError::TooLong`]: the device is broken.
    pub fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, VirtioError> {
        let Some(reception) = self.next_reception()? else {
            return Ok(0);
        };
        let count = bytes.len().min(reception.length - reception.taken);
        let (bytes, _) = bytes.split_at_mut(count);
        let (slot, start) = (reception.slot, reception.taken);
        reception.taken += count;
        let is_empty = reception.taken == reception.length;
        if let Some(buffer) = self.memory.buffers.get(slot) {
            buffer.copy_out(start, bytes);
        }
        if is_empty {
            self.reception = None;
            self.post_buffer(slot);
        }
        Ok(count)
    }

    /// Gives the device the buffers back that [`Self::receive`] has emptied.
    pub fn resume(&mut self) {
        self.receive.publish(&mut self.transport);
    }

    /// Which events are to interrupt: something received, something sent. True if one of these has
    /// come already: an interrupt may not come for it.
    #[must_use = "true means that no interrupt may come"]
    pub fn wait(&mut self, received: bool, sent: bool) -> bool {
        self.set_interrupts(received, sent)
    }

    /// Lowers the interrupt line; whether it was up. While it is, no edge can come.
    #[must_use = "true means that something may have come"]
    pub fn take_interrupt(&mut self) -> bool {
        !self.transport.ack_interrupt().is_empty()
    }

    fn set_interrupts(&mut self, received: bool, sent: bool) -> bool {
        let has_received = self.receive.set_interrupts(received) || self.reception.is_some();
        let has_sent = self.transmit.set_interrupts(sent);
        received && has_received || sent && has_sent
    }

    fn next_reception(&mut self) -> Result<Option<&mut Reception>, VirtioError> {
        while self.reception.is_none() {
            let Some((slot, written)) = self.receive.take()? else {
                return Ok(None);
            };
            let length = written as usize;
            if length > BUFFER_LENGTH {
                return Err(VirtioError::TooLong {
                    queue: RECEIVE,
                    length: written,
                });
            }
            if length == 0 {
                self.post_buffer(slot);
            } else {
                self.reception = Some(Reception {
                    slot,
                    length,
                    taken: 0,
                });
            }
        }
        Ok(self.reception.as_mut())
    }

    fn post_buffer(&mut self, slot: usize) {
        let offset = offset_of!(PortMemory, buffers) + slot * BUFFER_LENGTH;
        let address = self.physical + offset as u64;
        #[expect(clippy::cast_possible_truncation, reason = "a page")]
        let length = BUFFER_LENGTH as u32;
        self.receive
            .post(slot, address, length, Direction::FromDevice);
    }
}

impl Buffer {
    /// Copies the bytes from `start` on.
    fn copy_out(&self, start: usize, bytes: &mut [u8]) {
        let mut words = self.0.iter().skip(start / 8);
        let mut load = || {
            words
                .next()
                .map_or([0; 8], |word| word.load(Ordering::Relaxed).to_ne_bytes())
        };
        let (head, body) = bytes.split_at_mut(bytes.len().min(start.wrapping_neg() % 8));
        if !head.is_empty() {
            let word = load();
            head.iter_mut()
                .zip(word.iter().skip(start % 8))
                .for_each(|(byte, found)| *byte = *found);
        }
        let (whole, tail) = body.as_chunks_mut::<8>();
        whole.iter_mut().for_each(|chunk| *chunk = load());
        if !tail.is_empty() {
            let word = load();
            tail.iter_mut()
                .zip(word)
                .for_each(|(byte, found)| *byte = found);
        }
    }
}

/// Steps 1 to 6 of Virtio 1.2, 3.1.1.
fn negotiate<T: Transport>(transport: &mut T) -> Result<(), VirtioError> {
    let found = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
    transport.set_status(DeviceStatus::empty());
    transport.set_status(found);
    let offered = transport.read_device_features();
    if offered & VERSION_1 == 0 {
        return Err(VirtioError::Legacy);
    }
    if offered & MULTIPORT == 0 {
        return Err(VirtioError::Features);
    }
    transport.write_driver_features(VERSION_1 | MULTIPORT);
    transport.set_status(found | DeviceStatus::FEATURES_OK);
    if transport.get_status().contains(DeviceStatus::FEATURES_OK) {
        Ok(())
    } else {
        transport.set_status(DeviceStatus::FAILED);
        Err(VirtioError::Features)
    }
}
