// SPDX-License-Identifier: BSD-2-Clause
//! What this machine has to have: programs, packages, Rust's targets.
//!
//! Responsible for: naming what is needed, and passing on what `setup/bring` says, which knows what that means and how to
//! get it. Never: installs anything itself.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{PrepareError, Result};

/// What `setup/bring` takes for a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Building programs for boards.
    Image,
    /// Debian's packages for a guest, and building our workload for it.
    Debian,
    /// Running boards in QEMU.
    Run,
    /// Lints and formatting.
    Check,
    /// All that `cargo demo` needs.
    Demo,
    /// All that `cargo xtask test` needs.
    Test,
}

impl Need {
    const fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Debian => "debian",
            Self::Run => "run",
            Self::Check => "check",
            Self::Demo => "demo",
            Self::Test => "test",
        }
    }
}

/// What the script puts in front of what it says itself; other lines belong to the one before.
const MARK: &str = "godwit: ";

/// Has what is missing installed, where that is possible. `report` hears of each step.
///
/// # Errors
///
/// Something is missing still; the error says what to do.
pub fn prerequisites(root: &Path, needs: &[Need], report: &dyn Fn(&str)) -> Result<()> {
    let mut command = Command::new(root.join("setup/bring"));
    command.args(needs.iter().map(|need| need.name()));
    said(&mut command, report)
}

fn said(command: &mut Command, report: &dyn Fn(&str)) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| super::file(Path::new(&program), source);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
    // The last thing that it says is a step or, if it fails, the reason.
    let mut last: Option<String> = None;
    let lines = child
        .stderr
        .take()
        .into_iter()
        .flat_map(|stderr| BufReader::new(stderr).lines());
    for line in lines.map_while(std::io::Result::ok) {
        match (line.strip_prefix(MARK), &mut last) {
            (Some(text), last) => {
                if let Some(step) = last.replace(text.to_owned()) {
                    report(&step);
                }
            }
            (None, Some(last)) => *last += &format!("\n{line}"),
            (None, last) => *last = Some(line),
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        last.iter().for_each(|step| report(step));
        return Ok(());
    }
    let message = last.unwrap_or_else(|| format!("{program} failed ({status})"));
    Err(PrepareError::Missing { message })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::prepare::WORKLOAD_TARGET;
    use crate::{TARGET, workspace};

    fn run(script: &str) -> (Result<()>, Vec<String>) {
        let steps = RefCell::<Vec<String>>::default();
        let report = |step: &str| steps.borrow_mut().push(step.to_owned());
        let result = said(Command::new("sh").args(["-c", script]), &report);
        (result, steps.into_inner())
    }

    #[test]
    fn steps_are_reported_and_the_last_word_of_a_failure_is_the_error() {
        let (result, steps) = run("echo godwit: one >&2; echo godwit: two >&2");
        assert!(
            result.is_ok() && steps == ["one", "two"],
            "{result:?} {steps:?}"
        );
        let (result, steps) =
            run("echo godwit: one >&2; echo 'godwit: type this:' >&2; echo '  x y' >&2; exit 1");
        assert_eq!(result.unwrap_err().to_string(), "type this:\n  x y");
        assert_eq!(steps, ["one"]);
        assert!(
            run("exit 3")
                .0
                .unwrap_err()
                .to_string()
                .contains("exit status: 3")
        );
    }

    #[test]
    fn the_script_brings_the_targets_that_are_built_for() {
        let script = std::fs::read_to_string(workspace().unwrap().join("setup/bring")).unwrap();
        let added = |target: &str| script.contains(&format!("targets+=({target})"));
        assert!(added(TARGET) && added(WORKLOAD_TARGET));
    }
}
