// SPDX-License-Identifier: BSD-2-Clause
//! What the kernel's command line asks of the workload.
//!
//! `godwit.style=words|lines|quiet` how ticks look on the console, `godwit.writer_mib=N` how much memory is rewritten,
//! `godwit.writer_rate=N` how fast (MiB/s; 0 is as fast as it goes), `godwit.seed=N` for every pattern.

use std::str::FromStr;

use anyhow::{Context, bail};

use crate::console::Style;

/// Everything that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// How ticks look on the console.
    pub(crate) style: Style,
    /// Memory that is rewritten and verified, in MiB.
    pub(crate) writer_mib: usize,
    /// How much of it is rewritten in a second, in MiB; 0 for as much as the CPU manages.
    pub(crate) writer_rate: u64,
    /// From which every pattern is derived.
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            style: Style::Words,
            writer_mib: 8,
            writer_rate: 0,
            seed: 0x676f_6477_6974,
        }
    }
}

impl Options {
    /// Reads the arguments that begin with `godwit.` and are the workload's.
    pub(crate) fn from_command_line(line: &str) -> anyhow::Result<Self> {
        let mut options = Self::default();
        for argument in line.split_whitespace() {
            let Some((name, value)) = argument
                .strip_prefix("godwit.")
                .and_then(|argument| argument.split_once('='))
            else {
                continue;
            };
            match name {
                "style" => options.style = value.parse()?,
                "writer_mib" => options.writer_mib = number(argument, value)?,
                "writer_rate" => options.writer_rate = number(argument, value)?,
                "seed" => options.seed = number(argument, value)?,
                _ => {}
            }
        }
        if options.writer_mib == 0 {
            bail!("godwit.writer_mib=0: there must be something to rewrite");
        }
        Ok(options)
    }
}

fn number<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    argument: &str,
    value: &str,
) -> anyhow::Result<T> {
    value
        .parse()
        .with_context(|| format!("{argument}: not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_picked_out_of_a_kernel_command_line() {
        let line = "console=ttyAMA0 godwit.mode=workload godwit.style=lines godwit.seed=7 godwit.writer_rate=16 quiet";
        let options = Options::from_command_line(line).unwrap();
        assert_eq!(
            options,
            Options {
                style: Style::Lines,
                seed: 7,
                writer_rate: 16,
                ..Options::default()
            }
        );
    }

    #[test]
    fn a_value_that_is_not_understood_is_an_error() {
        for line in ["godwit.style=loud", "godwit.seed=x", "godwit.writer_mib=0"] {
            assert!(Options::from_command_line(line).is_err(), "{line}");
        }
    }
}
