// SPDX-License-Identifier: BSD-2-Clause
//! What debuggers and profilers do in a Debian guest works, or says that it does not; the board and the guest continue.
//!
//! A board keeps single steps, hardware breakpoints and performance counters from its guest ("What it does not do" in
//! README.md): a step does not stop the child, a hardware breakpoint does not fire, and there is nothing that the
//! processor counts. Breakpoints by `BRK`, stops at system calls and the kernel's own counters are as everywhere.

use std::time::Duration;

use anyhow::ensure;
use godwit::session::Scratch;
use image::Kernel;
use protocol::management::Phase;
use tests::board::Board;
use tests::guests::{self, TestGuest};
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;

/// How often each thing is done.
const COUNT: u32 = 10_000;
/// How long that may take.
const TIMEOUT: Duration = Duration::from_secs(400);

on_both_kernels! {
    fn whatever_debuggers_do_the_board_continues(kernel) {
        let mut guest = Debian::start(kernel)?;
        let count = COUNT;
        let stepped = guest.debug("steps", count)?;
        ensure!(stepped == format!("steps asked={count} stepped=0"), "{stepped}");
        let hit = guest.debug("breakpoints", count)?;
        ensure!(hit == format!("breakpoints hit={count}"), "{hit}");
        let hardware = guest.debug("hardware", 1)?;
        ensure!(hardware.contains(" hit=0"), "{hardware}");
        guest.debug("system-calls", count)?;
        let counted = guest.debug("counters", count)?;
        ensure!(counted.ends_with(" counted=0"), "{counted}");
        guest.debug("kernel-breakpoints", count)?;
        guest.debug("warnings", count)?;
        Ok(())
    }

    fn debians_own_debuggers_do_what_this_machine_has(kernel) {
        let mut guest = Debian::start(kernel)?;
        // Temporary breakpoints, of which the last is never where the program is: continuing needs no step.
        let commands = [
            "set startup-with-shell off",
            "tbreak landmark_one",
            "run",
            "tbreak landmark_two",
            "continue",
            "backtrace 1",
            "kill",
        ];
        let commands = commands.map(|command| format!("-ex '{command}'")).join(" ");
        let gdb = guest.shell(&format!("gdb -q -batch {commands} --args /bin/debugger child calling"))?;
        ensure!(gdb.matches("Temporary breakpoint ").count() >= 4, "{gdb}");
        ensure!(gdb.contains("#0  0x") && gdb.contains("in landmark_two"), "{gdb}");
        // One that stays has to be stepped over, with which the program runs astray, and nobody else is concerned.
        let commands = ["set startup-with-shell off", "break landmark_one", "run", "continue", "kill"];
        let commands = commands.map(|command| format!("-ex '{command}'")).join(" ");
        let gdb = format!("timeout 20 gdb -q -batch {commands} --args /bin/debugger child calling");
        let gdb = guest.shell(&gdb)?;
        ensure!(gdb.contains("Breakpoint 1, 0x"), "{gdb}");
        let strace = guest.shell("strace -f -c /bin/debugger counters 50 2>&1")?;
        ensure!(strace.contains(" perf_event_open"), "{strace}");
        let perf = guest.shell("perf stat -e task-clock,instructions /bin/true 2>&1")?;
        ensure!(perf.contains("CPUs utilized"), "{perf}");
        ensure!(perf.contains("<not supported>      instructions"), "{perf}");
        Ok(())
    }
}

/// A Debian guest at its shell's prompt.
struct Debian {
    board: Board,
    _scratch: Scratch,
}

impl Debian {
    fn start(kernel: Kernel) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let image = guests::image(kernel, &TestGuest::debuggers(2))?;
        let mut board = Board::start("debugged", &image, &scratch)?;
        board.expect_linux()?;
        board.session.expect("/ # ", BOOT)?;
        let mut guest = Self {
            board,
            _scratch: scratch,
        };
        guest.shell("export PATH=/bin:/usr/bin")?;
        guest.shell("mount -t tracefs nodev /sys/kernel/tracing")?;
        guest.shell("mount -t debugfs nodev /sys/kernel/debug")?;
        Ok(guest)
    }

    /// Types a command; what it says. The board answers meanwhile and afterwards.
    fn shell(&mut self, command: &str) -> anyhow::Result<String> {
        let session = &mut self.board.session;
        session.send_line(&format!("{command}; echo end''-of-answer $?"))?;
        ensure!(self.board.phase()? == Phase::Running);
        let session = &mut self.board.session;
        let said = session.expect("end-of-answer", TIMEOUT)?;
        session.expect("/ # ", ANSWER)?;
        ensure!(self.board.phase()? == Phase::Running);
        Ok(said)
    }

    /// Has our debugger do something; what it counted.
    fn debug(&mut self, what: &str, count: u32) -> anyhow::Result<String> {
        let said = self.shell(&format!("debugger {what} {count}"))?;
        let mut answers = said
            .lines()
            .filter_map(|line| line.strip_prefix("debugger: "));
        let answer = answers.next_back().unwrap_or_default();
        println!("{answer}");
        ensure!(answer.starts_with(what), "{said}");
        Ok(answer.to_owned())
    }
}
