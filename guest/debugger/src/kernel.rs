//! `BRK` in the kernel's own code.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Where trace events are (`Documentation/trace/kprobetrace.rst`).
const TRACING: &str = "/sys/kernel/tracing";
/// A function that `getpgid(2)` calls once.
const FUNCTION: &str = "__arm64_sys_getpgid";
/// The probe's name.
const PROBE: &str = "debugger";

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("{}", path.display()))
}

/// A kprobe that is enabled, and gone with this.
struct Probe;

impl Probe {
    fn set() -> anyhow::Result<Self> {
        let tracing = Path::new(TRACING);
        write(
            &tracing.join("kprobe_events"),
            &format!("p:{PROBE} {FUNCTION}\n"),
        )?;
        let probe = Self;
        write(
            &tracing.join("events/kprobes").join(PROBE).join("enable"),
            "1",
        )?;
        Ok(probe)
    }

    /// How often it was hit.
    fn hits() -> anyhow::Result<u64> {
        let path = Path::new(TRACING).join("kprobe_profile");
        let text = fs::read_to_string(path)?;
        let mut words = text.split_whitespace().skip_while(|word| *word != PROBE);
        let hits = words.nth(1).context("the probe is in no profile")?;
        Ok(hits.parse()?)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let tracing = Path::new(TRACING);
        let _ = write(
            &tracing.join("events/kprobes").join(PROBE).join("enable"),
            "0",
        );
        let _ = write(&tracing.join("kprobe_events"), "");
    }
}

/// Has the kernel run into a breakpoint of its own; each must hit.
pub(crate) fn breakpoints(count: u64) -> anyhow::Result<String> {
    let _probe = Probe::set()?;
    let before = Probe::hits()?;
    for _ in 0..count {
        nix::unistd::getpgid(None)?;
    }
    let hits = Probe::hits()? - before;
    ensure!(hits >= count, "{hits} of {count}");
    Ok(format!("kernel-breakpoints hit={hits}"))
}

/// More than the page allocator has at once: what is asked for it warns (`WARN_ON_ONCE_GFP` in `mm/page_alloc.c`).
const TOO_MANY_COMMAND_LINES: &str = "4000000";
/// How often the kernel has warned (`Documentation/ABI/testing/sysfs-kernel-warn_count`).
const WARNINGS: &str = "/sys/kernel/warn_count";
/// Lets what warns once warn once more (`Documentation/admin-guide/clearing-warn-once.rst`).
const AGAIN: &str = "/sys/kernel/debug/clear_warn_once";

fn warnings_so_far() -> anyhow::Result<u64> {
    let text = fs::read_to_string(WARNINGS).context(WARNINGS)?;
    Ok(text.trim().parse()?)
}

/// Has the kernel warn.
pub(crate) fn warnings(count: u64) -> anyhow::Result<String> {
    let cause = Path::new(TRACING).join("saved_cmdlines_size");
    let before = warnings_so_far()?;
    for number in 0..count {
        write(Path::new(AGAIN), "1")?;
        // It is refused, with a warning.
        let refused = fs::write(&cause, TOO_MANY_COMMAND_LINES);
        ensure!(refused.is_err(), "warning {number}: there was memory");
    }
    let warned = warnings_so_far()? - before;
    ensure!(warned >= count, "{warned} of {count}");
    Ok(format!("warnings warned={warned}"))
}
