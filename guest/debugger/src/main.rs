// SPDX-License-Identifier: BSD-2-Clause
//! A program that does to its own child, or to its own system, what debuggers and profilers do: as often as it is told.
//!
//! `debugger WHAT COUNT`:
//!
//! * `steps`: `PTRACE_SINGLESTEP`, as `gdb`'s `stepi`, of a child that makes no system calls, at whose ends Linux itself
//!   reports a step. A machine that keeps single steps from its guest lets the child run on; it is then stopped by a
//!   signal, as somebody at a terminal would;
//! * `breakpoints`: a `BRK` in the child's code, which it runs into;
//! * `hardware`: a hardware breakpoint there (`NT_ARM_HW_BREAK`);
//! * `system-calls`: `PTRACE_SYSCALL`, as `strace`;
//! * `counters`: `perf_event_open(2)`, one counter of the kernel's and one of the processor's;
//! * `kernel-breakpoints`: a kprobe, whose `BRK` is in the kernel's code;
//! * `warnings`: a `WARN` of the kernel's, which is a `BRK` as well.
//!
//! Each answers a line `debugger: WHAT name=N …`, and ends with status 0 if what was counted is what has to be on any
//! machine. Whether steps and hardware breakpoints stop the child is for whoever reads the line.

// The child's registers are AArch64's.
#[cfg(target_arch = "aarch64")]
mod child;
#[cfg(target_arch = "aarch64")]
mod counters;
#[cfg(target_arch = "aarch64")]
mod kernel;
#[cfg(target_arch = "aarch64")]
mod trace;

use std::process::ExitCode;

use anyhow::bail;

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("debugger: {line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("debugger: FAILED, {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_arch = "aarch64"))]
fn run() -> anyhow::Result<String> {
    bail!("this is a program for AArch64")
}

#[cfg(target_arch = "aarch64")]
fn run() -> anyhow::Result<String> {
    use anyhow::Context as _;

    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().context("what is to be done?")?;
    if what == child::ARGUMENT {
        child::run(arguments.next().as_deref() == Some(child::BUSY));
    }
    let count = arguments.next().context("how often?")?;
    let count = count
        .parse()
        .with_context(|| format!("how often: {count}"))?;
    match what.as_str() {
        "steps" => trace::steps(count),
        "breakpoints" => trace::breakpoints(count),
        "hardware" => trace::hardware_breakpoint(),
        "system-calls" => trace::system_calls(count),
        "counters" => counters::measure(count),
        "kernel-breakpoints" => kernel::breakpoints(count),
        "warnings" => kernel::warnings(count),
        _ => bail!("{what} is nothing that this program does"),
    }
}
