// SPDX-License-Identifier: BSD-2-Clause
//! A terminal, or files in its place, joined to a board's keeper.
//!
//! Responsible for: carrying what is typed to the guest and what the guest says to the output, unchanged; the one key
//! that is not the guest's; leaving without harm to the board, or ending it. Never: waits for an output that takes
//! nothing, so that keys and signals count also then; or writes anything of its own into an output that is a file.

mod questions;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::termios::isatty;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use questions::Questions;

use crate::console::{Command, ESCAPE_NAME, Keys, Watch, signals};
use crate::keeper::messages::{End, Hello, Incoming, Message as _, Say, Tell};

/// Bytes of input that may be under way before no more is read.
const WAITING: usize = 16 << 10;
/// Bytes of output that may wait before no more is taken from the keeper.
const UNSHOWN: usize = 64 << 10;
/// What is written at once, in bytes: as much as a pipe that is ready takes without waiting (POSIX `PIPE_BUF`).
const PIECE: usize = 4096;

/// Who attaches, and how.
#[derive(Clone, Debug)]
pub struct Attach {
    /// The board's name.
    pub name: String,
    /// Whether the board ends with this, unless it detaches.
    pub owner: bool,
    /// How much of what was said before is to be heard, in bytes.
    pub history: u64,
    /// Input that is not typed at a terminal is left alone until the guest has said this.
    pub held_until: Option<String>,
}

/// What this process is asked from outside. It does not end by itself any more.
#[derive(Debug)]
pub struct Signals {
    asked_to_end: UnixStream,
    hung_up: UnixStream,
}

impl Signals {
    /// From now on, also before anything is attached.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            asked_to_end: signals(&[SIGINT, SIGQUIT, SIGTERM])?,
            hung_up: signals(&[SIGHUP])?,
        })
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// The board has.
    Ended(End),
    /// The board lives on.
    Detached,
    /// This process was asked to end.
    Signal,
}

/// Joins `input` and `output` to the board behind `keeper` until one of them ends. `notice` hears what a person should
/// know.
///
/// # Errors
///
/// The output cannot be written, or the keeper is gone.
pub fn attach<I: AsFd + Read, O: AsFd + Write>(
    keeper: UnixStream,
    options: &Attach,
    signals: Signals,
    (input, output): (I, O),
    notice: &mut dyn FnMut(&str),
) -> io::Result<Left> {
    keeper.set_nonblocking(true)?;
    let terminal = isatty(&input);
    let shown_at_terminal = isatty(&output);
    let mut attached = Attached {
        keeper,
        incoming: Incoming::default(),
        outgoing: Vec::new(),
        keys: terminal.then(Keys::default),
        at_terminal: terminal || shown_at_terminal,
        held_until: options
            .held_until
            .as_deref()
            .filter(|_| !terminal)
            .map(Watch::new),
        input: Some(input),
        own: reopened(&output),
        questions: shown_at_terminal.then(Questions::default),
        shown_at_terminal,
        unshown: VecDeque::new(),
        fresh_line: true,
        under_way: 0,
        asked_to_end: signals.asked_to_end,
        hung_up: signals.hung_up,
        leaving: None,
        output,
        options,
        notice,
    };
    attached.say(&Say::Hello(Hello {
        owner: options.owner,
        history: options.history,
    }))?;
    attached.carry()
}

struct Attached<'a, I, O> {
    keeper: UnixStream,
    incoming: Incoming,
    outgoing: Vec<u8>,
    input: Option<I>,
    output: O,
    /// None if the input is not a terminal, and everything is for the guest.
    keys: Option<Keys>,
    at_terminal: bool,
    shown_at_terminal: bool,
    held_until: Option<Watch>,
    /// The output once more, where that makes it one that nobody waits for.
    own: Option<File>,
    /// While what was said before is shown on a terminal.
    questions: Option<Questions>,
    /// What is to be shown, and what is to be noted in between.
    unshown: VecDeque<Shown>,
    fresh_line: bool,
    /// Bytes of input that the guest's console has not taken yet.
    under_way: u64,
    asked_to_end: UnixStream,
    hung_up: UnixStream,
    /// How this ends once the keeper knows of it.
    leaving: Option<Left>,
    options: &'a Attach,
    notice: &'a mut dyn FnMut(&str),
}

/// Something to be shown.
enum Shown {
    /// What the guest said, and how much of it has been written.
    Output(Vec<u8>, usize),
    /// What a person should know.
    Notice(String),
    /// It is over.
    Left(Left),
}

/// What is ready.
struct Ready {
    keeper: bool,
    output: bool,
    input: bool,
    asked_to_end: bool,
    hung_up: bool,
}

