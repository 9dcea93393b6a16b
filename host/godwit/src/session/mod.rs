// SPDX-License-Identifier: BSD-2-Clause
//! A board under a program's control: started, its console listened to and typed at, its link at hand.
//!
//! Responsible for: what the demo and the system tests do with a board, each wait with a bound, and each error with the
//! board's name and the last lines of its console. Never: knows what a guest says (see [`crate::guest_output`]) or what
//! goes over a link.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use godwit::session::{Scratch, Session, SessionOptions};
//! # fn example(image: image::Image) -> Result<(), Box<dyn std::error::Error>> {
//! let scratch = Scratch::new()?;
//! let mut board = Session::start(SessionOptions::new("a", image), &scratch)?;
//! board.expect("/ #", Duration::from_secs(60))?;
//! board.send_line("uname -m")?;
//! assert_eq!(board.expect_line("aarch64", Duration::from_secs(5))?, "aarch64");
//! # Ok(())
//! # }
//! ```

mod transcript;

use std::fmt;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use image::scratch::Scratch;
pub use transcript::{Found, NotFound, Transcript};

use crate::link::Address;
use crate::qemu::{Console, Machine, MachineError, MachineOptions};
use crate::timeouts::SOCKETS;
use image::Image;

/// Lines of the console that an error quotes.
const QUOTED: usize = 15;
/// How often a wait looks whether QEMU still runs.
const WATCH: Duration = Duration::from_millis(500);

/// How to start a board.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Its name in messages.
    pub name: String,
    /// What it boots.
    pub image: Image,
    /// Counts instructions instead of time.
    pub icount: bool,
    /// Further arguments for QEMU.
    pub extra: Vec<String>,
}

impl SessionOptions {
    /// A board as its `board.toml` describes it.
    #[must_use]
    pub fn new(name: &str, image: Image) -> Self {
        Self {
            name: name.to_owned(),
            image,
            icount: false,
            extra: Vec::new(),
        }
    }
}

/// Why a board does not do what is expected of it.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// QEMU does not start, or ended.
    #[error("board {board}: {source}{quoted}")]
    Machine {
        /// The board.
        board: String,
        /// Why.
        source: MachineError,
        /// The last lines of its console.
        quoted: LastLines,
    },
    /// It did not say in time what it should have.
    #[error("board {board}: did not say {wanted:?} within {}{quoted}", seconds(*.waited))]
    Silent {
        /// The board.
        board: String,
        /// What it should have said.
        wanted: String,
        /// How long it was given.
        waited: Duration,
        /// The last lines of its console.
        quoted: LastLines,
    },
    /// Its console takes no input.
    #[error("board {board}: cannot type at its console: {source}{quoted}")]
    Type {
        /// The board.
        board: String,
        /// Why.
        source: std::io::Error,
        /// The last lines of its console.
        quoted: LastLines,
    },
}

type Result<T, E = SessionError> = std::result::Result<T, E>;

/// The last lines of a console, as a part of an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLines(pub Vec<String>);

impl fmt::Display for LastLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("\n  (its console has said nothing)");
        }
        formatter.write_str("\n  the last lines of its console:")?;
        self.0
            .iter()
            .try_for_each(|line| write!(formatter, "\n  | {line}"))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// A board that runs. Ends when it goes out of scope.
#[derive(Debug)]
pub struct Session {
    machine: Machine,
    console: UnixStream,
    transcript: Arc<Transcript>,
    /// Up to where [`Session::expect`] has read.
    read: usize,
    log: PathBuf,
    link: PathBuf,
    started: Instant,
}

impl Session {
    /// Starts a board, with its sockets and its console's log in `scratch`.
    ///
    /// # Errors
    ///
    /// QEMU does not start.
    pub fn start(options: SessionOptions, scratch: &Scratch) -> Result<Self> {
        let path = |suffix: &str| scratch.path().join(format!("{}.{suffix}", options.name));
        let (console_path, log, link) = (path("console"), path("log"), path("link"));
        let board = options.name.clone();
        let fail = |source| SessionError::Machine {
            board: board.clone(),
            source,
            quoted: LastLines(Vec::new()),
        };
        let mut machine = Machine::start(MachineOptions {
            name: options.name.clone(),
            image: options.image,
            console: Console::Socket(console_path),
            console_log: Some(log.clone()),
            link: Some(link.clone()),
            icount: options.icount,
            extra: options.extra,
        })
        .map_err(fail)?;
        let started = Instant::now();
        let console = machine
            .connect_console(SOCKETS)
            .ok_or_else(|| unreachable_console(&board))?
            .map_err(fail)?;
        let listener = console.try_clone().map_err(|source| SessionError::Type {
            board: board.clone(),
            source,
            quoted: LastLines(Vec::new()),
        })?;
        let transcript = Arc::new(Transcript::default());
        let recorded = Arc::clone(&transcript);
        thread::spawn(move || recorded.record(listener));
        Ok(Self {
            machine,
            console,
            transcript,
            read: 0,
            log,
            link,
            started,
        })
    }

