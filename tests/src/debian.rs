// SPDX-License-Identifier: BSD-2-Clause
//! A Debian guest with debuggers: Debian's own, and ours that does the same by itself (`guest/debugger`).
//!
//! Responsible for: the demo's guest with one more archive behind its initramfs, fetched once. Never: part of what the
//! demo shows.

use std::path::Path;

use image::prepare::{
    Entry, EntryKind, LinuxGuest, WORKLOAD_TARGET, initramfs, unpacked, with_libraries,
};
use image::{build_program, target_directory, workspace};

/// The packages, and the program of each.
const PACKAGES: [&str; 3] = ["gdb-minimal", "strace", "linux-perf"];
const PROGRAMS: [&str; 3] = ["usr/bin/gdb", "usr/bin/strace", "usr/bin/perf"];

/// The guest's files. Whoever calls this is the only one who does, in this process.
pub(crate) fn with_debuggers(linux: &LinuxGuest) -> anyhow::Result<LinuxGuest> {
    let root = workspace()?;
    let directory = target_directory(&root)?.join("guest");
    let tools = directory.join("debuggers.cpio");
    let held = std::fs::File::create(directory.join("debuggers.lock"))?;
    held.lock()?;
    if !tools.is_file() {
        let report = |step: &str| println!("{step}");
        let archive = unpacked(&PACKAGES, &directory, &report, |unpacked| {
            with_libraries(unpacked, &PROGRAMS)
        })?;
        let partial = tools.with_extension("partial");
        std::fs::write(&partial, archive)?;
        std::fs::rename(&partial, &tools)?;
    }
    let debugger = build_program(&root, "debugger", &[], "release", WORKLOAD_TARGET)?;
    let initramfs = directory.join("debugged.cpio");
    // Linux unpacks archives that follow each other (Documentation/driver-api/early-userspace/buffer-format.rst).
    let all = [
        std::fs::read(&linux.initramfs)?,
        std::fs::read(&tools)?,
        ours(&debugger)?,
    ];
    std::fs::write(&initramfs, all.concat())?;
    Ok(LinuxGuest {
        kernel: linux.kernel.clone(),
        initramfs,
    })
}

fn ours(debugger: &Path) -> anyhow::Result<Vec<u8>> {
    let entry = Entry {
        name: "bin/debugger".to_owned(),
        mode: 0o755,
        user: 0,
        group: 0,
        kind: EntryKind::File(std::fs::read(debugger)?),
    };
    Ok(initramfs(&[entry]))
}
