// SPDX-License-Identifier: BSD-2-Clause
//! The console: one writer at a time, and ticks that a person can read.
//!
//! Three styles. `words`: every tick adds one word of a story, ten to a line, so that somebody who watches sees the
//! guest carry on in mid-sentence. `lines`: every tick a line of its own, for programs. `quiet`: no ticks.
//!
//! Whatever else is printed begins on a line of its own; a sentence that was interrupted continues behind it.

use std::io::Write;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::bail;

/// How ticks look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A word each.
    Words,
    /// A line each.
    Lines,
    /// Not at all.
    Quiet,
}

impl FromStr for Style {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "words" => Self::Words,
            "lines" => Self::Lines,
            "quiet" => Self::Quiet,
            _ => bail!("style {name}: not one of words, lines, quiet"),
        })
    }
}

/// A tick as it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tick {
    /// Counts from 1.
    pub(crate) sequence: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub(crate) monotonic: u64,
    /// `CLOCK_REALTIME` in nanoseconds.
    pub(crate) real: u64,
    /// `CNTVCT_EL0`.
    pub(crate) count: u64,
}

/// The story that ticks tell, a word each, over and over.
const STORY: &str = "Every September the bar-tailed godwits of Alaska wait on the mudflats for a storm. When its winds \
    turn south they rise together, and they do not come down again for eight days and nights. They cannot swim and \
    they carry no food but their own fat; they sleep, if they sleep at all, with one half of the brain while the other \
    half flies. Over the whole width of the Pacific there is nothing to tell them where they are but the sun, the \
    stars and whatever it is that they feel of the earth's magnetism. Eleven thousand kilometres later they step onto \
    a beach in New Zealand, thin and very hungry, and continue with their lives as if nothing had happened.";

const WORDS_PER_LINE: usize = 10;

/// Standard output, shared by all threads.
#[derive(Debug)]
pub(crate) struct Console(Mutex<Line>);

#[derive(Debug)]
struct Line {
    style: Style,
    /// Words on the unfinished line.
    words: usize,
}

impl Console {
    /// An empty console.
    pub(crate) const fn new(style: Style) -> Self {
        Self(Mutex::new(Line { style, words: 0 }))
    }

    /// Changes how ticks look from now on.
    pub(crate) fn set_style(&self, style: Style) {
        let mut line = self.lock();
        write(line.finish());
        line.style = style;
    }

    /// Prints `text` on a line of its own.
    pub(crate) fn line(&self, text: &str) {
        let mut line = self.lock();
        let before = line.finish();
        write(&format!("{before}{text}\n"));
    }

    /// Shows a tick.
    pub(crate) fn tick(&self, tick: Tick) {
        let mut line = self.lock();
        let text = line.tick(tick);
        write(&text);
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// What ends the unfinished line.
    const fn finish(&mut self) -> &'static str {
        let unfinished = self.words > 0;
        self.words = 0;
        if unfinished { "\n" } else { "" }
    }

    fn tick(&mut self, tick: Tick) -> String {
        match self.style {
            Style::Quiet => String::new(),
            Style::Lines => format!(
                "tick {} mono={} real={} count={}\n",
                tick.sequence,
                seconds(tick.monotonic),
                seconds(tick.real),
                tick.count
            ),
            Style::Words => {
                let mut text = match self.words {
                    0 => format!("[{:>6}] ", tick.sequence),
                    _ => " ".to_owned(),
                };
                text.push_str(word(tick.sequence));
                self.words += 1;
                if self.words == WORDS_PER_LINE {
                    text.push_str(self.finish());
                }
                text
            }
        }
    }
}

/// The story's word for the tick numbered `sequence`.
pub(crate) fn word(sequence: u64) -> &'static str {
    let count = STORY.split_whitespace().count() as u64;
    STORY
        .split_whitespace()
        .zip(0..)
        .find(|(_, position)| *position == sequence.wrapping_sub(1) % count)
        .map_or("", |(word, _)| word)
}

/// Nanoseconds as seconds with six decimals.
pub(crate) fn seconds(nanoseconds: u64) -> String {
    let microseconds = nanoseconds / 1000;
    format!(
        "{}.{:06}",
        microseconds / 1_000_000,
        microseconds % 1_000_000
    )
}

/// A console that is gone is no reason to stop: the checks continue and can be asked again when it is back.
fn write(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes());
    let _ = output.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(sequence: u64) -> Tick {
        Tick {
            sequence,
            monotonic: 5_000_001_999,
            real: 1_700_000_000_100_000_000,
            count: 99,
        }
    }

    #[test]
    fn words_make_sentences_of_ten_to_a_line() {
        let mut line = Line {
            style: Style::Words,
            words: 0,
        };
        let text: String = (1..=11).map(|sequence| line.tick(tick(sequence))).collect();
        assert_eq!(
            text,
            "[     1] Every September the bar-tailed godwits of Alaska wait on the\n[    11] mudflats"
        );
        assert_eq!(line.finish(), "\n");
        assert_eq!(line.tick(tick(12)), "[    12] for");
    }

    #[test]
    fn lines_can_be_read_by_a_program() {
        let mut line = Line {
            style: Style::Lines,
            words: 0,
        };
        assert_eq!(
            line.tick(tick(7)),
            "tick 7 mono=5.000001 real=1700000000.100000 count=99\n"
        );
    }

    #[test]
    fn the_story_starts_over() {
        let words = STORY.split_whitespace().count() as u64;
        assert_eq!(word(1), "Every");
        assert_eq!(word(words), "happened.");
        assert_eq!(word(words + 1), "Every");
    }
}
