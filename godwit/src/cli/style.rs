//! How messages look: marked and coloured for a person at a terminal, plain for everything else.

use std::io::IsTerminal as _;

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

    /// ECMA-48 "select graphic rendition".
    fn render(self, parameter: u8, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{parameter}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.render(1, text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.render(2, text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.render(31, text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.render(32, text)
    }

    pub(super) fn magenta(self, text: &str) -> String {
        self.render(35, text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.render(36, text)
    }
}

/// Says what is being done.
pub(super) fn notice(text: &str) {
    eprintln!("{}", Paint::errors().dim(&format!("── {text}")));
}

/// Says what went wrong.
pub(super) fn error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", Paint::errors().red("godwit:"));
}
