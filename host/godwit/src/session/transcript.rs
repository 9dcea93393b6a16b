// SPDX-License-Identifier: BSD-2-Clause
//! What a console has said so far, and waiting for what it will say.
//!
//! Responsible for: keeping every byte but carriage returns, and waking whoever waits for a text. Never: loses or
//! reorders anything, or waits without a bound.

use std::io::Read;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a console has said, written by one thread and read by others.
#[derive(Debug, Default)]
pub struct Transcript {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    ended: bool,
}

/// A text that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it begins, in bytes from the transcript's start.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// Why a text was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// Not within the time.
    Timeout,
    /// The console has ended and will say nothing more.
    Ended,
}

impl Transcript {
    /// Takes down everything that a console says until it ends.
    pub fn record(&self, mut console: impl Read) {
        let mut buffer = [0; 4096];
        loop {
            match console.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.append(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.end();
    }

    fn append(&self, bytes: &[u8]) {
        let mut content = self.lock();
        content
            .bytes
            .extend(bytes.iter().filter(|&&byte| byte != b'\r'));
        self.changed.notify_all();
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Bytes so far.
    #[must_use]
    pub fn length(&self) -> usize {
        self.lock().bytes.len()
    }

    /// What was said between two positions; up to now if `end` lies beyond.
    #[must_use]
    pub fn text(&self, start: usize, end: usize) -> String {
        let content = self.lock();
        let end = end.min(content.bytes.len());
        let bytes = content.bytes.get(start.min(end)..end).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Where the line begins that `position` lies in.
    #[must_use]
    pub fn line_start(&self, position: usize) -> usize {
        let content = self.lock();
        let before = content.bytes.get(..position).unwrap_or_default();
        before
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |line_break| line_break + 1)
    }

    /// What was said from `start` on, and where the next such question begins: whole characters only.
    #[must_use]
    pub fn news(&self, start: usize) -> (String, usize) {
        let content = self.lock();
        let bytes = content.bytes.get(start..).unwrap_or_default();
        let whole = bytes.len() - incomplete(bytes);
        let text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default());
        (text.into_owned(), start + whole)
    }

    /// The last lines that are not empty.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let content = self.lock();
        let text = String::from_utf8_lossy(&content.bytes);
        let lines = text.lines().map(str::trim_end);
        let mut last: Vec<_> = lines
            .rev()
            .filter(|line| !line.is_empty())
            .take(count)
            .map(str::to_owned)
            .collect();
        last.reverse();
        last
    }

    /// Waits until `wanted` has been said, at or after `start`.
    ///
    /// # Errors
    ///
    /// It was not, within the time or before the console ended.
    pub fn wait_for(
        &self,
        start: usize,
        wanted: &str,
        timeout: Duration,
    ) -> Result<Found, NotFound> {
        let deadline = Instant::now() + timeout;
        let mut content = self.lock();
        let mut from = start;
        loop {
            let bytes = content.bytes.get(from..).unwrap_or_default();
            if let Some(offset) = position(bytes, wanted.as_bytes()) {
                let start = from + offset;
                let end = start + wanted.len();
                return Ok(Found { start, end });
            }
            // It may have begun in the bytes seen so far, but not before the last of its length.
            from = start.max(content.bytes.len().saturating_sub(wanted.len()));
            if content.ended {
                return Err(NotFound::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NotFound::Timeout);
            }
            let waited = self.changed.wait_timeout(content, left);
            content = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// How many bytes at the end are the beginning of a character whose rest is not there.
fn incomplete(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        // Anything else that is no UTF-8 is shown as such, at once; only its very end can be incomplete.
        Err(error) => {
            let rest = error.valid_up_to() + error.error_len().unwrap_or(1);
            incomplete(bytes.get(rest..).unwrap_or_default())
        }
        Ok(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn what_was_said_is_found_from_a_position_on() {
        let transcript = Transcript::default();
        transcript.append(b"one\r\ntwo\r\none\r\n");
        let first = transcript.wait_for(0, "one", SOON).unwrap();
        assert_eq!((first.start, first.end), (0, 3));
        let second = transcript.wait_for(first.end, "one", SOON).unwrap();
        assert_eq!(transcript.text(first.end, second.end), "\ntwo\none");
        assert_eq!(transcript.last_lines(2), ["two", "one"]);
        assert_eq!(transcript.line_start(second.start), 8);
        assert_eq!(transcript.line_start(2), 0);
    }

    #[test]
    fn a_text_that_arrives_in_pieces_is_found() {
        let transcript = Arc::new(Transcript::default());
        transcript.append(b"godwit-gu");
        let writer = Arc::clone(&transcript);
        let thread = std::thread::spawn(move || {
            writer.append(b"est: rea");
            writer.append(b"dy");
        });
        let found = transcript.wait_for(0, "guest: ready", SOON).unwrap();
        assert_eq!(found.start, 7);
        thread.join().unwrap();
    }

    #[test]
    fn waiting_ends_with_the_time_or_the_console() {
        let transcript = Transcript::default();
        transcript.append(b"hello");
        let never = transcript.wait_for(0, "hello!", Duration::ZERO);
        assert_eq!(never, Err(NotFound::Timeout));
        transcript.record(&b" world"[..]);
        assert_eq!(transcript.wait_for(0, "?", SOON), Err(NotFound::Ended));
        assert!(transcript.wait_for(0, "o w", SOON).is_ok());
    }

    #[test]
    fn news_are_whole_characters() {
        let transcript = Transcript::default();
        transcript.append("a\u{20ac}".get(..1).unwrap().as_bytes());
        transcript.append(&[0xe2, 0x82]);
        assert_eq!(transcript.news(0), ("a".to_owned(), 1));
        transcript.append(&[0xac, 0xff, b'b']);
        assert_eq!(transcript.news(1), ("\u{20ac}\u{fffd}b".to_owned(), 6));
        assert_eq!(transcript.news(6), (String::new(), 6));
    }
}
