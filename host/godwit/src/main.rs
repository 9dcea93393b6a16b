//! The operator's program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    godwit::cli::main()
}
