// SPDX-License-Identifier: BSD-2-Clause
//! Receiving: what a badge means.

use core::fmt;

use sel4_sys::microkit::{
    BADGE_CHANNEL_MASK, BADGE_CHILD_MASK, BADGE_ENDPOINT_BIT, BADGE_FAULT_BIT, INPUT_SLOT,
    MONITOR_ENDPOINT_SLOT, REPLY_SLOT,
};

use crate::defer::PreparedDeferredAction;
use crate::{Channel, Child, MessageInfo};

const INPUT_CAP: sel4::cap::Endpoint = sel4::Cap::from_bits(INPUT_SLOT);
const REPLY_CAP: sel4::cap::Reply = sel4::Cap::from_bits(REPLY_SLOT);
const MONITOR_EP_CAP: sel4::cap::Endpoint = sel4::Cap::from_bits(MONITOR_ENDPOINT_SLOT);

/// What arrived.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Notified(ChannelSet),
    Protected(Channel, MessageInfo),
    Fault(Child, MessageInfo),
}

impl Event {
    #[inline(always)]
    fn new((tag, badge): (sel4::MessageInfo, sel4::Badge)) -> Self {
        if badge & (1 << BADGE_ENDPOINT_BIT) != 0 {
            let channel = Channel::new(index(badge & BADGE_CHANNEL_MASK));
            Self::Protected(channel, MessageInfo::from_inner(tag))
        } else if badge & (1 << BADGE_FAULT_BIT) != 0 {
            let child = Child::new(index(badge & BADGE_CHILD_MASK));
            Self::Fault(child, MessageInfo::from_inner(tag))
        } else {
            Self::Notified(ChannelSet(badge))
        }
    }
}

/// A part of a badge as a number.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "a part of at most 8 bits comes here"
)]
const fn index(badge: sel4::Badge) -> usize {
    badge as usize
}

/// The channels that were notified.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelSet(sel4::Badge);

impl ChannelSet {
    /// Whether a channel is among them.
    #[inline(always)]
    pub fn contains(&self, channel: Channel) -> bool {
        self.0 & (1 << channel.index()) != 0
    }

    /// The channels, in ascending order.
    #[inline(always)]
    pub fn iter(&self) -> ChannelSetIter {
        ChannelSetIter(self.0)
    }

    /// The channels as text.
    pub fn display(&self) -> DisplayChannelSet<'_> {
        DisplayChannelSet(self)
    }
}

/// The channels of a [`ChannelSet`], in ascending order.
pub struct ChannelSetIter(sel4::Badge);

impl Iterator for ChannelSetIter {
    type Item = Channel;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0 == 0 {
            return None;
        }
        let lowest = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(Channel::new(lowest as usize))
    }
}

/// The channels of a [`ChannelSet`] as text.
pub struct DisplayChannelSet<'a>(&'a ChannelSet);

impl fmt::Display for DisplayChannelSet<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{")?;
        for (position, channel) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", channel.index())?;
        }
        formatter.write_str("}")
    }
}

/// Waits for something to arrive.
#[inline(always)]
pub(crate) fn recv() -> Event {
    Event::new(INPUT_CAP.recv(REPLY_CAP))
}

/// Answers the last call or fault, and waits for something to arrive.
#[inline(always)]
pub(crate) fn reply_recv(msg_info: MessageInfo) -> Event {
    Event::new(INPUT_CAP.reply_recv(msg_info.into_inner(), REPLY_CAP))
}

/// Does an action, and waits for something to arrive.
#[inline(always)]
pub(crate) fn nb_send_recv(action: PreparedDeferredAction) -> Event {
    Event::new(
        action
            .cptr
            .nb_send_recv(action.msg_info, INPUT_CAP, REPLY_CAP),
    )
}

/// Does an action.
#[inline(always)]
pub(crate) fn send(action: PreparedDeferredAction) {
    action.cptr.send(action.msg_info);
}

/// Tells the monitor that a passive domain has started and gives its time back.
pub(crate) fn forfeit_sc() -> PreparedDeferredAction {
    PreparedDeferredAction {
        cptr: MONITOR_EP_CAP.cast(),
        msg_info: sel4::MessageInfo::new(0, 0, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn event(badge: sel4::Badge) -> Event {
        Event::new((sel4::MessageInfo::new(7, 0, 0, 2), badge))
    }

    #[test]
    fn a_set_has_the_channels_of_its_bits() {
        let set = ChannelSet(1 | 1 << 10 | 1 << 61);
        let channels: Vec<_> = set.iter().map(|channel| channel.index()).collect();
        assert_eq!(channels, [0, 10, 61]);
        assert!(set.contains(Channel::new(10)));
        assert!(!set.contains(Channel::new(11)));
        assert_eq!(set.display().to_string(), "{0, 10, 61}");
        assert_eq!(ChannelSet(0).iter().count(), 0);
        assert_eq!(ChannelSet(0).display().to_string(), "{}");
    }

    #[test]
    fn the_highest_bit_of_a_badge_marks_a_call() {
        let Event::Protected(channel, info) = event(1 << 63 | 61) else {
            panic!("not a call");
        };
        assert_eq!((channel.index(), info.label(), info.count()), (61, 7, 2));
    }

    #[test]
    fn the_next_bit_of_a_badge_marks_a_fault() {
        let Event::Fault(child, info) = event(1 << 62 | 3) else {
            panic!("not a fault");
        };
        assert_eq!((child.index(), info.label()), (3, 7));
    }

    #[test]
    fn any_other_badge_is_a_set_of_channels() {
        let Event::Notified(channels) = event(1 << 61 | 2) else {
            panic!("not notifications");
        };
        assert_eq!(channels, ChannelSet(1 << 61 | 2));
    }
}
