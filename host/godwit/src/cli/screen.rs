// SPDX-License-Identifier: BSD-2-Clause
//! The demonstration on a screen: two consoles with coloured margins, a progress bar below them, steps in between.
//!
//! Responsible for: showing each piece of a line as it arrives, and a sentence that continues elsewhere where it left
//! off. What is not a terminal gets whole lines without any control sequence.

use std::io::Write;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::migrate::sentence;
use super::progress::MoveProgress;
use super::style::Paint;
use crate::demo::{Side, Ui};
use crate::guest_output::printable;
use crate::relay::{Progress, Summary};

/// Where everything goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Standard output.
    Output,
    /// Standard error, because standard output is for a program.
    Error,
}

/// A screen, or a file in its place.
pub(super) struct Screen {
    target: Target,
    paint: Paint,
    terminal: bool,
    lines: Lines,
    /// The line that is being shown, with its margin.
    open: String,
    bars: Option<Bars>,
    progress: Option<MoveProgress>,
}

/// What is drawn while a guest moves: the unfinished line, and the bar below it.
struct Bars {
    screen: MultiProgress,
    line: ProgressBar,
}

impl Screen {
    /// One that shows everything there.
    pub(super) fn new(target: Target) -> Self {
        let terminal = match target {
            Target::Output => std::io::IsTerminal::is_terminal(&std::io::stdout()),
            Target::Error => std::io::IsTerminal::is_terminal(&std::io::stderr()),
        };
        Self {
            target,
            paint: Paint::new(terminal),
            terminal,
            lines: Lines::default(),
            open: String::new(),
            bars: None,
            progress: None,
        }
    }

    /// Ends what is still open, so that others can write.
    pub(super) fn close(&mut self) {
        self.end_progress();
    }

    /// How text is coloured on it.
    pub(super) const fn paint(&self) -> Paint {
        self.paint
    }

    /// Shows a line of ours.
    pub(super) fn say(&mut self, text: &str) {
        let pieces = self.lines.interrupt();
        self.show(pieces);
        match &self.bars {
            Some(bars) => drop(bars.screen.println(text)),
            None => self.write(&format!("{text}\n")),
        }
    }

    /// Nobody is left who could be told that the screen is gone.
    fn write(&self, text: &str) {
        let _ = match self.target {
            Target::Output => write_now(std::io::stdout(), text),
            Target::Error => write_now(std::io::stderr(), text),
        };
    }

    fn show(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            let text = match &piece {
                Piece::Open(side, indent) => {
                    format!("{}{}", self.margin(*side), " ".repeat(*indent))
                }
                Piece::Text(text) => text.clone(),
                Piece::Close => String::new(),
            };
            self.open += &text;
            match &self.bars {
                Some(bars) if piece == Piece::Close => {
                    let _ = bars.screen.println(std::mem::take(&mut self.open));
                    bars.line.set_message("");
                }
                Some(bars) => bars.line.set_message(self.open.clone()),
                None if piece == Piece::Close => {
                    let line = std::mem::take(&mut self.open);
                    self.write(if self.terminal { "\n" } else { &line });
                    if !self.terminal {
                        self.write("\n");
                    }
                }
                None if self.terminal => self.write(&text),
                None => {}
            }
        }
    }

    fn margin(&self, side: Side) -> String {
        let name = format!("{}│ ", side.name());
        match side {
            Side::A => self.paint.cyan(&name),
            Side::B => self.paint.magenta(&name),
        }
    }

    /// Draws the bar, if this is a terminal.
    fn begin_progress(&self) -> (Option<Bars>, MoveProgress) {
        if !self.terminal {
            return (None, MoveProgress::lines());
        }
        let target = match self.target {
            Target::Output => ProgressDrawTarget::stdout(),
            Target::Error => ProgressDrawTarget::stderr(),
        };
        let screen = MultiProgress::with_draw_target(target);
        let line = screen.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            line.set_style(style);
        }
        let progress = MoveProgress::bar(&screen);
        (Some(Bars { screen, line }), progress)
    }

    fn end_progress(&mut self) {
        let pieces = self.lines.interrupt();
        self.show(pieces);
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
        if let Some(bars) = self.bars.take() {
            bars.line.finish_and_clear();
        }
    }
}

fn write_now(mut output: impl Write, text: &str) -> std::io::Result<()> {
    output.write_all(text.as_bytes())?;
    output.flush()
}

