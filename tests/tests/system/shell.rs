// SPDX-License-Identifier: BSD-2-Clause
//! The operator's program as a shell starts it, and what is left of it afterwards.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use godwit::session::Scratch;
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{tcgetwinsize, tcsetwinsize};
use tests::ANSWER;

/// How often a wait looks again.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// The program, with a directory of its own for running boards and for temporary files.
pub(crate) struct Shell {
    pub(crate) scratch: Scratch,
}

/// A program that runs, and what it has said.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// Our end of the terminal that it was started at, if any.
    terminal: Option<File>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Shell {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            scratch: Scratch::new()?,
        })
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_operator"));
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.scratch.path())
            .env("TMPDIR", self.scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments).stdin(Stdio::null()).output()?)
    }

    /// Runs a command that is to succeed; what it says to programs and to people.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "{arguments:?}: {text}");
        Ok(text)
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> anyhow::Result<Running> {
        let mut child = self.command(arguments).spawn()?;
        let output = child.stdout.take().context("its output")?;
        Ok(Running {
            child,
            terminal: None,
            said: heard(output),
        })
    }

    /// Starts it at a terminal of this size.
    pub(crate) fn start_at_terminal(
        &self,
        arguments: &[&str],
        (rows, columns): (u16, u16),
    ) -> anyhow::Result<Running> {
        let (ours, theirs) = terminal()?;
        let mut size = tcgetwinsize(&theirs)?;
        (size.ws_row, size.ws_col) = (rows, columns);
        tcsetwinsize(&theirs, size)?;
        let mut command = self.command(arguments);
        command
            .stdin(theirs.try_clone()?)
            .stdout(theirs.try_clone()?)
            .stderr(theirs);
        Ok(Running {
            child: command.spawn()?,
            said: heard(ours.try_clone()?),
            terminal: Some(ours),
        })
    }

    /// What is left of boards in the directory of running ones, once a board list has cleared away what can be.
    pub(crate) fn left(&self) -> anyhow::Result<Vec<PathBuf>> {
        self.succeeds(&["boards"])?;
        let directory = self.scratch.path().join("godwit");
        let entries = std::fs::read_dir(directory)?;
        Ok(entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?)
    }

    /// Processes that have something to do with this directory.
    pub(crate) fn processes(&self) -> Vec<String> {
        let here = self.scratch.path().to_string_lossy().into_owned();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let of = |entry: std::fs::DirEntry, file: &str| {
            let bytes = std::fs::read(entry.path().join(file)).ok()?;
            Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
        };
        entries
            .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
            .filter_map(|entry| {
                let environment = std::fs::read(entry.path().join("environ")).ok()?;
                let ours = String::from_utf8_lossy(&environment).contains(&here);
                ours.then(|| of(entry, "cmdline")).flatten()
            })
            .collect()
    }

    /// Waits until nothing is left of any board.
    pub(crate) fn is_clean(&self) -> anyhow::Result<()> {
        let until = Instant::now() + ANSWER;
        loop {
            let (files, processes) = (self.left()?, self.processes());
            if files.is_empty() && processes.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "left behind: {files:?}, {processes:?}"
            );
            thread::sleep(LOOK);
        }
    }
}

impl Running {
    pub(crate) fn text(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }

    pub(crate) fn expect(&self, wanted: &str, timeout: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + timeout;
        while !self.text().contains(wanted) {
            ensure!(Instant::now() < until, "no {wanted:?} in {}", self.text());
            thread::sleep(LOOK);
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, text: &str) -> anyhow::Result<()> {
        if let Some(terminal) = &mut self.terminal {
            return Ok(terminal.write_all(text.as_bytes())?);
        }
        let input = self.child.stdin.as_mut().context("its input")?;
        Ok(input.write_all(text.as_bytes())?)
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = i32::try_from(self.child.id())?;
        Ok(kill_process(
            Pid::from_raw(process).context("no process")?,
            signal,
        )?)
    }
}

/// Collects what comes out of it.
fn heard(mut output: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let said = Arc::<Mutex<Vec<u8>>>::default();
    let heard = Arc::clone(&said);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.extend_from_slice(&bytes[..count]);
        }
    });
    said
}

/// Both ends of a pseudo-terminal.
fn terminal() -> anyhow::Result<(File, File)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let mut options = File::options();
    options.read(true).write(true);
    let theirs = options
        .custom_flags(i32::try_from(OFlags::NOCTTY.bits())?)
        .open(name.to_str()?)?;
    Ok((File::from(ours), theirs))
}
