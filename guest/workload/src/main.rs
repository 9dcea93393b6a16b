// SPDX-License-Identifier: BSD-2-Clause
//! The Linux guest's workload: programs that would notice any loss of state.
//!
//! Responsible for keeping a guest busy with work whose every result is known in advance, and for saying on the
//! console, when asked, whether all of it came out right: a clock that only goes forwards, FP/SIMD registers that keep
//! their values, memory that holds what was written, sleeps that last as long as they should, a conversation between
//! two processes that loses no word. Never: knows that it is being moved, or tolerates a wrong result.
//!
//! The console's commands are in [`console`]; the checks under [`checks`], a file each. Options come from the kernel's
//! command line ([`options`]).

mod checks;
mod commands;
mod console;
mod hardware;
mod options;

mod worker;

use std::process::ExitCode;

use options::Options;

/// The argument with which the workload starts itself as the other end of the pipe.
const ECHO_ARGUMENT: &str = "pipe-echo";

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some(ECHO_ARGUMENT) {
        return Ok(checks::pipe::echo());
    }
    let options = Options::from_command_line(&std::fs::read_to_string("/proc/cmdline")?)?;
    let context = checks::start(&options)?;
    Ok(commands::serve(context))
}
