// SPDX-License-Identifier: BSD-2-Clause
//! What was sent and has not been acknowledged: go-back-N (Tanenbaum, Computer Networks, 3.4.2).
//!
//! Responsible for: keeping segments until they have arrived, and which of them comes next on the
//! line. Must never: release one before, or send more than the other end has room for.

use crate::segment::PAYLOAD;

/// How many segments can be under way. Far less than half of all numbers.
pub const WINDOW: usize = 16;

/// A stream's segments from the first that is not acknowledged to the last that exists.
#[derive(Debug)]
pub(crate) struct Window {
    segments: [[u8; PAYLOAD]; WINDOW],
    lengths: [usize; WINDOW],
    /// The number of the first that is not acknowledged.
    first: u16,
    /// The number of the one that comes next on the line.
    next: u16,
    /// The number that the next new one gets.
    end: u16,
    /// The number of the first that the other end has no room for.
    limit: u16,
}

/// How far `to` is ahead of `from`.
const fn distance(from: u16, to: u16) -> usize {
    to.wrapping_sub(from) as usize
}

/// Where a segment of this number is kept.
const fn place(number: u16) -> usize {
    number as usize % WINDOW
}

impl Window {
    pub(crate) const fn new() -> Self {
        Self {
            segments: [[0; PAYLOAD]; WINDOW],
            lengths: [0; WINDOW],
            first: 0,
            next: 0,
            end: 0,
            limit: 0,
        }
    }

    /// Begins anew with number zero, with nothing under way and no room known.
    pub(crate) const fn reset(&mut self) {
        self.first = 0;
        self.next = 0;
        self.end = 0;
        self.limit = 0;
    }

    /// The number of the segment that comes next on the line.
    pub(crate) const fn next(&self) -> u16 {
        self.next
    }

    /// Whether all of before `number` has been acknowledged.
    pub(crate) const fn is_acknowledged(&self, number: u16) -> bool {
        distance(self.first, number) == 0 || distance(self.first, number) > WINDOW
    }

    /// Whether nothing is under way or waits to be.
    pub(crate) const fn is_empty(&self) -> bool {
        self.first == self.end
    }

    /// Whether there is room for another segment.
    pub(crate) const fn has_space(&self) -> bool {
        distance(self.first, self.end) < WINDOW
    }

    /// Lets `fill` write another segment's payload and say its length. None is added if that is
    /// zero, or there is no space.
    pub(crate) fn add(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let at = place(self.end);
        let (Some(segment), Some(length)) = (self.segments.get_mut(at), self.lengths.get_mut(at))
        else {
            return 0;
        };
        if distance(self.first, self.end) >= WINDOW {
            return 0;
        }
        *length = fill(segment).min(PAYLOAD);
        self.end = self.end.wrapping_add(u16::from(*length > 0));
        *length
    }

    /// Whether a segment can go over the line now.
    pub(crate) const fn can_send(&self) -> bool {
        let allowed = distance(self.first, self.limit);
        self.next != self.end && allowed <= WINDOW && distance(self.first, self.next) < allowed
    }

    /// The segment that comes next on the line, with its number.
    pub(crate) fn send(&mut self) -> Option<(u16, &[u8])> {
        if !self.can_send() {
            return None;
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        let length = self.lengths.get(place(number)).copied().unwrap_or(0);
        let segment = self.segments.get(place(number))?.get(..length)?;
        Some((number, segment))
    }

    /// The other end has everything before `expected`, and room for so many more. Ignored if that
    /// cannot be.
    pub(crate) const fn acknowledge(&mut self, expected: u16, room: u8) {
        let arrived = distance(self.first, expected);
        if arrived > distance(self.first, self.end) {
            return;
        }
        if distance(self.first, self.next) < arrived {
            self.next = expected;
        }
        self.first = expected;
        self.limit = expected.wrapping_add(room as u16);
    }

    /// What is not acknowledged comes next on the line again.
    pub(crate) const fn go_back(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(window: &mut Window, byte: u8) -> usize {
        window.add(|segment| {
            segment[0] = byte;
            1
        })
    }

    fn sent(window: &mut Window) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((_, segment)) = window.send() {
            bytes.extend(segment);
        }
        bytes
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again() {
        let mut window = Window::new();
        window.acknowledge(0, 16);
        (1..=5).for_each(|byte| assert_eq!(add(&mut window, byte), 1));
        assert_eq!(sent(&mut window), [1, 2, 3, 4, 5]);
        window.acknowledge(2, 16);
        assert_eq!(sent(&mut window), []);
        window.go_back();
        assert_eq!(sent(&mut window), [3, 4, 5]);
        window.acknowledge(5, 16);
        assert!(window.is_empty());
    }

    #[test]
    fn the_other_ends_room_is_a_limit() {
        let mut window = Window::new();
        (1..=5).for_each(|byte| assert_eq!(add(&mut window, byte), 1));
        assert_eq!(sent(&mut window), [], "nothing is known of its room");
        window.acknowledge(0, 2);
        assert_eq!(sent(&mut window), [1, 2]);
        window.acknowledge(2, 0);
        assert_eq!(sent(&mut window), []);
        window.acknowledge(2, 3);
        assert_eq!(sent(&mut window), [3, 4, 5]);
    }

    #[test]
    fn a_full_window_takes_no_more() {
        let mut window = Window::new();
        window.acknowledge(0, 16);
        for _ in 0..WINDOW {
            assert_eq!(add(&mut window, 1), 1);
        }
        assert!(!window.has_space());
        assert_eq!(add(&mut window, 1), 0);
        assert_eq!(sent(&mut window).len(), WINDOW);
        window.acknowledge(1, 16);
        assert_eq!(add(&mut window, 9), 1);
        assert_eq!(sent(&mut window), [9]);
    }

    #[test]
    fn an_impossible_acknowledgement_is_ignored() {
        let mut window = Window::new();
        window.acknowledge(0, 16);
        add(&mut window, 1);
        window.acknowledge(9, 16);
        window.acknowledge(0xffff, 16);
        window.acknowledge(0, 255);
        assert_eq!(
            sent(&mut window),
            [],
            "room for more than there are numbers in flight"
        );
        window.acknowledge(0, 16);
        assert_eq!(sent(&mut window), [1]);
    }

    #[test]
    fn numbers_wrap() {
        let mut window = Window::new();
        for number in 0..=u16::MAX {
            window.acknowledge(number, 16);
            add(&mut window, 1);
            assert_eq!(window.send().unwrap().0, number);
            assert!(!window.is_acknowledged(number.wrapping_add(1)));
        }
        window.acknowledge(0, 16);
        assert!(window.is_empty() && window.is_acknowledged(0));
    }
}
