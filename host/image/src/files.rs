// SPDX-License-Identifier: BSD-2-Clause
//! Files below the target directory, which several processes of ours may make at the same time.
//!
//! Responsible for: a file with its name on it being complete, one process at a time where that matters, and saying what
//! to do where the disk is full. Never: decides what is in a file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// With less space than this, in bytes, a build that failed has failed for it.
const LITTLE: u64 = 64 << 20;

/// Gives a file this content; whoever opens it meanwhile has the old or the new one, whole.
///
/// One process at a time may do so with the same file.
///
/// # Errors
///
/// The operating system's.
pub fn replace(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let partial = partial(path);
    std::fs::write(&partial, content)
        .and_then(|()| std::fs::rename(&partial, path))
        .inspect_err(|_| drop(std::fs::remove_file(&partial)))
}

/// What a file is called until it is complete.
#[must_use]
pub fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Waits until no other process, and nobody else in this one, has this lock; it is free again when the value is dropped or
/// the process is gone.
///
/// # Errors
///
/// The file cannot be made or locked.
pub fn lock(path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    file.lock()?;
    Ok(file)
}

/// What to do about an error of a file below the target directory, to be put behind what it says.
#[must_use]
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, or name a directory elsewhere in CARGO_TARGET_DIR"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; name a directory of your own in CARGO_TARGET_DIR"
        }
        _ => "",
    }
}

/// How many bytes are free where `path` is, if these are too few to build anything.
#[must_use]
pub fn full(path: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path).ok()?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    (free < LITTLE).then_some(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn whoever_has_a_file_open_keeps_all_of_it() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().join("image");
        replace(&path, "the first").unwrap();
        let mut open = File::open(&path).unwrap();
        replace(&path, "another").unwrap();
        let mut text = String::new();
        io::Read::read_to_string(&mut open, &mut text).unwrap();
        assert_eq!(text, "the first");
        assert_eq!(std::fs::read(&path).unwrap(), b"another");
        assert!(!partial(&path).exists());
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let scratch = Scratch::new().unwrap();
        let directory = scratch.path().join("taken");
        std::fs::create_dir_all(directory.join("content")).unwrap();
        assert!(replace(&directory, "x").is_err());
        assert!(directory.is_dir() && !partial(&directory).exists());
    }

    #[test]
    fn a_lock_is_one_holders_at_a_time() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().join("lock");
        let held = lock(&path).unwrap();
        assert!(File::open(&path).unwrap().try_lock().is_err());
        drop(held);
        File::open(&path).unwrap().try_lock().unwrap();
    }

    #[test]
    fn a_full_disk_comes_with_what_to_do() {
        // Every write to this device ends so (full(4)).
        let error = std::fs::write("/dev/full", "x").unwrap_err();
        assert!(advice(&error).contains("make room"), "{error}");
        assert_eq!(advice(&io::Error::other("x")), "");
    }
}
