// SPDX-License-Identifier: BSD-2-Clause
//! A move's progress: a bar for a person, a line a round for everything else.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::manage::to_f64;
use crate::relay::Progress;

/// How a bar looks: pre-copy rounds over RAM, the current one's progress, and what was sent.
const TEMPLATE: &str = "{prefix} [{bar:28}] {msg}";

/// Shows how far a move is.
#[derive(Debug)]
pub(super) enum MoveProgress {
    /// A bar.
    Bar(ProgressBar),
    /// Lines; the round that was last told of.
    Lines(u16),
}

impl MoveProgress {
    /// A bar below everything else that `screen` shows.
    pub(super) fn bar(screen: &MultiProgress) -> Self {
        let bar = screen.add(ProgressBar::new(1));
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_prefix("  round 1");
        bar.tick();
        Self::Bar(bar)
    }

    /// Nothing but lines.
    pub(super) const fn lines() -> Self {
        Self::Lines(0)
    }

    /// Takes in how far the move is; a line to be printed if it is to be told in lines.
    pub(super) fn update(&mut self, progress: &Progress) -> Option<String> {
        let figures = &progress.report.figures;
        match self {
            Self::Bar(bar) => {
                bar.set_prefix(format!("  round {}", figures.rounds + 1));
                bar.set_length(figures.pages_total.into());
                bar.set_position(figures.pages_scanned.into());
                bar.set_message(cost(progress) + &downtime(progress));
                None
            }
            Self::Lines(told) => {
                let round = figures.rounds;
                (round > std::mem::replace(told, round)).then(|| {
                    format!(
                        "round {round}: {}, {} dirty pages{}",
                        cost(progress),
                        figures.dirty_pages,
                        downtime(progress),
                    )
                })
            }
        }
    }

    /// The move is over: the bar goes.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// What a slow line means for the guest.
fn downtime(progress: &Progress) -> String {
    progress.downtime.map_or_else(String::new, |time| {
        format!(
            "; stopped now, it would be paused for up to {:.1} s",
            time.as_secs_f64()
        )
    })
}

fn cost(progress: &Progress) -> String {
    let figures = &progress.report.figures;
    format!(
        "{} pages, {:.1} MB, {:.1} MB/s",
        figures.pages_sent,
        to_f64(figures.bytes) / 1e6,
        progress.bytes_per_second / 1e6
    )
}
