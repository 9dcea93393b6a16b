// SPDX-License-Identifier: BSD-2-Clause
//! The migration and management link.
//!
//! Responsible for: passing bytes between the link's device and `migration-pd`, in order, both
//! ways, asleep whenever there is nothing to do. Must never: look at the bytes, which are sealed,
//! or touch anything but the device and the two rings. A peer domain or a device that is not to be
//! understood is left alone for good.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod serial;
mod virtio;

use channel::ring::{Consumer, Duplex, Producer, RingError};
use drivers::UartError;
use drivers::virtio::VirtioError;
pub use serial::SerialLink;
pub use virtio::VirtioLink;

/// A device that a link goes over. It moves what it can, and never waits.
pub trait Device {
    /// Answers an interrupt, and switches interrupts off until [`Self::wait`]: called before the
    /// others in each round.
    ///
    /// # Errors
    ///
    /// The device is broken.
    fn acknowledge(&mut self) -> Result<(), LinkError>;

    /// Takes bytes to send out of the ring: all that the device has room for. Bytes leave the ring
    /// when the device no longer needs them there.
    ///
    /// # Errors
    ///
    /// The ring or the device is broken.
    fn send(&mut self, ring: &mut Consumer) -> Result<(), LinkError>;

    /// Puts received bytes into the ring: all that it has room for.
    ///
    /// # Errors
    ///
    /// The ring or the device is broken.
    fn receive(&mut self, ring: &mut Producer) -> Result<(), LinkError>;

    /// Switches the interrupts on that can lead to something: for received bytes only while the
    /// ring has room. True if there is something to do already, or the interrupt line is up: the GIC may take it for an
    /// edge, which does not come again.
    ///
    /// # Errors
    ///
    /// The ring or the device is broken.
    fn wait(&mut self, has_room: bool, ring: &mut Consumer) -> Result<bool, LinkError>;

    /// Switches all interrupts off.
    fn silence(&mut self);
}

/// Why the link has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// `migration-pd`'s fault.
    #[error("the ring with migration-pd: {0}")]
    Ring(#[from] RingError),
    /// The fault of a device that is a virtio port.
    #[error("the link device: {0}")]
    Device(#[from] VirtioError),
    /// The fault of a device that is a serial line.
    #[error("the link device: {0}")]
    Line(#[from] UartError),
}

/// The link: a device and the rings with `migration-pd`.
#[derive(Debug)]
pub struct Link<D> {
    device: D,
    rings: Duplex,
    stopped: bool,
}

impl<D: Device> Link<D> {
    /// A link that the first [`Self::work`] switches on.
    pub const fn new(device: D, rings: Duplex) -> Self {
        Self {
            device,
            rings,
            stopped: false,
        }
    }

    /// Does everything that can be done now; to be called at the start, after the device's
    /// interrupt and after a notification. True if `migration-pd` is to be notified.
    ///
    /// # Errors
    ///
    /// Why the link stops. From then on the device is silent and nothing is done.
    pub fn work(&mut self) -> Result<bool, LinkError> {
        if self.stopped {
            return Ok(false);
        }
        if let Err(error) = self.move_all() {
            self.stopped = true;
            self.device.silence();
            return Err(error);
        }
        let received = self.rings.producer.notify_due();
        let sent = self.rings.consumer.notify_due();
        Ok(received || sent)
    }

    /// Ends, because `migration-pd` neither empties nor fills its rings while this runs on the
    /// only core; on another core, it ends when that one pauses.
    fn move_all(&mut self) -> Result<(), LinkError> {
        let Duplex { producer, consumer } = &mut self.rings;
        loop {
            self.device.acknowledge()?;
            self.device.receive(producer)?;
            self.device.send(consumer)?;
            let has_room = if producer.free()? > 0 {
                true
            } else {
                // Woken once there is room for more than a few bytes.
                producer.wait(producer.capacity().div_ceil(4))?
            };
            if !self.device.wait(has_room, consumer)? {
                return Ok(());
            }
        }
    }
}
