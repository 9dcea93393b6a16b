// SPDX-License-Identifier: BSD-2-Clause
//! The control queues of a virtio console, which open a port (Virtio 1.2, 5.3.6.2).
//!
//! Responsible for: opening one port as soon as the device has it, and noticing when the other end
//! goes. Must never: care for other ports.

use super::memory::{CONTROL_BUFFER_LENGTH, ControlMemory, QUEUE_SIZE};
use super::queue::{Direction, Queue};
use super::{Transport, VirtioError};
use core::mem::offset_of;
use core::sync::atomic::Ordering;

/// The control queues (Virtio 1.2, 5.3.2).
const RECEIVE: u16 = 2;
const TRANSMIT: u16 = 3;
/// The length of a message without what may follow it.
const MESSAGE_LENGTH: u32 = 8;

// Events (Virtio 1.2, 5.3.6.2, `VIRTIO_CONSOLE_…`).
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;

/// `struct virtio_console_control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    port: u32,
    event: u16,
    value: u16,
}

impl Message {
    fn to_word(self) -> u64 {
        u64::from(self.port) | u64::from(self.event) << 32 | u64::from(self.value) << 48
    }

    fn from_word(word: u64) -> Self {
        let [p0, p1, p2, p3, e0, e1, v0, v1] = word.to_le_bytes();
        Self {
            port: u32::from_le_bytes([p0, p1, p2, p3]),
            event: u16::from_le_bytes([e0, e1]),
            value: u16::from_le_bytes([v0, v1]),
        }
    }
}

/// The control queues.
#[derive(Debug)]
pub(super) struct Control {
    receive: Queue,
    transmit: Queue,
    memory: &'static ControlMemory,
    physical: u64,
    /// The port to open.
    port: u32,
}

/// What the device said about the port's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct News {
    /// How often the other end has gone.
    pub(super) departures: usize,
}

impl Control {
    /// Sets the queues up; they lie at the physical address given.
    pub(super) fn new<T: Transport>(
        transport: &mut T,
        memory: &'static ControlMemory,
        physical: u64,
        port: u32,
    ) -> Result<Self, VirtioError> {
        let at = |offset| physical + offset as u64;
        let receive_at = at(offset_of!(ControlMemory, receive));
        let transmit_at = at(offset_of!(ControlMemory, transmit));
        let receive = Queue::new(transport, RECEIVE, &memory.receive, receive_at)?;
        let transmit = Queue::new(transport, TRANSMIT, &memory.transmit, transmit_at)?;
        Ok(Self {
            receive,
            transmit,
            memory,
            physical,
            port,
        })
    }

    /// Tells the device to name its ports; what it says interrupts.
    pub(super) fn start<T: Transport>(&mut self, transport: &mut T) {
        (0..QUEUE_SIZE).for_each(|slot| self.post_buffer(slot));
        self.receive.publish(transport);
        self.transmit.set_interrupts(false);
        self.send(DEVICE_READY, 0);
        self.transmit.publish(transport);
    }

    /// Reads what the device says, and answers.
    pub(super) fn work<T: Transport>(&mut self, transport: &mut T) -> Result<News, VirtioError> {
        let mut news = News::default();
        while let Some((slot, _)) = self.receive.take()? {
            let word = self
                .memory
                .received
                .get(slot)
                .and_then(|buffer| buffer.first())
                .map_or(0, |word| word.load(Ordering::Relaxed));
            let message = Message::from_word(word);
            match message.event {
                PORT_ADD if message.port == self.port => {
                    while self.transmit.take()?.is_some() {}
                    self.send(PORT_READY, self.port);
                    self.send(PORT_OPEN, self.port);
                }
                PORT_OPEN if message.port == self.port && message.value == 0 => {
                    news.departures += 1;
                }
                _ => {}
            }
            self.post_buffer(slot);
        }
        self.receive.publish(transport);
        self.transmit.publish(transport);
        Ok(news)
    }

    /// Says that an event is so. Nothing is said while the device has not read sixteen messages.
    fn send(&mut self, event: u16, port: u32) {
        let message = Message {
            port,
            event,
            value: 1,
        };
        if let Some(slot) = self.transmit.free_slot()
            && let Some(word) = self.memory.sent.get(slot)
        {
            word.store(message.to_word(), Ordering::Relaxed);
            let offset = offset_of!(ControlMemory, sent) + slot * size_of::<u64>();
            let address = self.physical + offset as u64;
            self.transmit
                .post(slot, address, MESSAGE_LENGTH, Direction::ToDevice);
        }
    }

    fn post_buffer(&mut self, slot: usize) {
        let offset = offset_of!(ControlMemory, received) + slot * CONTROL_BUFFER_LENGTH;
        let address = self.physical + offset as u64;
        #[expect(clippy::cast_possible_truncation, reason = "64")]
        let length = CONTROL_BUFFER_LENGTH as u32;
        self.receive
            .post(slot, address, length, Direction::FromDevice);
    }
}
