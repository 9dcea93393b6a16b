// SPDX-License-Identifier: BSD-2-Clause
//! What has to be there before a guest can be built and run: compilers' targets, QEMU, and Debian's arm64 packages.
//!
//! Responsible for: having `setup/bring` install what is missing, or saying with its words what to type; a Linux guest
//! from Debian's kernel, BusyBox and our workload, cached under `target/guest`. Never: knows what is to be installed, or
//! changes the system's package sources or architectures.

mod command;
mod initramfs;
mod libraries;
mod needs;
mod packages;

use std::path::{Path, PathBuf};

pub use initramfs::{Entry, EntryKind, assemble, initramfs};
pub use libraries::with_libraries;
pub use needs::{Need, prerequisites};
pub use packages::{Package, fetch, fetch_for, unpacked};

use crate::ImageError;
use crate::files;

/// What the Linux guest's workload is built for: a static program.
pub const WORKLOAD_TARGET: &str = "aarch64-unknown-linux-musl";

/// Why something is missing or cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something is missing and could not be brought.
    #[error("{message}")]
    Missing {
        /// What, and what to do.
        message: String,
    },
    /// A package cannot be fetched from Debian's archive.
    #[error(
        "Debian's arm64 package {package} cannot be fetched. Look at the network and at apt's sources, then run this \
         again:\n{said}"
    )]
    Fetch {
        /// The package.
        package: String,
        /// What apt said.
        said: String,
    },
    /// The disk is full.
    #[error(
        "`{command}`: no space is left for {}; make room, or name a directory elsewhere in CARGO_TARGET_DIR",
        directory.display()
    )]
    Full {
        /// What wanted to write.
        command: String,
        /// Where.
        directory: PathBuf,
    },
    /// A command failed.
    #[error("`{command}` failed:\n{output}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        output: String,
    },
    /// A package does not contain what it should.
    #[error("package {package} has no {file}")]
    Package {
        /// The package.
        package: String,
        /// The file.
        file: String,
    },
    /// A line of the initramfs' list of contents is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Contents {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}{}", path.display(), files::advice(source))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The workload cannot be built.
    #[error(transparent)]
    Build(#[from] ImageError),
}

type Result<T, E = PrepareError> = std::result::Result<T, E>;

/// A Linux guest's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxGuest {
    /// Debian's kernel.
    pub kernel: PathBuf,
    /// BusyBox and the workload.
    pub initramfs: PathBuf,
}

/// The demonstration's guest: Debian's kernel and BusyBox, fetched once, and our workload, built if it changed.
///
/// Expects [`prerequisites`] to have succeeded. `report` hears of each step that takes time.
///
/// # Errors
///
/// A package cannot be fetched or unpacked, or the workload not built.
pub fn linux_guest(root: &Path, report: &dyn Fn(&str)) -> Result<LinuxGuest> {
    let directory = crate::target_directory(root)?.join("guest");
    std::fs::create_dir_all(&directory).map_err(|source| file(&directory, source))?;
    // Tests prepare their guests at the same time; one fetches, the others find.
    let lock = directory.join("lock");
    let held = files::lock(&lock).map_err(|source| file(&lock, source))?;
    let kernel = directory.join("vmlinuz");
    let busybox = directory.join("busybox");
    let packages = [
        Package {
            name: "linux-image-cloud-arm64",
            file: "boot/vmlinuz-",
            target: &kernel,
        },
        Package {
            name: "busybox-static",
            file: "bin/busybox",
            target: &busybox,
        },
    ];
    fetch(&packages, &directory, report)?;

    let workload = crate::build_program(root, "workload", &[], "release", WORKLOAD_TARGET)?;
    let supplied = [
        ("busybox", busybox.as_path()),
        ("workload", workload.as_path()),
    ];
    let archive = assemble(&root.join("guest/initramfs/contents"), &supplied)?;
    let path = directory.join("initramfs.cpio");
    files::replace(&path, archive).map_err(|source| file(&path, source))?;
    drop(held);
    Ok(LinuxGuest {
        kernel,
        initramfs: path,
    })
}

fn file(path: &Path, source: std::io::Error) -> PrepareError {
    PrepareError::File {
        path: path.to_owned(),
        source,
    }
}
