// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask test`: everything, in the order in which a mistake is found soonest.
//!
//! A step that fails does not keep the others from running. The last line is `N passed, N failed` over all steps;
//! a formatting run, a lint run, a cross build and a size limit count as one test each.

use std::process::ExitCode;

use clap::Args;
use image::prepare::{self, Need};

use crate::cargo::{self, for_bare, for_linux};
use crate::lint;
use crate::size;
use crate::tally::{Results, Tally, step};
use crate::workspace::{ALONE, LINUX, NO_SDK, SYSTEM_TESTS, microkit_sdk, programs, root};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what needs no QEMU.
    #[arg(long)]
    host: bool,
    /// Only the system tests in QEMU: those whose names contain one of these, or all.
    #[arg(long, value_name = "NAME", num_args = 0.., conflicts_with_all = ["host", "filter"])]
    system: Option<Vec<String>>,
    /// System tests at a time, but for those that want the machine to themselves. An emulated board waits as often as it
    /// computes, so that an otherwise idle machine with two processors has time for two.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Runs the steps; success if nothing failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let needs: &[_] = if options.host {
        &[Need::Image, Need::Debian, Need::Check]
    } else {
        &[Need::Test]
    };
    prepare::prerequisites(root(), needs, &|step| println!("{step}"))?;
    let mut tally = Tally::default();
    if options.system.is_none() {
        lint::steps(&mut tally)?;
        step(&mut tally, "host tests", || host_tests(options))?;
        step(&mut tally, "cross builds", cross_builds)?;
    }
    if !options.host {
        step(&mut tally, "system tests", || system_tests(options))?;
    }
    Ok(tally.conclude())
}

fn host_tests(options: &Options) -> anyhow::Result<Results> {
    let mut arguments = vec![
        "test",
        "--workspace",
        "--exclude",
        SYSTEM_TESTS,
        "--no-fail-fast",
    ];
    arguments.extend(options.filter.as_deref());
    if microkit_sdk().is_none() {
        println!("seL4's numbers: not compared, {NO_SDK}");
    }
    if !has_device_trees() {
        println!(
            "boards' device trees: not compared, none in $GODWIT_DEVICE_TREES or /usr/lib/linux-image-*"
        );
    }
    cargo::test(&arguments)
}

/// Whether there may be device trees to hold the boards' files against, as `host/image/tests/boards.rs` looks for them.
fn has_device_trees() -> bool {
    let installed = || {
        std::fs::read_dir("/usr/lib")
            .into_iter()
            .flatten()
            .flatten()
    };
    let is_kernel = |name: std::ffi::OsString| name.to_string_lossy().starts_with("linux-image-");
    std::env::var_os("GODWIT_DEVICE_TREES").is_some()
        || installed().any(|entry| is_kernel(entry.file_name()))
}

/// Builds what does not run on the host, and sees how large it is. A program at a time: features that one of them
/// switches on in a shared crate must not reach another.
fn cross_builds() -> anyhow::Result<Results> {
    let mut results = Results::default();
    for program in &programs()? {
        let built = for_bare("build", program, &[])?;
        results.add(&format!("build of {program}"), built);
        if let (true, Some(limit)) = (built, program.limit) {
            let size = size::loaded(program)?;
            println!("{program}: {size} of {limit} bytes");
            let name = format!("{program} has {size} bytes, more than {limit}");
            results.add(&name, size < limit);
        }
    }
    for package in LINUX {
        results.add(
            &format!("build of {package}"),
            for_linux("build", package, &[])?,
        );
    }
    Ok(results)
}

/// Tests that need seL4 are those with `sel4` in their name, those that need rust-sel4 have `upstream` there too.
fn system_tests(options: &Options) -> anyhow::Result<Results> {
    let mut skipped = Vec::new();
    match microkit_sdk() {
        Some(sdk) => println!("seL4: with the Microkit SDK in {}", sdk.display()),
        None => {
            println!("seL4: skipped, {NO_SDK}");
            skipped.push("sel4");
        }
    }
    if std::env::var_os("RUST_SEL4").is_none() {
        println!("rust-sel4's own crates: skipped, RUST_SEL4 names no checkout");
        skipped.push("upstream");
    }
    let jobs = options.jobs;
    let names = options.system.iter().flatten().chain(&options.filter);
    let wanted: Vec<&str> = names.map(String::as_str).collect();
    if jobs == 1 || !wanted.is_empty() {
        return system_tests_with(jobs, &wanted, &skipped);
    }
    let together = [&skipped[..], &ALONE].concat();
    let mut results = system_tests_with(jobs, &[], &together)?;
    let alone = system_tests_with(1, &ALONE, &skipped)?;
    results.passed += alone.passed;
    results.failed.extend(alone.failed);
    Ok(results)
}

/// So many at a time of those whose names contain one of `wanted`, or of all, and none of `skipped`.
fn system_tests_with(jobs: usize, wanted: &[&str], skipped: &[&str]) -> anyhow::Result<Results> {
    let jobs = format!("--test-threads={jobs}");
    let mut arguments = vec!["test", "--package", SYSTEM_TESTS, "--no-fail-fast", "--"];
    arguments.push(&jobs);
    arguments.extend(wanted);
    arguments.extend(skipped.iter().flat_map(|name| ["--skip", name]));
    cargo::test(&arguments)
}
