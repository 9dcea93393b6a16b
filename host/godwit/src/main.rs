// SPDX-License-Identifier: BSD-2-Clause
//! The operator's program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    godwit::cli::main()
}
