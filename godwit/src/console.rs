//! The terminal and a guest's console, joined.
//!
//! Responsible for: carrying what is typed to the guest and what the guest says to the terminal, unchanged; a terminal
//! that hands over every key, and is what it was before once this ends, however it ends; the one key that is not the
//! guest's. Never: knows what a board is doing, or writes anything of its own in between unless it is told to.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcsetattr};

/// The key that leaves the console: Ctrl-], as in telnet (ASCII GS).
pub const ESCAPE: u8 = 0x1d;
/// How [`ESCAPE`] is called.
pub const ESCAPE_NAME: &str = "Ctrl-]";
/// Bytes of input that may wait for a guest before no more is read.
const WAITING: usize = 16 << 10;

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

/// What there is to do for whoever runs a [`Bridge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The descriptor given as `news` is readable.
    News,
    /// The escape key was typed.
    Escape,
    /// A signal that ends programs was received.
    Signal,
    /// The guest's console is gone.
    Closed,
}

/// A terminal, or files in its place, joined to a guest's console.
#[derive(Debug)]
pub struct Bridge<I, O> {
    input: Option<I>,
    output: O,
    console: UnixStream,
    signals: UnixStream,
    /// The key that leaves; none if the input is not a terminal.
    escape: Option<u8>,
    /// Input is left alone until the guest has said this.
    held_until: Option<Watch>,
    /// Input on its way to the guest.
    waiting: Vec<u8>,
    /// Whether the output is at the beginning of a line.
    fresh_line: bool,
}

impl<I: AsFd + Read, O: Write> Bridge<I, O> {
    /// Joins `input` and `output` to a guest's console. What is typed is left alone until the guest has said
    /// `held_until`: before its driver listens, a UART forgets what it receives.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn new(
        input: I,
        output: O,
        console: UnixStream,
        held_until: Option<&str>,
    ) -> std::io::Result<Self> {
        console.set_nonblocking(true)?;
        let escape = isatty(&input).then_some(ESCAPE);
        Ok(Self {
            input: Some(input),
            output,
            console,
            signals: ending_signals()?,
            escape,
            // Somebody at a terminal sees for himself when the guest listens.
            held_until: held_until.filter(|_| escape.is_none()).map(Watch::new),
            waiting: Vec::new(),
            fresh_line: true,
        })
    }

    /// Carries bytes in both directions until there is something else to do.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn carry(&mut self, news: impl AsFd) -> std::io::Result<Turn> {
        loop {
            let ready = self.wait(&news, None);
            if ready.console && !self.read_console()? {
                return Ok(Turn::Closed);
            }
            if ready.input && self.read_input() {
                return Ok(Turn::Escape);
            }
            if !self.write_console() {
                return Ok(Turn::Closed);
            }
            if ready.signal {
                return Ok(Turn::Signal);
            }
            if ready.news {
                return Ok(Turn::News);
            }
        }
    }

    /// Carries what the guest still says until it has been quiet for a while, but not for ever.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn drain(&mut self, quiet: Duration, limit: Duration) -> std::io::Result<()> {
        self.input = None;
        self.waiting.clear();
        let (never, _other) = UnixStream::pair()?;
        let end = Instant::now() + limit;
        while Instant::now() < end {
            let ready = self.wait(&never, Some(quiet));
            if !ready.console || !self.read_console()? {
                break;
            }
        }
        Ok(())
    }

    /// Makes sure that what is written next, by whomever, begins on a line of its own.
    ///
    /// # Errors
    ///
    /// The output cannot be written.
    pub fn finish_line(&mut self) -> std::io::Result<()> {
        if !std::mem::replace(&mut self.fresh_line, true) {
            self.output.write_all(b"\n")?;
        }
        self.output.flush()
    }

    fn wait(&self, news: impl AsFd, timeout: Option<Duration>) -> Ready {
        let to_console = if self.waiting.is_empty() {
            PollFlags::empty()
        } else {
            PollFlags::OUT
        };
        let mut polled = vec![
            PollFd::new(&self.console, PollFlags::IN | to_console),
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(news.as_fd(), PollFlags::IN),
        ];
        // From a terminal always, for the escape key; from anything else as fast as the guest takes it.
        let listening =
            self.held_until.is_none() && (self.escape.is_some() || self.waiting.len() < WAITING);
        if let Some(input) = self.input.as_ref().filter(|_| listening) {
            polled.push(PollFd::new(input, PollFlags::IN));
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // Interrupted: nothing is ready, and the signal's pipe will be.
        let _ = poll(&mut polled, timeout.as_ref());
        let ready = |index: usize| {
            polled.get(index).is_some_and(|polled| {
                let wanted = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
                polled.revents().intersects(wanted)
            })
        };
        Ready {
            console: ready(0),
            signal: ready(1),
            news: ready(2),
            input: ready(3),
        }
    }

    /// Whether the console is still there.
    fn read_console(&mut self) -> std::io::Result<bool> {
        let mut buffer = [0; 4096];
        let said = match self.console.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(error) => {
                let kind = error.kind();
                return Ok(matches!(
                    kind,
                    ErrorKind::WouldBlock | ErrorKind::Interrupted
                ));
            }
        };
        self.output.write_all(said)?;
        self.output.flush()?;
        if let Some(last) = said.iter().rfind(|&&byte| byte != b'\r') {
            self.fresh_line = *last == b'\n';
        }
        if self
            .held_until
            .as_mut()
            .is_some_and(|watch| watch.sees(said))
        {
            self.held_until = None;
        }
        Ok(true)
    }

    /// Whether the escape key was typed.
    fn read_input(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let Some(input) = &mut self.input else {
            return false;
        };
        match input.read(&mut buffer) {
            Ok(0) => self.input = None,
            Ok(count) => {
                let typed = buffer.get(..count).unwrap_or_default();
                if self.escape.is_some_and(|escape| typed.contains(&escape)) {
                    return true;
                }
                // A guest that listens to nothing does not make us remember everything.
                if self.waiting.len() < WAITING {
                    self.waiting.extend_from_slice(typed);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.input = None,
        }
        false
    }

    /// Whether the console is still there.
    fn write_console(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.console.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// What is ready.
struct Ready {
    console: bool,
    signal: bool,
    news: bool,
    input: bool,
}

/// Waits for a text in a stream.
#[derive(Debug)]
struct Watch {
    wanted: Vec<u8>,
    /// The end of what was seen, shorter than `wanted`.
    seen: Vec<u8>,
}

impl Watch {
    fn new(wanted: &str) -> Self {
        Self {
            wanted: wanted.as_bytes().to_vec(),
            seen: Vec::new(),
        }
    }

    fn sees(&mut self, bytes: &[u8]) -> bool {
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
    let (received, sender) = UnixStream::pair()?;
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, sender.try_clone()?)?;
    }
    Ok(received)
}

#[cfg(test)]
mod tests;
