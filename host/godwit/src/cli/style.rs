// SPDX-License-Identifier: BSD-2-Clause
//! How messages look: marked and coloured for a person at a terminal, plain for everything else.

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Effects, Style};

/// Colours, where somebody sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    coloured: bool,
}

impl Paint {
    /// For a terminal or something else; `NO_COLOR` as <https://no-color.org> has it.
    pub(super) fn new(terminal: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            coloured: terminal && wanted,
        }
    }

    fn errors() -> Self {
        Self::new(std::io::stderr().is_terminal())
    }

    fn render(self, style: impl Into<Style>, text: &str) -> String {
        if self.coloured {
            let style = style.into();
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.render(Effects::BOLD, text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.render(Effects::DIMMED, text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.render(AnsiColor::Red.on_default(), text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.render(AnsiColor::Green.on_default(), text)
    }

    pub(super) fn magenta(self, text: &str) -> String {
        self.render(AnsiColor::Magenta.on_default(), text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.render(AnsiColor::Cyan.on_default(), text)
    }
}

/// Prints what was asked for. Who reads it may stop when they have seen enough, as `head` does.
pub(super) fn show(text: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Says what is being done.
pub(super) fn notice(text: &str) {
    tell(&Paint::errors().dim(&format!("── {text}")));
}

/// Says what went wrong.
pub(super) fn error(error: &anyhow::Error) {
    tell(&format!(
        "{} {}",
        Paint::errors().red("godwit:"),
        message(error)
    ));
}

/// A line for people. Nobody is left who could be told that nobody listens; what is being done continues.
fn tell(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// An error and its causes, but for those that it quotes itself.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            text if text.contains(&cause) => text.to_owned(),
            text => format!("{text}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_coloured_for_terminals_only() {
        let (seen, unseen) = (Paint { coloured: true }, Paint { coloured: false });
        assert_eq!(seen.dim("── a"), "\x1b[2m── a\x1b[0m");
        assert_eq!(seen.red("a"), "\x1b[31ma\x1b[0m");
        assert_eq!(unseen.red("a"), "a");
    }

    #[test]
    fn a_cause_is_told_once() {
        let inner = anyhow::anyhow!("no such board");
        assert_eq!(message(&inner.context("moving")), "moving: no such board");
        let quoting = anyhow::anyhow!("no such board").context("moving failed: no such board");
        assert_eq!(message(&quoting), "moving failed: no such board");
    }
}
