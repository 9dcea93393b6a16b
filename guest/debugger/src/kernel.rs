// SPDX-License-Identifier: BSD-2-Clause
//! `BRK` in the kernel's own code.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;
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

/// How much a socket may have allocated for what goes beside a message (`Documentation/admin-guide/sysctl/net.rst`).
const MOST: &str = "/proc/sys/net/core/optmem_max";
const MOST_BYTES: &str = "67108864";
/// More than the page allocator has in one piece: what is asked for that much warns (`WARN_ON_ONCE_GFP` in
/// `mm/page_alloc.c`).
const TOO_MUCH: usize = 16 << 20;
/// How often the kernel has warned (`Documentation/ABI/testing/sysfs-kernel-warn_count`).
const WARNINGS: &str = "/sys/kernel/warn_count";
/// Lets what warns once warn once more (`Documentation/admin-guide/clearing-warn-once.rst`).
const AGAIN: &str = "/sys/kernel/debug/clear_warn_once";

fn warnings_so_far() -> anyhow::Result<u64> {
    let text = fs::read_to_string(WARNINGS).context(WARNINGS)?;
    Ok(text.trim().parse()?)
}

/// Sends a message with too much beside it; whether the kernel had no memory for that.
fn is_refused(socket: &UnixDatagram) -> bool {
    // SAFETY: a message of nothing, with nothing beside it, is all zeros.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let mut beside = [0_u8; 64];
    message.msg_control = (&raw mut beside).cast();
    // SAFETY: the kernel allocates before it reads what lies beside, and if it came to read it, would find no memory of
    // ours behind it that it could not read or refuse. The C library is not asked: its `sendmsg` refuses by itself. Where
    // its header has 32 bits for the length, the kernel has 64, of which the others are padding there.
    let sent = unsafe {
        let length = (&raw mut message.msg_controllen).cast::<usize>();
        length.write_unaligned(TOO_MUCH);
        libc::syscall(libc::SYS_sendmsg, socket.as_raw_fd(), &raw const message, 0)
    };
    let error = std::io::Error::last_os_error().raw_os_error();
    sent < 0 && error == Some(libc::ENOBUFS)
}

/// Has the kernel warn.
pub(crate) fn warnings(count: u64) -> anyhow::Result<String> {
    write(Path::new(MOST), MOST_BYTES)?;
    let (socket, _other) = UnixDatagram::pair()?;
    let before = warnings_so_far()?;
    for number in 0..count {
        write(Path::new(AGAIN), "1")?;
        ensure!(is_refused(&socket), "warning {number}: not refused");
    }
    let warned = warnings_so_far()? - before;
    ensure!(warned >= count, "{warned} of {count}");
    Ok(format!("warnings warned={warned}"))
}
