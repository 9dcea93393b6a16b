// SPDX-License-Identifier: BSD-2-Clause
//! What a guest has said on its console, as far as it is kept.
//!
//! Responsible for: the last bytes, each with its place since the board began. Never: grows without end.

use std::collections::VecDeque;

/// The last bytes of a console.
#[derive(Debug)]
pub(super) struct History {
    bytes: VecDeque<u8>,
    /// How many bytes came before them.
    start: u64,
    /// How many are kept.
    most: usize,
}

impl History {
    /// One that keeps so many bytes.
    pub(super) const fn new(most: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            start: 0,
            most,
        }
    }

    /// The place of the first byte that is kept.
    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    /// The place of the next byte that is said.
    pub(super) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Something was said.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(self.most);
        self.bytes.drain(..excess);
        self.start += excess as u64;
    }

    /// At most `most` bytes from there on; none if they are not kept any more, or not said yet.
    pub(super) fn from(&self, place: u64, most: usize) -> Vec<u8> {
        let skip = place
            .checked_sub(self.start)
            .and_then(|skip| usize::try_from(skip).ok());
        let skip = skip.unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.range(skip..).take(most).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_and_keep_their_places() {
        let mut history = History::new(4);
        history.push(b"abc");
        assert_eq!((history.start(), history.end()), (0, 3));
        assert_eq!(history.from(1, 9), b"bc");
        history.push(b"defg");
        assert_eq!((history.start(), history.end()), (3, 7));
        assert_eq!(history.from(3, 2), b"de");
        assert_eq!(history.from(7, 2), b"");
        assert_eq!(history.from(2, 2), b"", "it is gone");
    }
}
