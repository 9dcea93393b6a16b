// SPDX-License-Identifier: BSD-2-Clause
//! A virtio console device for tests on the host, as little obliging as the standard allows.
//!
//! Responsible for: the device's side of Virtio 1.2, 5.3, with a port 1, and with the program's own
//! addresses as physical ones. It looks for new buffers only when notified, sends only as much as the test gives it room
//! for, and interrupts only when asked to.

#![allow(clippy::indexing_slicing, reason = "a test's own mistakes may panic")]

extern crate std;

use super::memory::{Descriptor, QUEUE_SIZE, QueueMemory};
use super::{PortMemory, Transport};
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec::Vec;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The queues of port 1, and of control messages.
const RECEIVE: usize = 4;
const TRANSMIT: usize = 5;
const CONTROL_RECEIVE: usize = 2;
const CONTROL_TRANSMIT: usize = 3;

/// The device, as the test and the transport share it.
#[derive(Debug, Clone, Default)]
pub struct FakeConsole(Rc<RefCell<Device>>);

/// The device's state; tests set what they want it to be.
#[derive(Debug)]
pub struct Device {
    /// What kind of device it says it is.
    pub device_type: DeviceType,
    /// What it offers.
    pub features: u64,
    /// Whether it accepts the driver's features.
    pub accepts: bool,
    /// The most entries of each queue.
    pub queue_size: u32,
    /// What the driver has sent.
    pub sent: Vec<u8>,
    /// How many bytes more the other end takes.
    pub room: usize,
    /// What the driver is to receive.
    pub to_receive: VecDeque<u8>,
    /// Whether the interrupt line is raised.
    pub interrupt: bool,
    /// How often the driver has notified it.
    pub notifications: usize,
    /// What the driver accepted.
    pub driver_features: u64,
    /// Whether the driver has opened the port.
    pub open: bool,
    /// Whether somebody is at the other end; otherwise what is sent is lost.
    connected: bool,
    status: DeviceStatus,
    queues: [Option<Side>; 6],
}

/// The device's side of a queue.
#[derive(Debug)]
struct Side {
    memory: NonNull<QueueMemory>,
    /// Entries of the available ring that it knows of and has not finished.
    known: VecDeque<u16>,
    available: u16,
    used: u16,
    /// Bytes of the first known entry that are sent.
    progress: usize,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            device_type: DeviceType::Console,
            // VERSION_1, MULTIPORT, and one that the driver is to leave alone: EVENT_IDX.
            features: 1 << 32 | 1 << 1 | 1 << 29,
            accepts: true,
            queue_size: 128,
            sent: Vec::new(),
            room: usize::MAX,
            to_receive: VecDeque::new(),
            interrupt: false,
            notifications: 0,
            driver_features: 0,
            open: false,
            connected: true,
            status: DeviceStatus::empty(),
            queues: [const { None }; 6],
        }
    }
}

impl FakeConsole {
    /// Memory for the driver, never freed, and its address.
    pub fn memory() -> (NonNull<PortMemory>, u64) {
        let layout = Layout::new::<PortMemory>();
        // SAFETY: the layout is not empty.
        let Some(memory) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        (memory.cast(), memory.addr().get() as u64)
    }

    /// Looks at or changes the device.
    pub fn with<R>(&self, look: impl FnOnce(&mut Device) -> R) -> R {
        look(&mut self.0.borrow_mut())
    }

    /// Sends what there is room for, and fills at most one receive buffer with at most `most`
    /// bytes.
    pub fn run(&self, most: usize) {
        self.with(|device| {
            device.send();
            device.receive(most);
        });
    }

    /// The other end goes, in the middle of a piece if one is under way, which is then forgotten.
    pub fn hang_up(&self) {
        self.with(|device| {
            if let Some(side) = &mut device.queues[TRANSMIT] {
                side.known.pop_front();
                side.progress = 0;
            }
            device.connected = false;
            device.say(&[1, 0, 0, 0, 6, 0, 0, 0]);
        });
    }

