// SPDX-License-Identifier: BSD-2-Clause
//! What profilers do by `perf_event_open(2)`.

use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::os::fd::FromRawFd as _;

use anyhow::ensure;

/// `PERF_TYPE_HARDWARE` and `PERF_TYPE_SOFTWARE` (`include/uapi/linux/perf_event.h`).
const HARDWARE: u32 = 0;
const SOFTWARE: u32 = 1;
/// `PERF_COUNT_HW_INSTRUCTIONS`, `PERF_COUNT_SW_TASK_CLOCK`.
const INSTRUCTIONS: u64 = 1;
const TASK_CLOCK: u64 = 1;

/// The head of `struct perf_event_attr`, as long as its first version.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

/// `PERF_ATTR_SIZE_VER0`.
const SIZE: u32 = 64;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

/// Opens a counter of this process, which counts at once.
fn open(kind: u32, config: u64) -> std::io::Result<File> {
    let attributes = Attributes {
        kind,
        size: SIZE,
        config,
        ..Attributes::default()
    };
    // SAFETY: the attributes outlive the call, and are as long as they say. This process, any processor, no group.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            0_i32,
            -1_i32,
            -1_i32,
            0_u64,
        )
    };
    match i32::try_from(opened) {
        // SAFETY: a descriptor that the kernel has just given to nobody else.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { File::from_raw_fd(descriptor) }),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn read(mut counter: &File) -> std::io::Result<u64> {
    let mut value = [0; 8];
    counter.read_exact(&mut value)?;
    Ok(u64::from_ne_bytes(value))
}

fn work() {
    for turn in 0..200_u32 {
        black_box(turn);
    }
}

/// Opens, reads and closes counters: those of the kernel's count, those of the processor's cannot be had, or do not count.
pub(crate) fn measure(count: u64) -> anyhow::Result<String> {
    let (mut refused, mut counted) = (0, 0_u64);
    for number in 0..count {
        let software = open(SOFTWARE, TASK_CLOCK)?;
        let before = read(&software)?;
        let hardware = open(HARDWARE, INSTRUCTIONS);
        work();
        match hardware {
            Ok(counter) => counted += u64::from(read(&counter)? != 0),
            Err(_) => refused += 1,
        }
        let after = read(&software)?;
        ensure!(after > before, "counter {number}: {before} to {after}");
    }
    Ok(format!(
        "counters software={count} refused={refused} counted={counted}"
    ))
}
