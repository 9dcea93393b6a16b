// SPDX-License-Identifier: BSD-2-Clause
//! Starting a process that does not outlive this one.
//!
//! Responsible for: QEMU ending with whoever started it, even if that is killed. Never: tied to the thread that asks,
//! which may end long before.

use std::io::Error;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use rustix::process::{Signal, set_parent_process_death_signal};

/// A command, and where to send what became of it.
type Order = (Command, Sender<std::io::Result<Child>>);

/// Starts `command`; the operating system kills it when this process ends.
pub(super) fn spawn(mut command: Command) -> std::io::Result<Child> {
    let dies_with_us = || set_parent_process_death_signal(Some(Signal::KILL)).map_err(Error::from);
    // SAFETY: between fork and exec only async-signal-safe functions may be called and nothing may be allocated; this
    // makes one system call, prctl(2), and converts its number of an error.
    unsafe {
        command.pre_exec(dies_with_us);
    }
    let lost = || Error::other("the thread that starts processes is gone");
    let (answer, answered) = channel();
    spawner().send((command, answer)).map_err(|_| lost())?;
    answered.recv().map_err(|_| lost())?
}

/// A thread that lives as long as the process: Linux sends the signal when the thread that started a child ends.
fn spawner() -> &'static Sender<Order> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let started = std::thread::spawn(move || spawn(command)).join();
        let mut child = started.unwrap().unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = spawn(Command::new("no-such-program-anywhere")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}
