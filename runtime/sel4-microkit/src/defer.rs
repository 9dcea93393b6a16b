// SPDX-License-Identifier: BSD-2-Clause
//! Actions that wait for the next receive, so that both are one system call.

use crate::{Channel, IrqAckError};

/// A notification or an acknowledgement to do at the next receive.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub struct DeferredAction {
    channel: Channel,
    interface: DeferredActionInterface,
}

/// What to do on the channel.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub enum DeferredActionInterface {
    /// [`Channel::notify`].
    Notify,
    /// [`Channel::irq_ack`].
    IrqAck,
}

impl DeferredAction {
    /// An action on a channel.
    #[inline(always)]
    pub fn new(channel: Channel, interface: DeferredActionInterface) -> Self {
        Self { channel, interface }
    }

    /// A notification.
    #[inline(always)]
    pub fn new_notify(channel: Channel) -> DeferredAction {
        Self::new(channel, DeferredActionInterface::Notify)
    }

    /// An acknowledgement of an interrupt.
    #[inline(always)]
    pub fn new_irq_ack(channel: Channel) -> DeferredAction {
        Self::new(channel, DeferredActionInterface::IrqAck)
    }

    /// The channel.
    #[inline(always)]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// What to do on it.
    #[inline(always)]
    pub fn interface(&self) -> DeferredActionInterface {
        self.interface
    }

    /// Does it at once.
    ///
    /// # Errors
    ///
    /// It is an acknowledgement and the kernel refused.
    #[inline(always)]
    pub fn execute_now(self) -> Result<(), IrqAckError> {
        match self.interface {
            DeferredActionInterface::Notify => {
                self.channel.notify();
                Ok(())
            }
            DeferredActionInterface::IrqAck => self.channel.irq_ack(),
        }
    }

    /// The message that does it.
    #[inline(always)]
    pub(crate) fn prepare(self) -> PreparedDeferredAction {
        match self.interface {
            DeferredActionInterface::Notify => PreparedDeferredAction {
                cptr: self.channel.notification().cast(),
                msg_info: sel4::MessageInfo::new(0, 0, 0, 0),
            },
            DeferredActionInterface::IrqAck => PreparedDeferredAction {
                cptr: self.channel.irq_handler().cast(),
                msg_info: sel4::MessageInfo::new(sel4::_private::irq_ack_label(), 0, 0, 0),
            },
        }
    }
}

/// A message to send at the next receive.
pub(crate) struct PreparedDeferredAction {
    pub(crate) cptr: sel4::cap::Unspecified,
    pub(crate) msg_info: sel4::MessageInfo,
}

/// Room for one action, for implementing [`crate::Handler::take_deferred_action`].
#[derive(Default)]
pub struct DeferredActionSlot {
    inner: Option<DeferredAction>,
}

impl DeferredActionSlot {
    /// No action.
    pub const fn new() -> Self {
        Self { inner: None }
    }

    /// Takes the action out.
    #[inline(always)]
    pub fn take(&mut self) -> Option<DeferredAction> {
        self.inner.take()
    }

    /// Puts an action in; one that was there already is done at once.
    ///
    /// # Errors
    ///
    /// The earlier action was an acknowledgement and the kernel refused.
    #[inline(always)]
    pub fn defer(&mut self, action: DeferredAction) -> Result<(), IrqAckError> {
        match self.inner.replace(action) {
            Some(earlier) => earlier.execute_now(),
            None => Ok(()),
        }
    }

    /// Puts a notification in.
    ///
    /// # Errors
    ///
    /// As for [`Self::defer`].
    #[inline(always)]
    pub fn defer_notify(&mut self, channel: Channel) -> Result<(), IrqAckError> {
        self.defer(DeferredAction::new_notify(channel))
    }

    /// Puts an acknowledgement in.
    ///
    /// # Errors
    ///
    /// As for [`Self::defer`].
    #[inline(always)]
    pub fn defer_irq_ack(&mut self, channel: Channel) -> Result<(), IrqAckError> {
        self.defer(DeferredAction::new_irq_ack(channel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_gives_its_action_back_once() {
        let mut slot = DeferredActionSlot::new();
        assert_eq!(slot.take(), None);
        slot.defer_irq_ack(Channel::new(10)).unwrap();
        let action = slot.take().unwrap();
        assert_eq!(action.channel(), Channel::new(10));
        assert_eq!(action.interface(), DeferredActionInterface::IrqAck);
        assert_eq!(slot.take(), None);
    }
}
