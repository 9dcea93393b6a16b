// SPDX-License-Identifier: BSD-2-Clause
//! The terminal, as somebody who watches a guest's console needs it.
//!
//! Responsible for: a terminal that hands over every key, and is what it was before once this ends, however it ends; the
//! one key that is not the guest's, and what may follow it; signals that end programs, as something to wait for. Never:
//! knows what a board is doing.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};

/// The key that is not the guest's: Ctrl-], as in telnet (ASCII GS).
pub const ESCAPE: u8 = 0x1d;
/// How [`ESCAPE`] is called.
pub const ESCAPE_NAME: &str = "Ctrl-]";

/// A terminal that passes on every key. Restored when this goes out of scope.
#[derive(Debug)]
pub struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// Takes over the terminal that `input` is; `None` if it is none.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn enter(input: impl AsFd) -> std::io::Result<Option<Self>> {
        if !isatty(&input) {
            return Ok(None);
        }
        let terminal = input.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        // A line feed of ours still returns to the first column; to a guest's own return another one does no harm.
        raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// How many rows and columns the terminal has that `output` is; nothing if it is none, or does not say.
pub fn size(output: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(output).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// What was typed behind [`ESCAPE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing yet: what may follow should be said.
    Ask,
    /// Something else, which is not the guest's either.
    Nothing,
    /// Leave, and let the board live on.
    Detach,
    /// End the board.
    End,
    /// Say what may follow.
    Help,
}

/// Tells what is typed for the guest from what is not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys {
    /// The last key was [`ESCAPE`].
    asked: bool,
}

impl Keys {
    /// What of this is for the guest, and what is asked for. What is typed behind a command that leaves is for nobody.
    pub fn typed(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<Command>) {
        let (mut guest, mut commands) = (Vec::new(), Vec::new());
        for byte in bytes {
            if !std::mem::replace(&mut self.asked, *byte == ESCAPE) {
                if *byte == ESCAPE {
                    commands.push(Command::Ask);
                } else {
                    guest.push(*byte);
                }
                continue;
            }
            self.asked = false;
            match byte {
                &ESCAPE => guest.push(ESCAPE),
                b'd' | b'D' => commands.push(Command::Detach),
                b'q' | b'Q' => commands.push(Command::End),
                b'?' => {
                    self.asked = true;
                    commands.push(Command::Help);
                }
                _ => commands.push(Command::Nothing),
            }
            if matches!(commands.last(), Some(Command::Detach | Command::End)) {
                break;
            }
        }
        (guest, commands)
    }
}

/// Waits for a text in a stream.
#[derive(Debug)]
pub(crate) struct Watch {
    wanted: Vec<u8>,
    /// The end of what was seen, shorter than `wanted`.
    seen: Vec<u8>,
}

impl Watch {
    pub(crate) fn new(wanted: &str) -> Self {
        Self {
            wanted: wanted.as_bytes().to_vec(),
            seen: Vec::new(),
        }
    }

    pub(crate) fn sees(&mut self, bytes: &[u8]) -> bool {
        self.seen.extend_from_slice(bytes);
        let length = self.wanted.len();
        if length == 0
            || self
                .seen
                .windows(length)
                .any(|window| window == self.wanted)
        {
            return true;
        }
        let excess = (self.seen.len() + 1).saturating_sub(length);
        self.seen.drain(..excess);
        false
    }
}

/// A stream that becomes readable when this process is asked to end. From now on, it does not end by itself.
///
/// # Errors
///
/// The operating system's.
pub fn ending_signals() -> std::io::Result<UnixStream> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    signals(&[SIGHUP, SIGINT, SIGQUIT, SIGTERM])
}

/// A stream that becomes readable when one of these signals is received, which do nothing else from now on.
///
/// # Errors
///
/// The operating system's.
pub fn signals(signals: &[i32]) -> std::io::Result<UnixStream> {
    let (received, sender) = UnixStream::pair()?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, sender.try_clone()?)?;
    }
    Ok(received)
}

#[cfg(test)]
pub(crate) mod tests;
