//! A board in the foreground: its guest's console in the terminal, its link for others.
//!
//! Responsible for: one board from its image to its end: registered under a name while it runs, reachable at a public
//! link, its guest's console joined to the caller's input and output, and the reason why it ended. Never: outlives its
//! caller, or lets a client of the link harm the guest.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use migration_pd::protocol::MoveFailure;
use migration_pd::protocol::management::{GuestFailure, MoveReport, Phase, Stage, StatusReport};

use crate::console::{Bridge, ESCAPE_NAME, RawTerminal, Turn};
use crate::image::{ImageError, ImageRequest, build_image};
use crate::patience::SOCKETS;
use crate::qemu::{Console, Machine, MachineError, MachineOptions};
use crate::running::{Facts, Registration, Registry, RegistryError};
use crate::tap::{Heard, Tap};

/// A guest that has ended has said its last words once its console was quiet for so long,
const QUIET: Duration = Duration::from_millis(200);
/// and at the latest after so long.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The board's name; the first free letter if absent.
    pub name: Option<String>,
    /// Its image; named after the board.
    pub request: ImageRequest,
    /// What its guest is called.
    pub guest: String,
    /// What the guest says once it listens to its console; input that is not typed at a terminal waits for it.
    pub held_until: Option<String>,
    /// RAM of the board as QEMU's `-m` takes it; the board's own amount if absent.
    pub board_ram: Option<String>,
    /// Further arguments for QEMU.
    pub extra: Vec<String>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The guest switched itself off.
    PoweredOff,
    /// The guest was stopped for a fault.
    Failed(Fault),
    /// The escape key was typed.
    Left,
    /// This process was asked to end.
    Signal,
}

/// Why a guest was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure} (detail {detail:#x}, at program counter {program_counter:#x})")]
pub struct Fault {
    /// Why.
    pub failure: GuestFailure,
    /// What it is about: a syndrome, an error's number.
    pub detail: u64,
    /// Where the guest was.
    pub program_counter: u64,
}

impl From<&StatusReport> for Fault {
    fn from(status: &StatusReport) -> Self {
        Self {
            failure: status.failure,
            detail: status.detail,
            program_counter: status.program_counter,
        }
    }
}