    /// Somebody is at the other end again.
    pub fn connect(&self) {
        self.with(|device| {
            device.connected = true;
            device.say(&[1, 0, 0, 0, 6, 0, 1, 0]);
        });
    }

    /// Gives `slot` of queue `queue` back as if it had been finished with `length` bytes.
    pub fn give_back(&self, queue: usize, slot: u32, length: u32) {
        self.with(|device| {
            if let Some(Some(side)) = device.queues.get_mut(queue) {
                side.finish(slot, length);
            }
        });
    }
}

impl Device {
    fn send(&mut self) {
        let Some(side) = &mut self.queues[TRANSMIT] else {
            return;
        };
        while let Some(slot) = side.known.front().copied() {
            let (address, length, flags) = side.descriptor(slot);
            assert_eq!(flags, 0, "a buffer to send");
            let room = if self.connected { self.room } else { length };
            let now = (length - side.progress).min(room);
            // SAFETY: the driver promises that the buffer stays until it is given back.
            let bytes = unsafe {
                core::slice::from_raw_parts((address as *const u8).add(side.progress), now)
            };
            side.progress += now;
            if self.connected {
                self.sent.extend_from_slice(bytes);
                self.room -= now;
            }
            if side.progress < length {
                break;
            }
            side.known.pop_front();
            side.progress = 0;
            self.interrupt |= side.finish(slot.into(), 0);
        }
    }

    /// Reads the driver's control messages, and answers each in its turn.
    fn control(&mut self) {
        while let Some(message) = self.next_control() {
            match message {
                // DEVICE_READY: there are ports 1 and 7, added with PORT_ADD.
                [_, _, _, _, 0, 0, 1, 0] => {
                    self.say(&[7, 0, 0, 0, 1, 0, 1, 0]);
                    self.say(&[1, 0, 0, 0, 1, 0, 1, 0]);
                }
                // PORT_READY: it has a name (PORT_NAME), and somebody is there (PORT_OPEN).
                [1, 0, 0, 0, 3, 0, 1, 0] => {
                    self.say(b"\x01\0\0\0\x07\0\x01\0link");
                    self.say(&[1, 0, 0, 0, 6, 0, 1, 0]);
                }
                // PORT_OPEN.
                [1, 0, 0, 0, 6, 0, 1, 0] => self.open = true,
                other => panic!("unexpected control message {other:?}"),
            }
        }
    }

    fn next_control(&mut self) -> Option<[u8; 8]> {
        let side = self.queues[CONTROL_TRANSMIT].as_mut()?;
        let slot = side.known.pop_front()?;
        let (address, length, flags) = side.descriptor(slot);
        assert_eq!((length, flags), (8, 0), "a control message");
        // SAFETY: the driver promises that the buffer stays until it is given back.
        let message = unsafe { (address as *const [u8; 8]).read() };
        self.interrupt |= side.finish(slot.into(), 0);
        Some(message)
    }

    fn say(&mut self, message: &[u8]) {
        let Some(side) = &mut self.queues[CONTROL_RECEIVE] else {
            return;
        };
        let slot = side
            .known
            .pop_front()
            .expect("a buffer for control messages");
        let (address, length, flags) = side.descriptor(slot);
        assert!(message.len() <= length && flags == 2, "a buffer to write");
        for (index, byte) in message.iter().enumerate() {
            // SAFETY: within the buffer, which the driver has given to the device.
            unsafe { (address as *mut u8).add(index).write(*byte) };
        }
        let written = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.interrupt |= side.finish(slot.into(), written);
    }

    fn receive(&mut self, most: usize) {
        if !self.open {
            return;
        }
        let Some(side) = &mut self.queues[RECEIVE] else {
            return;
        };
        let wanted = most.min(self.to_receive.len());
        if let Some(slot) = side.known.front().copied().filter(|_| wanted > 0) {
            let (address, length, flags) = side.descriptor(slot);
            assert_eq!(flags, 2, "a buffer to write");
            let count = wanted.min(length);
            for (index, byte) in self.to_receive.drain(..count).enumerate() {
                // SAFETY: within the buffer, which the driver has given to the device.
                unsafe { (address as *mut u8).add(index).write(byte) };
            }
            side.known.pop_front();
            let written = u32::try_from(count).unwrap_or(u32::MAX);
            self.interrupt |= side.finish(slot.into(), written);
        }
    }
}

