// SPDX-License-Identifier: BSD-2-Clause
//! The operator's program once more, for tests that start it from a shell: a test finds the programs of its own package.

use std::process::ExitCode;

fn main() -> ExitCode {
    godwit::cli::main()
}
