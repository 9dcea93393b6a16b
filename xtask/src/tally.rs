// SPDX-License-Identifier: BSD-2-Clause
//! Counting: what libtest prints, and checks of our own.

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Numbers of tests, and the names of those that failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed, by name.
    pub(crate) failed: Vec<String>,
}

impl Results {
    /// One check under the name `name`.
    pub(crate) fn check(name: &str, passed: bool) -> Self {
        let mut results = Self::default();
        if passed {
            results.passed = 1;
        } else {
            results.failed.push(name.to_owned());
        }
        results
    }

    /// Adds a check.
    pub(crate) fn add(&mut self, name: &str, passed: bool) {
        let Self {
            passed: count,
            failed,
        } = Self::check(name, passed);
        self.passed += count;
        self.failed.extend(failed);
    }

    /// Takes in one line of libtest's output.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += passed_in(result);
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            self.failed.push(name.to_owned());
        }
    }

    /// Takes in how the process ended: one that failed without a failed test did not get as far as testing.
    pub(crate) fn exit(&mut self, success: bool) {
        if !success && self.failed.is_empty() {
            self.failed
                .push("the test program does not build, or ended early".to_owned());
        }
    }
}

/// The number before ` passed` in `ok. 3 passed; 0 failed; …`.
fn passed_in(result: &str) -> u64 {
    result
        .split(';')
        .next()
        .and_then(|part| part.strip_suffix(" passed"))
        .and_then(|part| part.rsplit(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// All results, by step.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    steps: Vec<(String, Results, Duration)>,
}

impl Tally {
    /// Adds a step.
    fn add(&mut self, step: &str, results: Results, time: Duration) {
        self.steps.push((step.to_owned(), results, time));
    }

    /// Prints the report, and says how the program ends.
    pub(crate) fn conclude(&self) -> ExitCode {
        println!("\n{}", self.report());
        if self.ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Whether nothing failed, and something passed.
    fn ok(&self) -> bool {
        self.failed() == 0 && self.passed() > 0
    }

    fn passed(&self) -> u64 {
        self.steps
            .iter()
            .map(|(_, results, _)| results.passed)
            .sum()
    }

    fn failed(&self) -> usize {
        self.steps
            .iter()
            .map(|(_, results, _)| results.failed.len())
            .sum()
    }

    /// Each step's numbers, each failure's name, and the sum as the last line.
    fn report(&self) -> String {
        let mut text = String::new();
        for (step, results, time) in &self.steps {
            let Results { passed, failed } = results;
            let seconds = time.as_secs();
            text.push_str(&format!(
                "{step}: {passed} passed, {} failed ({seconds} s)\n",
                failed.len()
            ));
            for name in failed {
                text.push_str(&format!("    failed: {name}\n"));
            }
        }
        text.push_str(&format!(
            "{} passed, {} failed",
            self.passed(),
            self.failed()
        ));
        text
    }
}

/// Runs a step, under its name, and adds it.
pub(crate) fn step(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str, success: bool) -> Results {
        let mut results = Results::default();
        lines.lines().for_each(|line| results.read(line));
        results.exit(success);
        results
    }

    #[test]
    fn libtest_output_is_counted_over_several_programs() {
        let results = read(
            "running 2 tests\n\
             test boots ... ok\n\
             test moves::twice ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
             test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            false,
        );
        assert_eq!(results.passed, 13);
        assert_eq!(results.failed, ["moves::twice"]);
    }

    #[test]
    fn a_program_that_dies_without_a_result_counts_as_a_failure() {
        assert_eq!(read("error: could not compile", false).failed.len(), 1);
        assert_eq!(read("", true), Results::default());
    }

    #[test]
    fn the_last_line_is_the_sum() {
        let mut tally = Tally::default();
        tally.add("a", Results::check("x", true), Duration::ZERO);
        assert!(tally.ok());
        tally.add("b", Results::check("y", false), Duration::ZERO);
        assert!(!tally.ok());
        assert_eq!(tally.report().lines().last(), Some("1 passed, 1 failed"));
        assert!(tally.report().contains("failed: y"));
    }

    #[test]
    fn nothing_tested_is_not_ok() {
        assert!(!Tally::default().ok());
    }
}