impl<I: AsFd + Read, O: AsFd + Write> Attached<'_, I, O> {
    fn carry(&mut self) -> io::Result<Left> {
        loop {
            let ready = self.wait();
            if ready.keeper {
                self.hear()?;
            }
            if ready.input {
                self.read_input()?;
            }
            if ready.hung_up {
                self.hang_up()?;
            }
            if ready.asked_to_end {
                let say = if self.options.owner {
                    Say::End
                } else {
                    Say::Detach
                };
                self.leave(&say, Left::Signal)?;
            }
            self.send()?;
            if self.leaving.is_some() && self.outgoing.is_empty() && self.is_left() {
                return Ok(self.leaving.take().unwrap_or(Left::Detached));
            }
            if let Some(left) = self.show(ready.output)? {
                return Ok(self.leaving.take().unwrap_or(left));
            }
            let over = matches!(self.unshown.back(), Some(Shown::Left(_)));
            if let Some(left) = self.leaving.take_if(|_| over && !ready.output) {
                // Who has asked for the end does not wait for an output that takes nothing.
                return Ok(left);
            }
        }
    }

    /// Whether there is nothing more to wait for: a board that is to end says when it has.
    fn is_left(&self) -> bool {
        let ends = self.options.owner && self.leaving == Some(Left::Signal);
        !ends && !matches!(self.leaving, Some(Left::Ended(_)))
    }

    fn unshown_bytes(&self) -> usize {
        let bytes = |shown: &Shown| match shown {
            Shown::Output(bytes, written) => bytes.len() - written,
            _ => 0,
        };
        self.unshown.iter().map(bytes).sum()
    }

    fn wait(&self) -> Ready {
        let mut keeper = PollFlags::empty();
        let room = self.unshown_bytes() < UNSHOWN || self.leaving.is_some();
        keeper.set(PollFlags::IN, room);
        keeper.set(PollFlags::OUT, !self.outgoing.is_empty());
        let mut output = PollFlags::empty();
        output.set(PollFlags::OUT, !self.unshown.is_empty());
        let mut polled = vec![
            PollFd::new(&self.keeper, keeper),
            PollFd::new(&self.output, output),
            PollFd::new(&self.asked_to_end, PollFlags::IN),
            PollFd::new(&self.hung_up, PollFlags::IN),
        ];
        // From a terminal always, for the one key; from anything else as fast as the guest takes it.
        let room = self.under_way < WAITING as u64;
        let listening = self.held_until.is_none() && (self.keys.is_some() || room);
        if let Some(input) = self.input.as_ref().filter(|_| listening) {
            polled.push(PollFd::new(input, PollFlags::IN));
        }
        // Interrupted: nothing is ready, and the signal's stream will be.
        let _ = poll(&mut polled, None);
        let ready = |index: usize, wanted: PollFlags| {
            polled.get(index).is_some_and(|polled| {
                let broken = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
                polled.revents().intersects(wanted | broken)
            })
        };
        Ready {
            keeper: ready(0, PollFlags::IN),
            output: ready(1, PollFlags::OUT),
            asked_to_end: ready(2, PollFlags::IN),
            hung_up: ready(3, PollFlags::IN),
            input: ready(4, PollFlags::IN),
        }
    }

    fn say(&mut self, say: &Say) -> io::Result<()> {
        say.append(&mut self.outgoing)
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.keeper.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It ends; what it said last is still to be read.
                Err(_) => self.outgoing.clear(),
            }
        }
        Ok(())
    }

    /// Leaves, with a last word to the keeper.
    fn leave(&mut self, say: &Say, left: Left) -> io::Result<()> {
        if self.leaving.is_none() {
            self.say(say)?;
            self.leaving = Some(left);
        }
        // Read once: it stays ready.
        let _ = self.asked_to_end.set_nonblocking(true);
        let _ = self.asked_to_end.read(&mut [0; 16]);
        Ok(())
    }

    /// The terminal is gone: the board is not. Without one, this is a signal like any other.
    fn hang_up(&mut self) -> io::Result<()> {
        let _ = self.hung_up.set_nonblocking(true);
        let _ = self.hung_up.read(&mut [0; 16]);
        self.input = None;
        if self.at_terminal || !self.options.owner {
            self.leave(&Say::Detach, Left::Detached)
        } else {
            self.leave(&Say::End, Left::Signal)
        }
    }

    /// Takes in what the keeper says.
    fn hear(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        let count = match self.keeper.read(&mut bytes) {
            Ok(0) => {
                let gone = "its keeper is gone".to_owned();
                self.unshown
                    .push_back(Shown::Left(Left::Ended(End::Broken(gone))));
                return Ok(());
            }
            Ok(count) => count,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.incoming.extend(bytes.get(..count).unwrap_or_default());
        while let Some(tell) = self.incoming.take()? {
            let shown = match tell {
                Tell::Output(bytes) => {
                    if self
                        .held_until
                        .as_mut()
                        .is_some_and(|watch| watch.sees(&bytes))
                    {
                        self.held_until = None;
                    }
                    let bytes = match &mut self.questions {
                        Some(questions) => questions.leave_out(&bytes),
                        None => bytes,
                    };
                    Shown::Output(bytes, 0)
                }
                Tell::Dropped(count) => Shown::Notice(format!(
                    "board {}: {count} bytes of what the guest said are left out: nothing took them in time",
                    self.options.name
                )),
                Tell::Notice(text) => Shown::Notice(text),
                // What is not a screen gets what the guest says here, and nothing else.
                Tell::Screen(bytes) if self.shown_at_terminal => {
                    Shown::Output(Questions::default().leave_out(&bytes), 0)
                }
                Tell::Screen(_) => continue,
                Tell::Started => {
                    self.questions = None;
                    continue;
                }
                Tell::Took(count) => {
                    self.under_way = self.under_way.saturating_sub(count);
                    continue;
                }
                Tell::Ended(end) => Shown::Left(Left::Ended(end)),
            };
            self.unshown.push_back(shown);
        }
        Ok(())
    }

    /// Shows what the output takes at once.
    fn show(&mut self, ready: bool) -> io::Result<Option<Left>> {
        let mut ready = ready;
        while let Some(shown) = self.unshown.pop_front() {
            match shown {
                Shown::Output(bytes, written) => {
                    if !ready {
                        self.unshown.push_front(Shown::Output(bytes, written));
                        return Ok(None);
                    }
                    let rest = bytes.get(written..).unwrap_or_default();
                    let piece = rest.get(..PIECE).unwrap_or(rest);
                    let count = match self.write(piece) {
                        Ok(count) => count,
                        Err(error) => {
                            self.output_is_gone(error)?;
                            return Ok(None);
                        }
                    };
                    if written + count < bytes.len() {
                        self.unshown
                            .push_front(Shown::Output(bytes, written + count));
                        ready = can_take(self.output.as_fd());
                    }
                }
                Shown::Notice(text) => {
                    self.finish_line()?;
                    (self.notice)(&text);
                }
                Shown::Left(left) => {
                    self.finish_line()?;
                    return Ok(Some(left));
                }
            }
        }
        Ok(None)
    }

    /// Nobody sees any more what the guest says.
    fn output_is_gone(&mut self, error: io::Error) -> io::Result<()> {
        self.unshown.clear();
        if self.shown_at_terminal {
            self.hang_up()
        } else if error.kind() == ErrorKind::BrokenPipe && self.options.owner {
            self.leave(&Say::End, Left::Ended(End::Ended))
        } else if error.kind() == ErrorKind::BrokenPipe {
            self.leave(&Say::Detach, Left::Detached)
        } else {
            Err(error)
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.own {
            Some(own) => match own.write(bytes) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    0
                }
                written => written?,
            },
            None => {
                self.output.write_all(bytes)?;
                self.output.flush()?;
                bytes.len()
            }
        };
        let bytes = bytes.get(..written).unwrap_or_default();
        if let Some(last) = bytes.iter().rfind(|&&byte| byte != b'\r') {
            self.fresh_line = *last == b'\n';
        }
        Ok(bytes.len())
    }

    /// What is written next, by whomever, begins on a line of its own, where somebody sees both.
    fn finish_line(&mut self) -> io::Result<()> {
        if self.shown_at_terminal && !std::mem::replace(&mut self.fresh_line, true) {
            self.output.write_all(b"\n")?;
            self.output.flush()?;
        }
        Ok(())
    }

    fn read_input(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let Some(input) = &mut self.input else {
            return Ok(());
        };
        let typed = match input.read(&mut bytes) {
            Ok(count @ 1..) => bytes.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            // A terminal that has nothing more to say has been hung up.
            _ if self.keys.is_some() => return self.hang_up(),
            _ => {
                self.input = None;
                return Ok(());
            }
        };
        let Some(keys) = &mut self.keys else {
            return self.type_in(typed.to_vec());
        };
        let (guest, commands) = keys.typed(typed);
        // A guest that listens to nothing does not make us remember everything.
        if self.under_way < WAITING as u64 {
            self.type_in(guest)?;
        }
        commands
            .into_iter()
            .try_for_each(|command| self.obey(command))
    }

    fn type_in(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.under_way += bytes.len() as u64;
        self.say(&Say::Input(bytes))
    }

    fn obey(&mut self, command: Command) -> io::Result<()> {
        let name = &self.options.name;
        let text = match command {
            Command::Ask => format!(
                "{ESCAPE_NAME}: d leaves and board {name} lives on, q ends it, {ESCAPE_NAME} is typed to the guest, ? helps"
            ),
            Command::Help => format!(
                "board {name}: what is typed is for its guest, but for {ESCAPE_NAME}. After that, d leaves: `godwit console {name}` comes back; q ends the board and its guest; {ESCAPE_NAME} types it; any other key does nothing"
            ),
            Command::Nothing => return Ok(()),
            Command::Detach => return self.leave(&Say::Detach, Left::Detached),
            Command::End => return self.leave(&Say::End, Left::Ended(End::Ended)),
        };
        self.finish_line()?;
        (self.notice)(&text);
        Ok(())
    }
}

/// A terminal or a pipe opened once more, so that writing to it does not wait, and nobody else's does either.
fn reopened(output: &impl AsFd) -> Option<File> {
    let output = output.as_fd();
    let kind = FileType::from_raw_mode(fstat(output).ok()?.st_mode);
    if kind != FileType::Fifo && !isatty(output) {
        return None;
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options()
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(format!("/proc/self/fd/{}", output.as_raw_fd()))
        .ok()
}

/// Whether something can be written without waiting.
fn can_take(output: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(output, PollFlags::OUT)];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&now)).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests;
