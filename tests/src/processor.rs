// SPDX-License-Identifier: BSD-2-Clause
//! What a board's processor is doing, as QEMU's monitor shows it.
//!
//! Responsible for: seeing that a domain computes which can tell nobody, because nobody that it can reach gets any time.
//! Never: changes anything on the board.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::ANSWER;

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(50);
/// What stands before `x0` in the monitor's answer, and what after all such registers (`aarch64_cpu_dump_state`).
const REGISTER: &str = "X00=";
const END: &str = "PSTATE=";

/// The processor of a board that was started with [`Processor::arguments`].
#[derive(Debug)]
pub struct Processor(UnixStream);

impl Processor {
    /// What QEMU needs besides, to offer its monitor at `path`.
    #[must_use]
    pub fn arguments(path: &Path) -> [String; 2] {
        let monitor = format!("unix:{},server=on,wait=off", path.display());
        ["-monitor".to_owned(), monitor]
    }

    /// Connects to the monitor of a machine that has started.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub fn of(path: &PathBuf) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("no monitor at {}", path.display()))?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(Self(stream))
    }

    /// Waits until whoever runs has this in `x0`.
    ///
    /// # Errors
    ///
    /// Nobody has in time.
    pub fn expect(&mut self, wanted: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + ANSWER;
        loop {
            let found = self.x0()?;
            if found == wanted {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "nobody runs with {wanted:#x} in x0, which is {found:#x}"
            );
            std::thread::sleep(LOOK);
        }
    }

    fn x0(&mut self) -> anyhow::Result<u64> {
        self.0.write_all(b"info registers\n")?;
        let mut answer = String::new();
        while !answer.contains(END) {
            let mut bytes = [0; 4096];
            let count = self
                .0
                .read(&mut bytes)
                .context("the monitor says nothing")?;
            ensure!(count > 0, "the monitor has ended");
            answer += &String::from_utf8_lossy(&bytes[..count]);
        }
        let word = answer
            .split_once(REGISTER)
            .and_then(|(_, rest)| rest.get(..16));
        let word = word.with_context(|| format!("no register: {answer:?}"))?;
        Ok(u64::from_str_radix(word, 16)?)
    }
}
