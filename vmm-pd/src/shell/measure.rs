// SPDX-License-Identifier: BSD-2-Clause
//! The shell that measures: what captures and restores cost, said on the console.
//!
//! Responsible for: the board's counter around each of the machine's calls, and a line whenever the machine continues,
//! `measured: capture=OWN+PEER_DOMAINS restore=OWN+PEER_DOMAINS release=OWN+PEER_DOMAINS vcpus=N list_registers=N frequency=HZ`,
//! in ticks of that counter.
//! Must never: be in an image that is not for measuring.

use core::fmt::{self, Write};

use channel::ring::Producer;
use stopwatch::{Lap, Measured, Step, Stopwatch};

/// Takes the time of calls.
pub(crate) struct Clock {
    stopwatch: Stopwatch,
    measured: Option<Measured>,
}

impl Clock {
    /// A clock.
    pub(crate) fn new() -> Self {
        Self {
            stopwatch: Stopwatch::default(),
            measured: None,
        }
    }

    /// Makes a call.
    pub(crate) fn time<T>(&mut self, step: Step, call: impl FnOnce() -> T) -> T {
        let before = counter::count();
        let answer = call();
        let after = counter::count();
        let measured = self.stopwatch.call(step, before, after);
        self.measured = measured.or(self.measured);
        answer
    }

    /// Says what was measured since the last time.
    pub(crate) fn tell(&mut self, console: &mut Producer) {
        if let Some(measured) = self.measured.take() {
            // The ring is larger than a line; if the console is stopped, the line is lost and the benchmark says so.
            let _ = line(&mut Console(console), &measured);
        }
    }
}

fn line(console: &mut Console<'_>, measured: &Measured) -> fmt::Result {
    write!(console, "measured:")?;
    for (name, lap) in [
        ("capture", measured.capture),
        ("restore", measured.restore),
        ("release", measured.release),
    ] {
        let Lap { own, peers } = lap;
        write!(console, " {name}={own}+{peers}")?;
    }
    let (vcpus, list_registers) = (measured.vcpus, measured.list_registers);
    let frequency = counter::frequency();
    writeln!(
        console,
        " vcpus={vcpus} list_registers={list_registers} frequency={frequency}\r"
    )
}

struct Console<'a>(&'a mut Producer);

impl Write for Console<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match self.0.push(text.as_bytes()) {
            Ok(written) if written == text.len() => Ok(()),
            _ => Err(fmt::Error),
        }
    }
}
