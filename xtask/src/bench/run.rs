// SPDX-License-Identifier: BSD-2-Clause
//! One run of the benchmark guest.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, bail};
use godwit::qemu::{Console, Machine, MachineOptions};
use image::guest::{Guest, Program};
use image::{ImageRequest, Kernel, build_guest, build_image, workspace};

/// Where the guest is linked to run (`guest/runtime/guest.ld`).
pub(super) const LOAD_ADDRESS: u64 = 0x4400_0000;

/// How long a board may keep silent before the run has failed.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a nanosecond is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// An instruction.
    Instructions,
    /// A nanosecond.
    Wall,
}

/// One operation's figures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// The operation.
    pub(crate) name: String,
    /// Average, in ns or instructions.
    pub(crate) average: f64,
    /// The longest, where it was measured by itself; else zero.
    pub(crate) longest: u64,
}

/// Runs the guest on `kernel`; every operation it reports.
pub(crate) fn measure(kernel: Kernel, time: Time, count: u64) -> anyhow::Result<Vec<Figure>> {
    let file = build_guest(&workspace()?, "bench")?;
    let image = build_image(&ImageRequest {
        name: format!("bench-{kernel}"),
        transient: true,
        kernel,
        guest: Some(Guest {
            program: Program::Flat {
                file,
                load: LOAD_ADDRESS,
                tree: None,
            },
            vcpus: 2,
            arguments: format!("count={count}"),
            seeds: None,
        }),
        ..ImageRequest::default()
    })?;
    let extra: &[&str] = match time {
        Time::Instructions => &["-icount", "shift=0,sleep=off"],
        Time::Wall => &[],
    };
    let socket = std::env::temp_dir().join(format!("godwit-bench-{}", std::process::id()));
    let mut machine = Machine::start(MachineOptions {
        name: format!("bench on {kernel}"),
        image,
        console: Console::Socket(socket),
        console_log: None,
        link: None,
        icount: false,
        extra: extra.iter().map(|&argument| argument.to_owned()).collect(),
    })?;
    let console = machine
        .connect_console(TIMEOUT)
        .context("the board has no console")??;
    console.set_read_timeout(Some(TIMEOUT))?;
    collect(BufReader::new(console))
}

fn collect(console: impl BufRead) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for line in console.split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("the board is silent")?).into_owned();
        let Some(line) = line.trim_end().strip_prefix("bench: ").map(str::to_owned) else {
            continue;
        };
        if line == "done" {
            return Ok(figures);
        }
        figures.push(figure(&line).with_context(|| format!("the guest says: {line}"))?);
    }
    bail!("the board ended before the benchmark did")
}

/// Reads `name=… count=… ns_per_op=… max_ns=…`.
fn figure(line: &str) -> Option<Figure> {
    let field = |name: &str| {
        line.split(' ')
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
    };
    Some(Figure {
        name: field("name")?.1.to_owned(),
        average: field("ns_per_op")?.1.parse().ok()?,
        longest: field("max_ns")?.1.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_among_everything_else() {
        let console = "boot messages\r\n\
             bench: name=hypercall count=5 ns_per_op=2600.5 max_ns=0\r\n\
             bench: name=ipi count=5 ns_per_op=48000.0 max_ns=51000\r\n\
             bench: done\r\nbench: name=late count=1 ns_per_op=1.0 max_ns=0\r\n";
        let figures = collect(console.as_bytes()).unwrap();
        assert_eq!(figures.len(), 2);
        assert_eq!(figures[0].name, "hypercall");
        assert!((figures[0].average - 2600.5).abs() < 1e-9);
        assert_eq!(figures[1].longest, 51_000);
    }

    #[test]
    fn a_failure_of_the_guest_is_an_error() {
        assert!(collect(&b"bench: FAILED, exception at vector 4\n"[..]).is_err());
        assert!(collect(&b"bench: name=eoi count=5 ns_per_op=3.0 max_ns=0\n"[..]).is_err());
    }
}
