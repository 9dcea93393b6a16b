//! How messages look: marked and coloured for a person at a terminal, plain for everything else.

use std::io::IsTerminal as _;

/// ECMA-48 "select graphic rendition" sequences.
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// Whether standard error is for a person; `NO_COLOR` as <https://no-color.org> has it.
fn coloured() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn painted(colour: &str, text: &str) -> String {
    if coloured() {
        format!("{colour}{text}{RESET}")
    } else {
        text.to_owned()
    }
}

/// Says what is being done.
pub(super) fn notice(text: &str) {
    eprintln!("{}", painted(DIM, &format!("── {text}")));
}

/// Says what went wrong.
pub(super) fn error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", painted(RED, "godwit:"));
}
