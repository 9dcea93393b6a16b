// SPDX-License-Identifier: BSD-2-Clause
//! Running other programs, quietly unless they fail.
//!
//! Responsible for: what they said being in the error, and a full disk being an error even where a program waits for it to
//! pass. Never: lets them read the terminal.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::{PrepareError, Result};

/// A disk with fewer bytes than this is full.
const NOTHING: u64 = 1 << 20;
/// How often to look how a program does.
const LOOK: Duration = Duration::from_millis(100);
/// What programs say when a disk is full (`strerror` in the C locale).
const FULL: [&str; 2] = ["No space left on device", "Disk quota exceeded"];

/// Runs a command and returns what it wrote, or fails with what it said.
///
/// If it is run in a directory, that is where it writes to: it is ended if nothing can be written there any more, because
/// apt's methods then wait, for ever.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let name = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ");
    let failed = |output| PrepareError::Command {
        command: name.clone(),
        output,
    };
    let unknown = |error: std::io::Error| failed(error.to_string());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.env("LC_ALL", "C").spawn().map_err(unknown)?;
    let [output, complaints] = [reader(child.stdout.take()), reader(child.stderr.take())];
    let directory = command.get_current_dir();
    let status = wait(&mut child, directory).map_err(unknown)?;
    // Nobody else has the other ends, unless what it started outlives a program that was ended.
    let text = |from: Receiver<_>| status.and_then(|_| from.recv().ok()).unwrap_or_default();
    let (output, complaints): (String, String) = (text(output), text(complaints));
    if status.is_some_and(|status| status.success()) {
        return Ok(output);
    }
    let said = format!("{output}{complaints}").trim().to_owned();
    let full = status.is_none() || FULL.iter().any(|full| said.contains(full));
    Err(match directory {
        Some(directory) if full => PrepareError::Full {
            command: name,
            directory: directory.to_owned(),
        },
        _ => failed(said),
    })
}

/// How a program ended; nothing if it was ended because the disk of its directory is full.
fn wait(child: &mut Child, directory: Option<&Path>) -> std::io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let free = directory.and_then(|directory| rustix::fs::statvfs(directory).ok());
        if free.is_some_and(|free| free.f_bavail.saturating_mul(free.f_frsize) < NOTHING) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// Reads all of it, whenever it comes.
fn reader(from: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        // Whoever asked may have continued.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_says_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo bad >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c") && error.contains("out") && error.contains("bad"),
            "{error}"
        );
        assert_eq!(run(Command::new("echo").arg("hello")).unwrap(), "hello\n");
        assert!(run(&mut Command::new("no-such-program-anywhere")).is_err());
    }

    #[test]
    fn a_program_that_found_no_space_left_is_told_where() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "cat /proc/version >/dev/full"])
            .current_dir("/tmp");
        let error = run(&mut command).unwrap_err().to_string();
        assert!(
            error.contains("no space is left for /tmp; make room"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_waits_for_space_is_ended() {
        // Nothing can be written to this file system, ever.
        let mut command = Command::new("sleep");
        command.arg("600").current_dir("/proc");
        let error = run(&mut command).unwrap_err();
        assert!(matches!(error, PrepareError::Full { .. }), "{error}");
    }
}
