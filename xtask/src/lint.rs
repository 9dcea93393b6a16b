// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask lint`: all that is checked of the source without running it. The test command begins with the same steps.

use std::process::ExitCode;

use image::prepare::{self, Need};

use crate::cargo::{self, for_bare, for_linux};
use crate::tally::{Results, Tally, step};
use crate::workspace::{LINUX, programs, root};

/// Runs the steps; success if nothing failed.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let needs = [Need::Image, Need::Debian, Need::Check];
    prepare::prerequisites(root(), &needs, &|step| println!("{step}"))?;
    let mut tally = Tally::default();
    steps(&mut tally)?;
    Ok(tally.conclude())
}

/// Formatting, lints, and what the crates that we use may be.
pub(crate) fn steps(tally: &mut Tally) -> anyhow::Result<()> {
    step(tally, "formatting", format)?;
    step(tally, "lints", lints)?;
    step(tally, "dependencies", dependencies)
}

fn format() -> anyhow::Result<Results> {
    Ok(Results::check(
        "cargo fmt --all --check",
        cargo::run(&["fmt", "--all", "--check"])?,
    ))
}

fn lints() -> anyhow::Result<Results> {
    let deny = ["--", "-D", "warnings"];
    let mut results = Results::default();
    let host = ["clippy", "--quiet", "--workspace", "--all-targets"];
    let passed = cargo::run(&[&host[..], &deny].concat())?;
    results.add("clippy for the host", passed);
    for program in &programs()? {
        let passed = for_bare("clippy", program, &deny)?;
        results.add(&format!("clippy of {program}"), passed);
    }
    for package in LINUX {
        let passed = for_linux("clippy", package, &deny)?;
        results.add(&format!("clippy of {package}"), passed);
    }
    let flags = "build.rustdocflags=['-D', 'warnings']";
    let documentation = ["doc", "--quiet", "--workspace", "--no-deps"];
    let passed = cargo::run(&[&documentation[..], &["--config", flags]].concat())?;
    results.add("cargo doc", passed);
    Ok(results)
}

/// Holds the crates that we use against `deny.toml`.
fn dependencies() -> anyhow::Result<Results> {
    if !cargo::has("deny") {
        println!("cargo deny: skipped, it is not installed (cargo install --locked cargo-deny)");
        return Ok(Results::default());
    }
    let what = ["bans", "licenses", "sources"];
    // What was fetched for building is enough, and there may be no network.
    let passed = cargo::run(&[&["deny", "--offline", "check"], &what[..]].concat())?;
    Ok(Results::check(
        "cargo deny check bans licenses sources",
        passed,
    ))
}
