// SPDX-License-Identifier: BSD-2-Clause
//! What a Linux guest says of its interrupts.

use anyhow::Context as _;

/// How often the interrupt named `name` was taken on all CPUs, from `/proc/interrupts` (proc(5)): one column a CPU, then
/// the controller's and the device's names.
///
/// # Errors
///
/// There is no line with that name, or no count in it.
pub fn count(table: &str, name: &str) -> anyhow::Result<u64> {
    let line = table
        .lines()
        .find(|line| line.split_whitespace().any(|word| word == name))
        .with_context(|| format!("no {name} in:\n{table}"))?;
    let counts: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    anyhow::ensure!(!counts.is_empty(), "no counts in: {line}");
    Ok(counts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "           CPU0       CPU1\n \
          11:       1042        993     GICv2  27 Level     arch_timer\n \
          13:         85          0     GICv2  33 Level     uart-pl011\n\
        IPI0:         12         34       Rescheduling interrupts\n";

    #[test]
    fn counts_of_all_cpus_are_added_up() {
        assert_eq!(count(TABLE, "arch_timer").unwrap(), 2035);
        assert_eq!(count(TABLE, "uart-pl011").unwrap(), 85);
        assert_eq!(count(TABLE, "IPI0:").unwrap(), 46);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let error = count(TABLE, "virtio0").unwrap_err().to_string();
        assert!(error.contains("virtio0") && error.contains("arch_timer"));
        assert!(count("1: arch_timer", "arch_timer").is_err());
    }
}
