// SPDX-License-Identifier: BSD-2-Clause
//! Virtio devices (Virtual I/O Device Version 1.2).
//!
//! Responsible for: a console's port over any of the `virtio-drivers` crate's transports.
//! Must never: support legacy devices, whose layout is another.
//!
//! The queues are ours, not that crate's: its queue takes buffers as references, but what we send
//! lies in a region that a peer domain may be writing, which a reference must never be to. Ours
//! takes physical addresses, needs no unsafe code per buffer, and no process-wide allocator.

mod control;
#[cfg(feature = "host")]
pub mod fake;
mod memory;
mod port;
mod queue;

pub use memory::{BUFFER_LENGTH, PortMemory, QUEUE_SIZE};
pub use port::{Piece, Port};
pub use virtio_drivers::transport::Transport;
pub use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};

/// Why a virtio device cannot be used: it, or the board's description of it, is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VirtioError {
    /// There is a device, but not a console.
    #[error("the device is no console")]
    NotConsole,
    /// It offers the layout from before version 1.0 only.
    #[error("the device is a legacy one")]
    Legacy,
    /// It does not have or accept what we ask of it.
    #[error("the device lacks features that we need")]
    Features,
    /// Its queue is shorter than ours.
    #[error("queue {queue} has {found} entries, not {QUEUE_SIZE}")]
    QueueTooShort {
        /// The queue's number.
        queue: u16,
        /// How many entries it can have.
        found: u32,
    },
    /// It gives back a buffer that it does not have.
    #[error("the device gives back buffer {slot} of queue {queue}, which it does not have")]
    NotPosted {
        /// The queue's number.
        queue: u16,
        /// What it takes for a descriptor's index.
        slot: u32,
    },
    /// It keeps interrupting.
    #[error(transparent)]
    Endless(#[from] crate::EndlessInterrupt),
    /// It claims to have written more than a buffer holds.
    #[error("the device writes {length} bytes into a buffer of queue {queue}")]
    TooLong {
        /// The queue's number.
        queue: u16,
        /// How many bytes it says.
        length: u32,
    },
}
