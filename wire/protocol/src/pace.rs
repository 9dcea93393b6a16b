// SPDX-License-Identifier: BSD-2-Clause
//! How fast a board's link is, and what has to be allowed for because of it.
//!
//! Responsible for: every time and size that depends on the speed of a line, for both boards and the
//! host, from one number: the baud rate in the board's file. Must never: depend on how fast bytes
//! happened to go: a line that is slow for a while is not another line.

use super::timeouts::PARTIAL_FRAME_MS;
use super::{MAX_FRAME, MAX_PAYLOAD};
use crate::fingerprint::PAGE_SIZE;
use serde::{Deserialize, Serialize};

/// Bits that a byte takes on a line: a start bit, eight of its own, a stop bit.
const BITS_A_BYTE: u64 = 10;
/// A message of pages is closed once a line takes so many ms for it, so that answers to the host
/// do not wait behind a long one, and so that little is under way when the guest stops.
const MESSAGE_MS: u64 = 30;
/// So many ms of messages may be under way on a line: several times what it takes for them to be
/// acknowledged, and no more than somebody would wait for an answer behind them.
const WINDOW_MS: u64 = 500;
/// The most messages under way on any link: enough to keep a fast one busy, and little enough that
/// what the stopped guest waits for does not queue behind megabytes.
const MOST_MESSAGES: u32 = 32;
/// One acknowledgement for so many messages of data.
pub const ACKNOWLEDGE_EVERY: u32 = 4;
/// So few pages are never worth another round over RAM, on a link without a limit.
const FEW_PAGES: u32 = 64;
/// Nor are those that a line carries in so many ms: a round takes some 100.
const FEW_PAGES_MS: u64 = 200;

/// The speed of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pace {
    /// Bits a second of a serial line; 0 for a link that takes what it is given.
    pub baud: u32,
}

impl Pace {
    /// A link that takes what it is given.
    pub const UNLIMITED: Self = Self { baud: 0 };

    /// A serial line of so many bits a second.
    #[must_use]
    pub const fn line(baud: u32) -> Self {
        Self { baud }
    }

    /// Whether the link is a serial line.
    #[must_use]
    pub const fn is_line(self) -> bool {
        self.baud > 0
    }

    /// The slower of two links that one move goes over.
    #[must_use]
    pub const fn slower(self, other: Self) -> Self {
        match (self.baud, other.baud) {
            (0, baud) | (baud, 0) => Self { baud },
            (ours, theirs) if ours < theirs => Self { baud: ours },
            (_, theirs) => Self { baud: theirs },
        }
    }

    /// How many bytes a line carries in so many ms.
    const fn bytes_in(self, milliseconds: u64) -> u64 {
        milliseconds.saturating_mul(self.baud as u64) / (BITS_A_BYTE * 1000)
    }

    /// For how many ms a line is busy with so many bytes; 0 for a link without a limit.
    #[must_use]
    pub const fn milliseconds_for(self, bytes: u64) -> u64 {
        match bytes
            .saturating_mul(BITS_A_BYTE * 1000)
            .checked_div(self.baud as u64)
        {
            Some(milliseconds) => milliseconds,
            None => 0,
        }
    }

    /// A message of pages that has so many bytes of payload gets no more.
    #[must_use]
    pub fn message_bytes(self) -> usize {
        if !self.is_line() {
            return MAX_PAYLOAD;
        }
        usize::try_from(self.bytes_in(MESSAGE_MS))
            .unwrap_or(MAX_PAYLOAD)
            .clamp(PAGE_SIZE, MAX_PAYLOAD)
    }

    /// How many messages of data may be under way.
    #[must_use]
    pub fn window(self) -> u32 {
        if !self.is_line() {
            return MOST_MESSAGES;
        }
        u32::try_from(self.bytes_in(WINDOW_MS) / self.message_bytes() as u64)
            .unwrap_or(MOST_MESSAGES)
            // With fewer, an acknowledgement would not come before the next is due.
            .clamp(2 * ACKNOWLEDGE_EVERY, MOST_MESSAGES)
    }

    /// With no more dirty pages than this, the guest can as well be paused.
    #[must_use]
    pub fn few_pages(self) -> u32 {
        if !self.is_line() {
            return FEW_PAGES;
        }
        u32::try_from(self.bytes_in(FEW_PAGES_MS) / PAGE_SIZE as u64)
            .unwrap_or(FEW_PAGES)
            .clamp(1, FEW_PAGES)
    }

    /// For how many ms more than on a link without a limit nothing may be heard though all is well:
    /// what is under way comes first, and some of it again.
    #[must_use]
    pub fn silence_ms(self) -> u64 {
        if !self.is_line() {
            return 0;
        }
        // The last page may make a message longer than its limit by that page.
        let message = self.message_bytes() + PAGE_SIZE;
        let under_way = u64::from(self.window()) * message as u64 + MAX_FRAME as u64;
        line::stall(self.baud) + self.milliseconds_for(under_way)
    }

    /// After so many ms without a byte, the rest of a frame will not come.
    #[must_use]
    pub const fn partial_frame_ms(self) -> u64 {
        match self.baud {
            0 => PARTIAL_FRAME_MS,
            baud => PARTIAL_FRAME_MS + line::stall(baud),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The slowest rate that anybody would set, and the fastest that an adapter takes.
    const RATES: core::ops::RangeInclusive<u32> = 9600..=12_000_000;

    #[test]
    fn a_link_without_a_limit_needs_no_allowance() {
        let pace = Pace::UNLIMITED;
        assert_eq!((pace.message_bytes(), pace.window()), (MAX_PAYLOAD, 32));
        assert_eq!((pace.silence_ms(), pace.partial_frame_ms()), (0, 20_000));
        assert_eq!((pace.milliseconds_for(1 << 30), pace.few_pages()), (0, 64));
    }

    #[test]
    fn the_slower_of_two_links_counts() {
        let [fast, slow] = [921_600, 115_200].map(Pace::line);
        assert_eq!((fast.slower(slow), slow.slower(fast)), (slow, slow));
        assert_eq!(Pace::UNLIMITED.slower(slow), slow);
        assert_eq!(slow.slower(Pace::UNLIMITED), slow);
        assert_eq!(Pace::UNLIMITED.slower(Pace::UNLIMITED), Pace::UNLIMITED);
    }

    #[test]
    fn the_zcu102s_line_carries_what_its_rate_says() {
        let pace = Pace::line(921_600);
        assert_eq!(pace.milliseconds_for(92_160), 1000);
        assert_eq!((pace.message_bytes(), pace.window()), (4096, 11));
        assert_eq!(pace.few_pages(), 4);
    }

    proptest! {
        #[test]
        fn what_is_under_way_arrives_before_times_out_at(baud in RATES) {
            let pace = Pace::line(baud);
            let message = pace.message_bytes() + PAGE_SIZE;
            prop_assert!((PAGE_SIZE..=MAX_PAYLOAD).contains(&pace.message_bytes()));
            let queue = u64::from(pace.window()) * message as u64;
            prop_assert!(pace.silence_ms() > pace.milliseconds_for(queue));
            prop_assert!(pace.silence_ms() > line::stall(baud));
            prop_assert!(pace.partial_frame_ms() >= PARTIAL_FRAME_MS + line::stall(baud));
            prop_assert!(pace.window() >= 2 * ACKNOWLEDGE_EVERY);
        }
    }
}
