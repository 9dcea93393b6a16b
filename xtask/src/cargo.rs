// SPDX-License-Identifier: BSD-2-Clause
//! Running cargo: output goes through to the terminal, and test results are counted on the way.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::tally::Results;
use crate::workspace::{self, BARE_PROFILE, BARE_TARGET, LINUX_TARGET, Program};

/// Runs cargo with `arguments`; whether it succeeded.
pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<bool> {
    run_with(&[], arguments)
}

/// Runs cargo with `arguments`, and with what the environment is to have besides; whether it succeeded.
pub(crate) fn run_with(environment: &[(&str, &str)], arguments: &[&str]) -> anyhow::Result<bool> {
    let status = command(arguments)
        .envs(environment.iter().copied())
        .status()
        .with_context(|| format!("cannot run cargo {}", arguments.join(" ")))?;
    Ok(status.success())
}

/// What cargo with `arguments` writes to its standard output.
pub(crate) fn output(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = command(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run cargo {}", arguments.join(" ")))?;
    ensure!(
        output.status.success(),
        "cargo {} failed",
        arguments.join(" ")
    );
    Ok(output.stdout)
}

/// Whether cargo has this command, which is a program of its own.
pub(crate) fn has(command_name: &str) -> bool {
    command(&[command_name, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a cargo command for a program without an operating system.
pub(crate) fn for_bare(command: &str, program: &Program, last: &[&str]) -> anyhow::Result<bool> {
    let features = program.features.join(",");
    let first = [
        command,
        "--quiet",
        "--package",
        program.package,
        "--features",
        &features,
    ];
    let target = ["--target", BARE_TARGET, "--profile", BARE_PROFILE];
    run(&[&first[..], &target, last].concat())
}

/// Runs a cargo command for a program of the Linux guest.
pub(crate) fn for_linux(command: &str, package: &str, last: &[&str]) -> anyhow::Result<bool> {
    let first = [
        command,
        "--quiet",
        "--release",
        "--package",
        package,
        "--target",
        LINUX_TARGET,
    ];
    run(&[&first[..], last].concat())
}

/// Runs cargo with `arguments`, which end in tests; what they said.
pub(crate) fn test(arguments: &[&str]) -> anyhow::Result<Results> {
    let mut child = command(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run cargo {}", arguments.join(" ")))?;
    let output = child.stdout.take().context("cargo's output is not there")?;
    let mut results = Results::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        // Nobody listening is no reason to stop.
        let _ = writeln!(std::io::stdout(), "{line}");
        results.read(&line);
    }
    results.exit(child.wait()?.success());
    Ok(results)
}

fn command(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .current_dir(workspace::root())
        .stdin(Stdio::null());
    // Tests run in directories of their own.
    for name in ["MICROKIT_SDK", "RUST_SEL4"] {
        if let Some(path) = std::env::var_os(name).and_then(|path| std::path::absolute(path).ok()) {
            command.env(name, path);
        }
    }
    command
}
