// SPDX-License-Identifier: BSD-2-Clause
//! Channels to other domains and to interrupts, and the domain's children.

use core::fmt;

use sel4_sys::microkit::{
    ENDPOINT_BASE_SLOT, IRQ_BASE_SLOT, MAX_CHANNELS, NOTIFICATION_BASE_SLOT, TCB_BASE_SLOT,
};

use crate::MessageInfo;
use crate::symbols::{pd_irqs, pd_notifications, pd_pps};

/// A channel, by its number in the system description.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Channel {
    index: usize,
}

impl Channel {
    /// The channel of a number.
    ///
    /// # Panics
    ///
    /// The number is above 61.
    #[inline(always)]
    pub const fn new(index: usize) -> Self {
        assert!(index < MAX_CHANNELS);
        Self { index }
    }

    /// The channel's number.
    #[inline(always)]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The capability that the channel has for one of its uses.
    #[inline(always)]
    fn cap<T: ChannelFacet>(self) -> sel4::Cap<T> {
        if T::mask() & (1 << self.index) == 0 {
            no_such_use(T::METHOD_NAME, self.index);
        }
        sel4::Cap::from_bits(T::BASE_SLOT + self.index as sel4::CPtrBits)
    }

    /// The capability to notify with.
    #[doc(hidden)]
    #[inline(always)]
    pub fn notification(&self) -> sel4::cap::Notification {
        self.cap()
    }

    /// The interrupt behind the channel.
    #[doc(hidden)]
    #[inline(always)]
    pub fn irq_handler(&self) -> sel4::cap::IrqHandler {
        self.cap()
    }

    /// The capability to call with.
    #[doc(hidden)]
    #[inline(always)]
    pub fn endpoint(&self) -> sel4::cap::Endpoint {
        self.cap()
    }

    /// Notifies the domain at the other end.
    ///
    /// # Panics
    ///
    /// The system description does not let this end notify.
    #[inline(always)]
    pub fn notify(&self) {
        self.notification().signal();
    }

    /// Unmasks the interrupt behind the channel.
    ///
    /// # Errors
    ///
    /// The kernel refused.
    ///
    /// # Panics
    ///
    /// The channel is not an interrupt's.
    #[inline(always)]
    pub fn irq_ack(&self) -> Result<(), IrqAckError> {
        self.irq_handler().irq_handler_ack().map_err(IrqAckError)
    }

    /// Calls the domain at the other end, and waits for its answer.
    ///
    /// # Panics
    ///
    /// The system description does not let this end call.
    #[inline(always)]
    pub fn pp_call(&self, msg_info: MessageInfo) -> MessageInfo {
        MessageInfo::from_inner(self.endpoint().call(msg_info.into_inner()))
    }
}

#[cold]
fn no_such_use(method: &str, index: usize) -> ! {
    panic!("{method}: not valid for channel '{index}'");
}

/// A use of a channel: its capabilities' place, and which channels have one.
trait ChannelFacet: sel4::CapType {
    const METHOD_NAME: &str;
    const BASE_SLOT: sel4::CPtrBits;

    fn mask() -> usize;
}

impl ChannelFacet for sel4::cap_type::Notification {
    const METHOD_NAME: &str = "notify";
    const BASE_SLOT: sel4::CPtrBits = NOTIFICATION_BASE_SLOT;

    #[inline(always)]
    fn mask() -> usize {
        pd_notifications()
    }
}

impl ChannelFacet for sel4::cap_type::IrqHandler {
    const METHOD_NAME: &str = "irq_ack";
    const BASE_SLOT: sel4::CPtrBits = IRQ_BASE_SLOT;

    #[inline(always)]
    fn mask() -> usize {
        pd_irqs()
    }
}

impl ChannelFacet for sel4::cap_type::Endpoint {
    const METHOD_NAME: &str = "pp_call";
    const BASE_SLOT: sel4::CPtrBits = ENDPOINT_BASE_SLOT;

    #[inline(always)]
    fn mask() -> usize {
        pd_pps()
    }
}

/// Why [`Channel::irq_ack`] failed.
#[derive(Debug, PartialEq, Eq)]
pub struct IrqAckError(sel4::Error);

impl fmt::Display for IrqAckError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "irq ack error: {:?}", self.0)
    }
}

/// A child of the domain, or a vCPU of its virtual machine, by its number.
#[derive(Debug, Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Child {
    index: usize,
}

impl Child {
    /// The child of a number.
    #[inline(always)]
    pub const fn new(index: usize) -> Self {
        Self { index }
    }

    /// The child's number.
    #[inline(always)]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The thread of a child that is a domain. (A vCPU's is elsewhere, see the crate.)
    #[doc(hidden)]
    #[inline(always)]
    pub fn tcb(&self) -> sel4::cap::Tcb {
        sel4::Cap::from_bits(TCB_BASE_SLOT + self.index as sel4::CPtrBits)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn a_channel_above_61_does_not_exist() {
        assert_eq!(Channel::new(61).index(), 61);
        assert!(catch_unwind(|| Channel::new(62)).is_err());
    }

    #[test]
    fn a_use_that_the_system_description_does_not_give_is_refused_before_the_kernel() {
        assert!(catch_unwind(|| Channel::new(1).notification()).is_err());
        assert!(catch_unwind(|| Channel::new(1).endpoint()).is_err());
        assert!(catch_unwind(|| Channel::new(1).irq_handler()).is_err());
    }

    #[test]
    fn a_child_has_its_thread_in_the_slots_of_children() {
        assert_eq!(Child::new(3).tcb().bits(), 205);
    }
}