/// Why there is nothing to run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The name.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The image.
    #[error("board {name}: building its image: {source}")]
    Image {
        /// The board.
        name: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// QEMU.
    #[error("board {name}: {source}")]
    Machine {
        /// The board.
        name: String,
        /// Why.
        source: MachineError,
    },
    /// The console or the link.
    #[error("board {name}: {what}: {source}")]
    Io {
        /// The board.
        name: String,
        /// What was attempted.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs a board until its guest ends or the user leaves it. `notice` hears what a person should know meanwhile.
///
/// # Errors
///
/// The board cannot be built, registered or started, or QEMU ended by itself.
pub fn run(
    options: &RunOptions,
    input: impl AsFd + Read,
    output: impl Write,
    notice: &mut dyn FnMut(&str),
) -> Result<RunEnd, RunError> {
    let entry = Registry::of_user()?.register(options.name.as_deref(), &facts(options))?;
    let name = entry.name();
    let failed = |what| {
        let name = name.to_owned();
        move |source| RunError::Io { name, what, source }
    };
    let mut machine = start(options, &entry)?;
    let machine_failed = |source| RunError::Machine {
        name: name.to_owned(),
        source,
    };
    let console = machine.connect_console(SOCKETS).transpose();
    let console = console.map_err(machine_failed)?;
    let console = console.ok_or_else(|| failed("opening its console")(missing_socket()))?;
    let link = machine.connect_link(SOCKETS).transpose();
    let link = link.map_err(machine_failed)?;
    let link = link.ok_or_else(|| failed("opening its link")(missing_socket()))?;
    let tap = UnixListener::bind(entry.link())
        .and_then(|listener| Tap::start(link, listener))
        .map_err(failed("offering its link"))?;
    let raw = RawTerminal::enter(&input).map_err(failed("taking over the terminal"))?;
    notice(&opening(name, &options.guest, raw.is_some()));
    let mut foreground = Foreground {
        name,
        bridge: Bridge::new(input, output, console, options.held_until.as_deref())
            .map_err(failed("joining its console"))?,
        tap,
        notice,
        phase: None,
        known_empty: false,
    };
    match foreground.carry().map_err(failed("its console"))? {
        Some(end) => Ok(end),
        None => {
            // Its sockets close a moment before the process is gone.
            machine.wait().map_err(machine_failed)?;
            machine.check().map_err(machine_failed)?;
            Err(failed("its console")(missing_socket()))
        }
    }
}

fn facts(options: &RunOptions) -> Facts {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Facts {
        process: std::process::id(),
        board: options.request.board.clone(),
        kernel: options.request.kernel.to_string(),
        guest: options.guest.clone(),
        ram_mib: options.request.ram_mib,
        started: now.unwrap_or_default().as_secs(),
    }
}

/// Builds the board's image and starts it.
fn start(options: &RunOptions, entry: &Registration) -> Result<Machine, RunError> {
    let request = ImageRequest {
        name: format!("run-{}", entry.name()),
        ..options.request.clone()
    };
    let image = build_image(&request).map_err(|source| RunError::Image {
        name: entry.name().to_owned(),
        source: Box::new(source),
    })?;
    Machine::start(MachineOptions {
        name: entry.name().to_owned(),
        image,
        ram: options.board_ram.clone(),
        console: Console::Socket(entry.machine_console()),
        console_log: None,
        link: Some(entry.machine_link()),
        icount: false,
        extra: options.extra.clone(),
    })
    .map_err(|source| RunError::Machine {
        name: entry.name().to_owned(),
        source,
    })
}

fn opening(name: &str, guest: &str, at_terminal: bool) -> String {
    let leave = if at_terminal {
        format!("; {ESCAPE_NAME} leaves and ends it")
    } else {
        String::new()
    };
    format!("board {name}: {guest}{leave}")
}

/// A machine is started with both its sockets; if not, this says so without ending the program.
fn missing_socket() -> std::io::Error {
    std::io::ErrorKind::NotConnected.into()
}

/// A board that runs in the foreground.
struct Foreground<'a, I, O> {
    name: &'a str,
    bridge: Bridge<I, O>,
    tap: Tap,
    notice: &'a mut dyn FnMut(&str),
    /// What its machine was last heard to do.
    phase: Option<Phase>,
    /// Whether a person knows already that it is empty.
    known_empty: bool,
}

impl<I: AsFd + Read, O: Write> Foreground<'_, I, O> {
    /// Carries the console until there is a reason to end; `None` if QEMU is gone.
    fn carry(&mut self) -> std::io::Result<Option<RunEnd>> {
        loop {
            let end = match self.bridge.carry(self.tap.news())? {
                Turn::News => self.listen()?,
                Turn::Escape => Some(RunEnd::Left),
                Turn::Signal => Some(RunEnd::Signal),
                Turn::Closed => return Ok(None),
            };
            let Some(end) = end else {
                continue;
            };
            if matches!(end, RunEnd::PoweredOff | RunEnd::Failed(_)) {
                self.bridge.drain(QUIET, LAST_WORDS)?;
            }
            self.bridge.finish_line()?;
            return Ok(Some(end));
        }
    }

    /// Takes in what the board says of itself.
    fn listen(&mut self) -> std::io::Result<Option<RunEnd>> {
        for heard in self.tap.take() {
            let news = match heard {
                Heard::Status(status) => {
                    let before = self.phase.replace(status.phase);
                    match status.phase {
                        Phase::Off => return Ok(Some(RunEnd::PoweredOff)),
                        Phase::Failed => return Ok(Some(RunEnd::Failed(Fault::from(&status)))),
                        _ => self.changed(before, &status),
                    }
                }
                Heard::MoveEnded(report) => self.moved(&report),
                // QEMU ends, which the console will say, or nobody can manage the board any more.
                Heard::Lost => Some("its link is lost".to_owned()),
            };
            if let Some(news) = news {
                self.bridge.finish_line()?;
                (self.notice)(&format!("board {}: {news}", self.name));
            }
        }
        Ok(None)
    }

    /// What a person should know of a change of phase.
    fn changed(&mut self, before: Option<Phase>, status: &StatusReport) -> Option<String> {
        let moving = status
            .last_move
            .is_some_and(|report| !report.stage.is_end());
        let name = self.name;
        match (before, status.phase) {
            (before, now) if before == Some(now) || moving => None,
            (_, Phase::Empty) if !std::mem::replace(&mut self.known_empty, true) => Some(format!(
                "waits for a guest; from another terminal: godwit migrate BOARD {name}"
            )),
            (Some(Phase::Imported | Phase::Resuming), Phase::Running) => {
                Some("its guest runs".to_owned())
            }
            (_, Phase::Stopped) => Some(format!(
                "its guest is paused; godwit resume {name} lets it go on"
            )),
            _ => None,
        }
    }

    /// What a person should know of the end of a move.
    fn moved(&mut self, report: &MoveReport) -> Option<String> {
        match (report.stage, &report.failure) {
            (Stage::Gone, _) => {
                self.known_empty = true;
                Some("its guest has moved to the other board; this one is empty and can take a guest again".to_owned())
            }
            (Stage::Taken, _) => {
                self.known_empty = false;
                Some("a guest has arrived".to_owned())
            }
            (Stage::Failed, Some(MoveFailure::Copied)) => {
                Some("a copy of its guest was taken, and it goes on as it was".to_owned())
            }
            (Stage::Failed, Some(failure)) => Some(format!("a move did not take place: {failure}")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
