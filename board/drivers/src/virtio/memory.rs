// SPDX-License-Identifier: BSD-2-Clause
//! The memory that a virtio console and the driver of its port share.
//!
//! Responsible for: the layout of split virtqueues (Virtio 1.2, 2.7) and receive buffers. Must
//! never: hold a reference to what the device writes, but through atomics.

use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

/// How many buffers a queue holds. A power of two (Virtio 1.2, 2.7).
pub const QUEUE_SIZE: usize = 16;
/// The length of a receive buffer in bytes: what QEMU's socket backend reads at once
/// (`CHR_READ_BUF_LEN`), and a page.
pub const BUFFER_LENGTH: usize = 4096;
/// How many receive buffers there are: one fewer than the queue holds, so that all of
/// [`PortMemory`] is 64 KiB.
pub(super) const BUFFERS: usize = QUEUE_SIZE - 1;
/// The length of a buffer for control messages in bytes: a message and the name of a port.
pub(super) const CONTROL_BUFFER_LENGTH: usize = 64;

// The queues are little-endian in memory (Virtio 1.2, 1.4).
const _: () = assert!(cfg!(target_endian = "little"));
const _: () = assert!(size_of::<PortMemory>() == 0x1_0000);

/// An entry of a descriptor table (Virtio 1.2, 2.7.5).
#[derive(Debug)]
#[repr(C, align(16))]
pub(super) struct Descriptor {
    pub(super) address: AtomicU64,
    pub(super) length: AtomicU32,
    pub(super) flags: AtomicU16,
    pub(super) next: AtomicU16,
}

/// What the driver gives to the device (Virtio 1.2, 2.7.6).
#[derive(Debug)]
#[repr(C)]
pub(super) struct Available {
    pub(super) flags: AtomicU16,
    pub(super) index: AtomicU16,
    pub(super) ring: [AtomicU16; QUEUE_SIZE],
    /// Only with a feature that we do not ask for.
    used_event: AtomicU16,
}

/// An entry of [`Used`].
#[derive(Debug)]
#[repr(C)]
pub(super) struct UsedElement {
    pub(super) slot: AtomicU32,
    pub(super) length: AtomicU32,
}

/// What the device gives back (Virtio 1.2, 2.7.8).
#[derive(Debug)]
#[repr(C, align(4))]
pub(super) struct Used {
    pub(super) flags: AtomicU16,
    pub(super) index: AtomicU16,
    pub(super) ring: [UsedElement; QUEUE_SIZE],
    /// Only with a feature that we do not ask for.
    avail_event: AtomicU16,
}

/// A split virtqueue.
#[derive(Debug)]
#[repr(C)]
pub(super) struct QueueMemory {
    pub(super) descriptors: [Descriptor; QUEUE_SIZE],
    pub(super) available: Available,
    pub(super) used: Used,
}

/// The control queues and their messages.
#[derive(Debug)]
#[repr(C)]
pub(super) struct ControlMemory {
    pub(super) receive: QueueMemory,
    pub(super) transmit: QueueMemory,
    pub(super) received: [[AtomicU64; CONTROL_BUFFER_LENGTH / 8]; QUEUE_SIZE],
    pub(super) sent: [AtomicU64; QUEUE_SIZE],
}

/// Everything that the device and the driver share: a page for the queues, then the receive
/// buffers. All zero before the driver starts.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct PortMemory {
    pub(super) receive: QueueMemory,
    pub(super) transmit: QueueMemory,
    pub(super) control: ControlMemory,
    pub(super) buffers: [Buffer; BUFFERS],
}

/// A receive buffer, read word by word: the device may be writing it, if it is a broken one.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(super) struct Buffer(pub(super) [AtomicU64; BUFFER_LENGTH / 8]);
