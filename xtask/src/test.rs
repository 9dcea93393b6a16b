// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask test`: everything, in the order in which a mistake is found soonest.
//!
//! A step that fails does not keep the others from running. The last line is `N passed, N failed` over all steps;
//! a formatting run, a lint run, a cross build and a size limit count as one test each.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use image::prepare::{self, Need};

use crate::cargo;
use crate::size;
use crate::tally::{Results, Tally};
use crate::workspace::{
    ALONE, BARE_PROFILE, BARE_TARGET, LINUX, LINUX_TARGET, NO_SDK, Program, SYSTEM_TESTS,
    microkit_sdk, programs, root,
};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only what needs no QEMU.
    #[arg(long)]
    host_only: bool,
    /// Only the system tests in QEMU.
    #[arg(long, conflicts_with = "host_only")]
    system_only: bool,
    /// System tests at a time, but for those that want the machine to themselves. An emulated board waits as often as it
    /// computes, so that an otherwise idle machine with two processors has time for two.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Runs the steps; success if nothing failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let needs: &[_] = if options.host_only {
        &[Need::Image, Need::Debian, Need::Check]
    } else {
        &[Need::Test]
    };
    prepare::prerequisites(root(), needs, &|step| println!("{step}"))?;
    let mut tally = Tally::default();
    if !options.system_only {
        step(&mut tally, "formatting", format)?;
        step(&mut tally, "lints", lints)?;
        step(&mut tally, "host tests", || host_tests(options))?;
        step(&mut tally, "cross builds", cross_builds)?;
    }
    if !options.host_only {
        step(&mut tally, "system tests", || system_tests(options))?;
    }
    println!("\n{}", tally.report());
    Ok(if tally.ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn step(
    tally: &mut Tally,
    name: &str,
    run: impl FnOnce() -> anyhow::Result<Results>,
) -> anyhow::Result<()> {
    println!("\n== {name}");
    let start = Instant::now();
    let results = run()?;
    tally.add(name, results, start.elapsed());
    Ok(())
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
    add(
        &mut results,
        "clippy for the host",
        cargo::run(&[&host[..], &deny].concat())?,
    );
    for program in &programs()? {
        add(
            &mut results,
            &format!("clippy of {program}"),
            for_bare("clippy", program, &deny)?,
        );
    }
    for package in LINUX {
        add(
            &mut results,
            &format!("clippy of {package}"),
            for_linux("clippy", package, &deny)?,
        );
    }
    let flags = "build.rustdocflags=['-D', 'warnings']";
    let documentation = ["doc", "--quiet", "--workspace", "--no-deps"];
    add(
        &mut results,
        "cargo doc",
        cargo::run(&[&documentation[..], &["--config", flags]].concat())?,
    );
    Ok(results)
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
        add(&mut results, &format!("build of {program}"), built);
        if let (true, Some(limit)) = (built, program.limit) {
            let size = size::loaded(program)?;
            println!("{program}: {size} of {limit} bytes");
            add(
                &mut results,
                &format!("{program} has {size} bytes, more than {limit}"),
                size < limit,
            );
        }
    }
    for package in LINUX {
        add(
            &mut results,
            &format!("build of {package}"),
            for_linux("build", package, &[])?,
        );
    }
    Ok(results)
}

/// Runs a cargo command for a program without an operating system.
fn for_bare(command: &str, program: &Program, last: &[&str]) -> anyhow::Result<bool> {
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
    cargo::run(&[&first[..], &target, last].concat())
}

/// Runs a cargo command for a program of the Linux guest.
fn for_linux(command: &str, package: &str, last: &[&str]) -> anyhow::Result<bool> {
    let first = [
        command,
        "--quiet",
        "--release",
        "--package",
        package,
        "--target",
        LINUX_TARGET,
    ];
    cargo::run(&[&first[..], last].concat())
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
    let (jobs, filter) = (options.jobs, options.filter.as_deref());
    if jobs == 1 || filter.is_some() {
        return system_tests_with(jobs, filter.as_slice(), &skipped);
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

fn add(results: &mut Results, name: &str, passed: bool) {
    let Results {
        passed: count,
        failed,
    } = Results::check(name, passed);
    results.passed += count;
    results.failed.extend(failed);
}
