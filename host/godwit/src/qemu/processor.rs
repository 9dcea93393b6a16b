// SPDX-License-Identifier: BSD-2-Clause
//! What a process costs the host.

use std::io;
use std::time::Duration;

/// Processor time of a process so far: fields 14 and 15 of `/proc/<pid>/stat`, in hundredths of a second (proc(5)).
pub(super) fn time(process: u32) -> io::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    parse(&text).ok_or_else(|| io::Error::other("/proc/<pid>/stat is not as documented"))
}

fn parse(text: &str) -> Option<Duration> {
    // The program's name, in parentheses, may contain anything; what follows it begins with field 3.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 9";
        assert_eq!(parse(text), Some(Duration::from_secs(2)));
        assert_eq!(parse("42 (short) S 1"), None);
        assert!(time(std::process::id()).is_ok());
    }
}
