// SPDX-License-Identifier: BSD-2-Clause
//! What is debugged: a child that passes two landmarks in turn, for ever.
//!
//! It is this program again, so both know where the landmarks are.

use std::hint::black_box;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;
use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// The argument that makes this program the child.
pub(crate) const ARGUMENT: &str = "child";

/// The first landmark: a function that somebody may set a breakpoint at.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn landmark_one(turn: u64) -> u64 {
    black_box(turn.wrapping_add(1))
}

/// The second.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn landmark_two(turn: u64) -> u64 {
    black_box(turn.wrapping_mul(3))
}

/// The argument after it with which the child makes no system calls.
pub(crate) const BUSY: &str = "busy";
/// The argument after it with which it makes one between two turns.
pub(crate) const CALLING: &str = "calling";

/// Passes the landmarks.
pub(crate) fn run(busy: bool) -> ! {
    let mut turn = 0;
    loop {
        turn = landmark_two(landmark_one(turn));
        if !busy {
            black_box(nix::unistd::getppid());
        }
    }
}

/// A traced child, which ends with this.
#[derive(Debug)]
pub(crate) struct Child(pub(crate) Pid);

impl Child {
    /// Starts it; it is stopped before its first instruction.
    pub(crate) fn start(how: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, how]);
        let traced = || ptrace::traceme().map_err(std::io::Error::from);
        // SAFETY: between fork and exec, one system call and no allocation.
        unsafe { command.pre_exec(traced) };
        let child = command.spawn().context("no child")?;
        let child = Self(Pid::from_raw(i32::try_from(child.id())?));
        let status = child.wait()?;
        anyhow::ensure!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
        ptrace::setoptions(
            child.0,
            ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL,
        )?;
        Ok(child)
    }

    /// Waits until it has stopped.
    pub(crate) fn wait(&self) -> anyhow::Result<WaitStatus> {
        Ok(waitpid(self.0, None)?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = ptrace::kill(self.0);
        let _ = waitpid(self.0, None);
    }
}