    /// The board's name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        self.machine.name()
    }

    /// The machine, for whoever wants to measure or end it.
    pub const fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// For how long it has been up.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What its console has said.
    #[must_use]
    pub fn transcript(&self) -> &Arc<Transcript> {
        &self.transcript
    }

    /// The file with everything that its console has said.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Where its link is. One at a time can be connected to it.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::Unix(self.link.clone())
    }

    /// Waits until the console has said `wanted`, after what was waited for before. Returns what it said up to there.
    ///
    /// # Errors
    ///
    /// It did not, or QEMU ended.
    pub fn expect(&mut self, wanted: &str, timeout: Duration) -> Result<String> {
        let found = self.find(wanted, timeout)?;
        let text = self.transcript.text(self.read, found.end);
        self.read = found.end;
        Ok(text)
    }

    /// Waits until the console has said a line with `wanted` in it. Returns the whole line.
    ///
    /// # Errors
    ///
    /// It did not, or QEMU ended.
    pub fn expect_line(&mut self, wanted: &str, timeout: Duration) -> Result<String> {
        let found = self.find(wanted, timeout)?;
        // The rest of a line that has begun follows at once, unless something is wrong.
        let end = self.find_from(found.end, "\n", timeout)?;
        self.read = end.end;
        let start = self.transcript.line_start(found.start);
        let line = self.transcript.text(start, end.start);
        Ok(line.trim_end().to_owned())
    }

    /// Types a line at the console.
    ///
    /// # Errors
    ///
    /// QEMU takes no input.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        self.send(format!("{line}\n").as_bytes())
    }

    /// Types at the console.
    ///
    /// # Errors
    ///
    /// QEMU takes no input.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.console.write_all(bytes);
        written.map_err(|source| SessionError::Type {
            board: self.name().to_owned(),
            source,
            quoted: self.last_lines(),
        })
    }

    /// Types a line and waits for the line with `answer` in it.
    ///
    /// # Errors
    ///
    /// There is no answer in time, or QEMU ended.
    pub fn ask(&mut self, line: &str, answer: &str, timeout: Duration) -> Result<String> {
        self.type_line(line)?;
        self.expect_line(answer, timeout)
    }

    /// Types a line; what was said before it is no answer to it.
    ///
    /// # Errors
    ///
    /// QEMU takes no input.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        self.read = self.transcript.length();
        self.send_line(line)
    }

    /// Whether the board still runs.
    ///
    /// # Errors
    ///
    /// QEMU ended.
    pub fn check(&mut self) -> Result<()> {
        self.machine.check().map_err(|source| self.error(source))
    }

    /// The last lines of its console.
    #[must_use]
    pub fn last_lines(&self) -> LastLines {
        LastLines(self.transcript.last_lines(QUOTED))
    }

    fn find(&mut self, wanted: &str, timeout: Duration) -> Result<Found> {
        self.find_from(self.read, wanted, timeout)
    }

    fn find_from(&mut self, start: usize, wanted: &str, timeout: Duration) -> Result<Found> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.transcript.wait_for(start, wanted, left.min(WATCH)) {
                Ok(found) => return Ok(found),
                Err(NotFound::Timeout) if left > WATCH => self.check()?,
                Err(reason) => {
                    if reason == NotFound::Ended {
                        // The socket closes a moment before the process is gone.
                        thread::sleep(WATCH);
                    }
                    self.check()?;
                    return Err(SessionError::Silent {
                        board: self.name().to_owned(),
                        wanted: wanted.to_owned(),
                        waited: timeout.saturating_sub(left),
                        quoted: self.last_lines(),
                    });
                }
            }
        }
    }

    fn error(&self, source: MachineError) -> SessionError {
        SessionError::Machine {
            board: self.name().to_owned(),
            source,
            quoted: self.last_lines(),
        }
    }
}

/// A session's machine always has both sockets; if not, this says so without ending the program.
fn unreachable_console(board: &str) -> SessionError {
    SessionError::Type {
        board: board.to_owned(),
        source: std::io::Error::other("started without a socket for it"),
        quoted: LastLines(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_quotes_the_console() {
        let error = SessionError::Silent {
            board: "a".to_owned(),
            wanted: "ready".to_owned(),
            waited: Duration::from_secs(3),
            quoted: LastLines(vec!["booting".to_owned(), "panic".to_owned()]),
        };
        assert_eq!(
            error.to_string(),
            "board a: did not say \"ready\" within 3.0 s\n  the last lines of its console:\n  | booting\n  | panic"
        );
        let quiet = LastLines(Vec::new()).to_string();
        assert!(quiet.contains("nothing"), "{quiet}");
    }
}
