// SPDX-License-Identifier: BSD-2-Clause
//! QEMU machines: boards that are started, watched and ended by a program.
//!
//! Responsible for: a board's command line, its console and link as sockets or files, ending it when its [`Machine`]
//! goes out of scope, and what it last said when something goes wrong. Never: knows what is in an image, and never
//! interprets what goes over console or link.

mod arguments;
mod core;
mod processor;
mod spawn;

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::line::Carrier;
use arguments::{command_line, line_path};
use image::Image;

pub use self::core::Core;

/// Lines of QEMU's own messages that are kept.
const STDERR_LINES: usize = 50;
/// How much of a console's log [`Machine::last_console_lines`] looks at, in bytes.
const CONSOLE_TAIL: u64 = 64 << 10;
/// Longest path of a Unix socket, in bytes (`sun_path` of `sockaddr_un` with its terminating zero).
const SOCKET_PATH: usize = 107;

/// Where a board's console goes.
#[derive(Clone, Debug)]
pub enum Console {
    /// To this program's terminal, in both directions.
    Stdio,
    /// To a Unix socket that QEMU creates at this path. The board does not start before somebody connects, so that
    /// nothing it says is lost.
    Socket(PathBuf),
    /// Into a file; nothing can be typed.
    File(PathBuf),
}

/// How to start a machine.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// The board's name in messages.
    pub name: String,
    /// What it boots.
    pub image: Image,
    /// Where its console goes.
    pub console: Console,
    /// Where to keep a copy of what the console says, for [`Machine::last_console_lines`].
    pub console_log: Option<PathBuf>,
    /// The Unix socket that QEMU creates for the link; without one, the link leads nowhere.
    pub link: Option<PathBuf>,
    /// Counts instructions instead of time: one nanosecond of the machine's time is one instruction.
    pub icount: bool,
    /// Further arguments for QEMU.
    pub extra: Vec<String>,
}

