// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask lint`: all that is checked of the source without running it. The test command begins with the same steps.

use std::process::ExitCode;

use anyhow::Context as _;
use image::prepare::{self, Need};

use crate::cargo::{self, for_bare, for_linux};
use crate::tally::{Results, Tally, step};
use crate::workspace::{BARE_TARGET, LINUX, LINUX_TARGET, programs, root, target_directory};

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
///
/// cargo-deny would ask a network for the crates of every system that there is; those of our targets are here.
fn dependencies() -> anyhow::Result<Results> {
    if !cargo::has("deny") {
        println!("cargo deny: skipped, it is not installed (cargo install --locked cargo-deny)");
        return Ok(Results::default());
    }
    let metadata = target_directory().join("metadata.json");
    let targets = ["host-tuple", BARE_TARGET, LINUX_TARGET];
    let mut arguments = vec![
        "metadata",
        "--offline",
        "--all-features",
        "--format-version=1",
    ];
    arguments.extend(
        targets
            .iter()
            .flat_map(|target| ["--filter-platform", target]),
    );
    std::fs::write(&metadata, cargo::output(&arguments)?)
        .with_context(|| format!("cannot write {}", metadata.display()))?;
    let metadata = metadata.to_string_lossy();
    let offline = ["--offline", "--metadata-path", &metadata];
    let what = ["check", "bans", "licenses", "sources"];
    let check = [&offline[..], &what].concat();
    // Its log reports crates that it cannot fetch and does not need, but also why a check failed: only that is shown.
    let silent = [&["deny", "--log-level", "off"], &check[..]].concat();
    let passed = cargo::run(&silent)? || cargo::run(&[&["deny"], &check[..]].concat())?;
    Ok(Results::check(
        "cargo deny check bans licenses sources",
        passed,
    ))
}
