// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask docs`: writes anew what is generated of the documents. Tests say when that has to be done.

use std::process::ExitCode;

use anyhow::ensure;
use image::prepare::{self, Need};

use crate::cargo;
use crate::workspace::root;

/// What the tests that compare a document with its source look for, to write it instead.
const UPDATE: (&str, &str) = ("GODWIT_UPDATE_DOCS", "1");

/// A document, and what cargo has to run for it.
const DOCUMENTS: [(&str, &[&str]); 3] = [
    (
        "docs/state.md",
        &["test", "--quiet", "--package", "state", "documentation"],
    ),
    (
        "docs/boards.md",
        &[
            "test",
            "--quiet",
            "--package",
            "image",
            "--test",
            "boards",
            "documentation",
        ],
    ),
    // It ends with a failure if the policy is violated.
    (
        "docs/isolation.md and docs/isolation.svg",
        &[
            "run",
            "--quiet",
            "--release",
            "--package",
            "godwit",
            "--",
            "isolation",
            "--update",
        ],
    ),
];

/// Writes them all.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    prepare::prerequisites(root(), &[Need::Image], &|step| println!("{step}"))?;
    for (name, arguments) in DOCUMENTS {
        println!("\n== {name}");
        let written = cargo::run_with(&[UPDATE], arguments)?;
        ensure!(written, "{name}: cargo {} failed", arguments.join(" "));
    }
    Ok(ExitCode::SUCCESS)
}