/// Why there is no machine, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The board cannot be emulated.
    #[error("QEMU has no model of {board}; `godwit boards` lists what there is")]
    NotEmulated {
        /// The board.
        board: String,
    },
    /// The board has one processor only, or its file does not say which others it can have.
    #[error(
        "QEMU's {board} has one processor, at one frequency; --board-cpu and --counter-frequency are for others"
    )]
    OneProcessor {
        /// The board.
        board: String,
    },
    /// There is no such processor.
    #[error("there is no {model} for {board}; with the QEMU that is installed it can have {there}")]
    Processor {
        /// The board.
        board: String,
        /// What was asked for.
        model: String,
        /// What there is.
        there: String,
    },
    /// QEMU is not installed.
    #[error(
        "{program} is not installed; as root: apt-get install --no-install-recommends qemu-system-arm"
    )]
    NotInstalled {
        /// The program.
        program: String,
    },
    /// QEMU cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A socket's path is longer than the system allows.
    #[error("socket path {} is longer than {SOCKET_PATH} bytes; use a shorter directory", path.display())]
    SocketPath {
        /// The machine.
        name: String,
        /// The path.
        path: PathBuf,
    },
    /// The link cannot be offered.
    #[error("cannot offer the link: {source}")]
    Link {
        /// The machine.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// QEMU ended.
    #[error("QEMU ended ({status}){messages}")]
    Ended {
        /// The machine.
        name: String,
        /// How.
        status: ExitStatus,
        /// What it said, each line after a line break.
        messages: String,
    },
    /// A socket did not appear.
    #[error("cannot connect to {}: {source}", path.display())]
    Connect {
        /// The machine.
        name: String,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system does not say how QEMU does.
    #[error("cannot watch QEMU: {source}")]
    Watch {
        /// The machine.
        name: String,
        /// Why.
        source: std::io::Error,
    },
}

impl MachineError {
    /// Why a program could not be started.
    fn start(program: &str, source: std::io::Error) -> Self {
        let program = program.to_owned();
        match source.kind() {
            std::io::ErrorKind::NotFound => Self::NotInstalled { program },
            _ => Self::Start { program, source },
        }
    }
}

type Result<T, E = MachineError> = std::result::Result<T, E>;

/// A running QEMU. Ends when it goes out of scope.
#[derive(Debug)]
pub struct Machine {
    name: String,
    child: Child,
    messages: Arc<Mutex<VecDeque<String>>>,
    console: Option<PathBuf>,
    link: Option<PathBuf>,
    log: Option<PathBuf>,
    /// Where the link is a serial line, what makes it one that loses nothing.
    _carrier: Option<Carrier>,
}

impl Machine {
    /// Starts a machine. Its sockets may take a moment to appear; [`Machine::connect_link`] waits for them.
    ///
    /// # Errors
    ///
    /// QEMU is not installed or does not start.
    pub fn start(options: MachineOptions) -> Result<Self> {
        let (program, arguments) = command_line(&options)?;
        let MachineOptions {
            name,
            console,
            console_log,
            link,
            image,
            ..
        } = options;
        let (socket, log) = match console {
            Console::Stdio => (None, console_log),
            Console::Socket(path) => (Some(path), console_log),
            Console::File(path) => (None, Some(path)),
        };
        let line = link.as_deref().zip(image.board.link.baud);
        let line = line.map(|(link, baud)| (line_path(link), baud));
        // A socket that an earlier machine left behind would accept nobody.
        let lines = line.iter().map(|(path, _)| path);
        for stale in socket.iter().chain(&link).chain(lines) {
            let _ = std::fs::remove_file(stale);
        }
        let inherit = arguments
            .iter()
            .any(|argument| argument.starts_with("stdio,"));
        let standard = || {
            if inherit {
                Stdio::inherit()
            } else {
                Stdio::null()
            }
        };
        let mut command = Command::new(&program);
        command
            .args(&arguments)
            .stdin(standard())
            .stdout(standard())
            .stderr(Stdio::piped());
        if !inherit {
            // What is typed at the terminal is for whoever runs the machine: Ctrl-C must not end QEMU behind its back.
            command.process_group(0);
        }
        let mut child =
            spawn::spawn(command).map_err(|source| MachineError::start(&program, source))?;
        let carrier = link.as_deref().zip(line).map(|(link, (line, baud))| {
            UnixListener::bind(link)
                .and_then(|listener| Carrier::start(listener, line, baud))
                .map_err(|source| {
                    let _ = child.kill();
                    let _ = child.wait();
                    MachineError::Link {
                        name: name.clone(),
                        source,
                    }
                })
        });
        let messages = Arc::default();
        if let Some(stderr) = child.stderr.take() {
            keep_messages(stderr, Arc::clone(&messages));
        }
        Ok(Self {
            name,
            child,
            messages,
            console: socket,
            link,
            log,
            _carrier: carrier.transpose()?,
        })
    }

    /// The board's name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// QEMU's process identifier, for measuring what it costs.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that QEMU has taken so far, on all of the host's processors together.
    ///
    /// # Errors
    ///
    /// The operating system does not say.
    pub fn processor_time(&self) -> Result<Duration> {
        processor::time(self.process_id()).map_err(|source| MachineError::Watch {
            name: self.name.clone(),
            source,
        })
    }

    /// Connects to the link, waiting at most so long for QEMU to offer it. `None` if the machine has none.
    ///
    /// # Errors
    ///
    /// QEMU ended, or offers nothing.
    pub fn connect_link(&mut self, timeout: Duration) -> Option<Result<UnixStream>> {
        let path = self.link.clone()?;
        Some(self.connect(&path, timeout))
    }

    /// Connects to the console, waiting at most so long for QEMU to offer it. `None` if it is not a socket.
    ///
    /// # Errors
    ///
    /// QEMU ended, or offers nothing.
    pub fn connect_console(&mut self, timeout: Duration) -> Option<Result<UnixStream>> {
        let path = self.console.clone()?;
        Some(self.connect(&path, timeout))
    }

    fn connect(&mut self, path: &Path, timeout: Duration) -> Result<UnixStream> {
        let deadline = Instant::now() + timeout;
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return Ok(stream),
                Err(source) => {
                    self.check()?;
                    if Instant::now() >= deadline {
                        return Err(MachineError::Connect {
                            name: self.name.clone(),
                            path: path.to_owned(),
                            source,
                        });
                    }
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether QEMU still runs.
    ///
    /// # Errors
    ///
    /// It does not; the error has what it said.
    pub fn check(&mut self) -> Result<()> {
        match self.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let messages = self
                    .messages()
                    .iter()
                    .map(|line| format!("\n  {line}"))
                    .collect();
                Err(MachineError::Ended {
                    name: self.name.clone(),
                    status,
                    messages,
                })
            }
        }
    }

    /// How QEMU ended, if it has.
    ///
    /// # Errors
    ///
    /// The operating system does not say.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(|source| MachineError::Watch {
            name: self.name.clone(),
            source,
        })
    }

    /// Waits until QEMU ends.
    ///
    /// # Errors
    ///
    /// The operating system does not say.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().map_err(|source| MachineError::Watch {
            name: self.name.clone(),
            source,
        })
    }

    /// Ends QEMU.
    pub fn kill(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What QEMU itself said last.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.messages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// The last lines of the console, for messages about a board that does not do what it should. Empty if nothing
    /// keeps them.
    #[must_use]
    pub fn last_console_lines(&self, count: usize) -> Vec<String> {
        self.log
            .as_deref()
            .and_then(|path| tail(path, count).ok())
            .unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        let line = self.link.as_deref().map(line_path);
        for socket in self.console.iter().chain(&self.link).chain(&line) {
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn keep_messages(stderr: ChildStderr, messages: Arc<Mutex<VecDeque<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stderr)
            .lines()
            .map_while(std::io::Result::ok)
        {
            if line.contains("QEMU waiting for connection") {
                continue;
            }
            let mut messages = messages.lock().unwrap_or_else(PoisonError::into_inner);
            if messages.len() == STDERR_LINES {
                messages.pop_front();
            }
            messages.push_back(line);
        }
    });
}

fn tail(path: &Path, count: usize) -> std::io::Result<Vec<String>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE_TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    Ok(lines[lines.len().saturating_sub(count)..].to_vec())
}

#[cfg(test)]
mod tests;
