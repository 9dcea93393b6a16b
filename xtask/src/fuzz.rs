// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask fuzz`: the decoders against as many bytes as one likes, in the two ways of `docs/fuzzing.md`.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::cargo;
use crate::workspace::root;

/// How to fuzz.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Changes good inputs so many times, without libFuzzer.
    #[arg(long, conflicts_with_all = ["targets", "seconds", "sanitizer"])]
    runs: Option<u64>,
    /// Draws other changes; with --runs.
    #[arg(long, default_value_t = 1, requires = "runs")]
    seed: u64,
    /// How long libFuzzer tries each decoder.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What libFuzzer watches besides; anything but none wants `cargo +nightly xtask`.
    #[arg(long, default_value = "none")]
    sanitizer: String,
    /// The decoders, by their names in docs/fuzzing.md; without any, all.
    targets: Vec<String>,
}

/// Fuzzes; success if every promise was kept.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(runs) = options.runs {
        let (runs, seed) = (runs.to_string(), options.seed.to_string());
        let environment = [("GODWIT_FUZZ_RUNS", &*runs), ("GODWIT_FUZZ_SEED", &*seed)];
        let kept = cargo::run_with(&environment, &["test", "--package", "decoders"])?;
        return Ok(ExitCode::from(u8::from(!kept)));
    }
    ensure!(
        cargo::has("fuzz"),
        "cargo-fuzz is not installed: cargo install cargo-fuzz, or do without it, with --runs 100000"
    );
    let known = targets()?;
    let unknown = options.targets.iter().find(|name| !known.contains(name));
    ensure!(
        unknown.is_none(),
        "there is no decoder {}, but {}",
        unknown.map_or("", String::as_str),
        known.join(", ")
    );
    let wanted = match options.targets.as_slice() {
        [] => &known,
        named => named,
    };
    let good_inputs = [
        "run",
        "--quiet",
        "--package",
        "decoders",
        "--example",
        "corpus",
    ];
    ensure!(
        cargo::run(&good_inputs)?,
        "there are no good inputs to begin with"
    );
    let limit = format!("-max_total_time={}", options.seconds);
    for target in wanted {
        println!("\n== {target}");
        let fuzz = [
            "fuzz",
            "run",
            "--sanitizer",
            &options.sanitizer,
            target,
            "--",
            &limit,
        ];
        ensure!(
            cargo::run(&fuzz)?,
            "{target}: a promise was broken, see above"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of libFuzzer's programs.
fn targets() -> anyhow::Result<Vec<String>> {
    let directory = root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_decoder_of_the_documents_has_a_program() {
        let text = std::fs::read_to_string(super::root().join("docs/fuzzing.md")).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut documented: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        documented.sort_unstable();
        assert_eq!(super::targets().unwrap(), documented);
    }
}