impl Side {
    fn memory(&self) -> &QueueMemory {
        // SAFETY: the address that the driver gave, all of it atomic.
        unsafe { self.memory.as_ref() }
    }

    fn descriptor(&self, slot: u16) -> (usize, usize, u16) {
        let Descriptor {
            address,
            length,
            flags,
            ..
        } = &self.memory().descriptors[usize::from(slot)];
        let address = usize::try_from(address.load(Ordering::Relaxed));
        (
            address.unwrap_or_default(),
            length.load(Ordering::Relaxed) as usize,
            flags.load(Ordering::Relaxed),
        )
    }

    /// Looks for new entries.
    fn look(&mut self) {
        let published = self.memory().available.index.load(Ordering::Acquire);
        while self.available != published {
            let place = usize::from(self.available) % QUEUE_SIZE;
            let slot = self.memory().available.ring[place].load(Ordering::Relaxed);
            self.known.push_back(slot);
            self.available = self.available.wrapping_add(1);
        }
    }

    /// Gives a buffer back; whether the driver wants an interrupt for it.
    fn finish(&mut self, slot: u32, length: u32) -> bool {
        let used = &self.memory().used;
        let element = &used.ring[usize::from(self.used) % QUEUE_SIZE];
        element.slot.store(slot, Ordering::Relaxed);
        element.length.store(length, Ordering::Relaxed);
        let next = self.used.wrapping_add(1);
        used.index.store(next, Ordering::SeqCst);
        let wanted = self.memory().available.flags.load(Ordering::SeqCst) == 0;
        self.used = next;
        wanted
    }
}

impl Transport for FakeConsole {
    fn device_type(&self) -> DeviceType {
        self.with(|device| device.device_type)
    }

    fn read_device_features(&mut self) -> u64 {
        self.with(|device| device.features)
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.with(|device| device.driver_features = driver_features);
    }

    fn max_queue_size(&mut self, _queue: u16) -> u32 {
        self.with(|device| device.queue_size)
    }

    fn notify(&mut self, queue: u16) {
        self.with(|device| {
            assert!(
                device.status.contains(DeviceStatus::DRIVER_OK),
                "notified before DRIVER_OK"
            );
            device.notifications += 1;
            let side = &mut device.queues[usize::from(queue)];
            if let Some(side) = side.as_mut() {
                side.look();
            }
            device.control();
        });
    }

    fn get_status(&self) -> DeviceStatus {
        self.with(|device| device.status)
    }

    fn set_status(&mut self, mut status: DeviceStatus) {
        self.with(|device| {
            if !device.accepts {
                status.remove(DeviceStatus::FEATURES_OK);
            }
            device.status = status;
        });
    }

    fn set_guest_page_size(&mut self, _guest_page_size: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, size: u32, table: u64, _driver: u64, _device: u64) {
        assert_eq!(size as usize, QUEUE_SIZE);
        let memory = usize::try_from(table).ok().and_then(|address| {
            // The memory's provenance was exposed when it became a number.
            NonNull::new(core::ptr::with_exposed_provenance_mut(address))
        });
        let side = memory.map(|memory| Side {
            memory,
            known: VecDeque::new(),
            available: 0,
            used: 0,
            progress: 0,
        });
        self.with(|device| device.queues[usize::from(queue)] = side);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.with(|device| device.queues[usize::from(queue)] = None);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.with(|device| device.queues[usize::from(queue)].is_some())
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        if self.with(|device| core::mem::take(&mut device.interrupt)) {
            InterruptStatus::QUEUE_INTERRUPT
        } else {
            InterruptStatus::empty()
        }
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        _offset: usize,
    ) -> virtio_drivers::Result<T> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _offset: usize,
        _value: T,
    ) -> virtio_drivers::Result<()> {
        Err(virtio_drivers::Error::ConfigSpaceMissing)
    }
}