impl Ui for Screen {
    fn step(&mut self, text: &str) {
        let text = self.paint.bold(&format!("── {text}"));
        self.say(&text);
    }

    fn console(&mut self, side: Side, text: &str) {
        let pieces = self.lines.text(side, &printable(text));
        self.show(pieces);
    }

    fn progress(&mut self, progress: &Progress) {
        let mut shown = match self.progress.take() {
            Some(shown) => shown,
            None => {
                let pieces = self.lines.interrupt();
                self.show(pieces);
                let (bars, shown) = self.begin_progress();
                self.bars = bars;
                shown
            }
        };
        if let Some(line) = shown.update(progress) {
            self.say(&format!("   {line}"));
        }
        self.progress = Some(shown);
    }

    fn moved(&mut self, from: Side, summary: &Summary) {
        self.end_progress();
        self.step(&sentence(summary));
        self.lines.moved(from);
    }
}

/// Which board's line is being shown, and how far each board's line has come.
#[derive(Debug, Default)]
struct Lines {
    columns: [usize; 2],
    open: Option<Side>,
}

/// What to do with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Begin one with this board's margin and so many spaces.
    Open(Side, usize),
    /// Continue with it.
    Text(String),
    /// End it.
    Close,
}

impl Lines {
    fn text(&mut self, side: Side, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.open != Some(side) {
            pieces.extend(self.interrupt());
        }
        for part in text.split_inclusive('\n') {
            let line = part.trim_end_matches('\n');
            let column = &mut self.columns[index(side)];
            if self.open.is_none() && line.is_empty() && *column > 0 {
                // The end of a line that was ended already when something came in between.
                *column = 0;
                continue;
            }
            if self.open.is_none() {
                // Where it left off when something came in between.
                pieces.push(Piece::Open(side, *column));
                self.open = Some(side);
            }
            if !line.is_empty() {
                pieces.push(Piece::Text(line.to_owned()));
                *column += line.chars().count();
            }
            if part.ends_with('\n') {
                pieces.push(Piece::Close);
                *column = 0;
                self.open = None;
            }
        }
        pieces
    }

    /// Something else is to be shown: a line that is open ends here, and continues below later.
    fn interrupt(&mut self) -> Vec<Piece> {
        self.open.take().map(|_| Piece::Close).into_iter().collect()
    }

    /// The guest continues elsewhere in the middle of the line it was in.
    fn moved(&mut self, from: Side) {
        let column = std::mem::take(&mut self.columns[index(from)]);
        self.columns[index(from.other())] = column;
    }
}

const fn index(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would be on the screen.
    fn shown(pieces: &[Piece]) -> String {
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Open(side, indent) => format!("{}|{}", side.name(), " ".repeat(*indent)),
                Piece::Text(text) => text.clone(),
                Piece::Close => "\n".to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_sentence_continues_where_it_left_off() {
        let mut lines = Lines::default();
        let mut pieces = lines.text(Side::A, "one\n[1] They");
        pieces.extend(lines.text(Side::A, " sleep"));
        pieces.extend(lines.interrupt());
        lines.moved(Side::A);
        pieces.extend(lines.text(Side::B, " at all\nwith"));
        assert_eq!(
            shown(&pieces),
            "A|one\nA|[1] They sleep\nB|               at all\nB|with"
        );
    }

    #[test]
    fn what_the_other_board_says_meanwhile_has_a_line_of_its_own() {
        let mut lines = Lines::default();
        let mut pieces = lines.text(Side::A, "half");
        pieces.extend(lines.text(Side::B, "booting\n"));
        pieces.extend(lines.text(Side::A, " whole\n"));
        assert_eq!(shown(&pieces), "A|half\nB|booting\nA|     whole\n");
    }

    #[test]
    fn a_line_that_was_cut_short_is_not_ended_twice() {
        let mut lines = Lines::default();
        let mut pieces = lines.text(Side::A, "half");
        pieces.extend(lines.interrupt());
        pieces.extend(lines.text(Side::A, "\nnext\n"));
        assert_eq!(shown(&pieces), "A|half\nA|next\n");
    }

    #[test]
    fn an_empty_line_has_a_margin_too() {
        let mut lines = Lines::default();
        assert_eq!(shown(&lines.text(Side::B, "\n\nx")), "B|\nB|\nB|x");
        assert_eq!(lines.text(Side::B, ""), []);
    }
}
