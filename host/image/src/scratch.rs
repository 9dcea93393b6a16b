// SPDX-License-Identifier: BSD-2-Clause
//! A directory for the sockets and logs of boards that one program starts.
//!
//! Responsible for: a short path of its own (a Unix socket's path has 107 bytes) that only its owner can enter, gone
//! when it goes out of scope unless somebody wants to keep it. Never: shared by two programs.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// In a directory that somebody wants to keep.
const KEPT: &str = "kept";

/// A directory that exists as long as this.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// Creates a directory under the system's directory for temporary files.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn new() -> std::io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| sweep(&std::env::temp_dir()));
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("godwit-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, kept: false }),
                // Left behind by a program that had this number before.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is when this goes out of scope.
    pub fn keep(&mut self) {
        self.kept = true;
        // Best effort: without it, the next program takes it for something left behind.
        let _ = std::fs::write(self.path.join(KEPT), "");
    }
}

/// Removes directories of programs of this user that were killed.
fn sweep(directory: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let process = name.to_str().and_then(|name| {
            let (process, number) = name.strip_prefix("godwit-")?.split_once('-')?;
            number.parse::<u32>().ok()?;
            process.parse::<u32>().ok()
        });
        let ours = path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user);
        let ended = process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists());
        if ours && ended && !path.join(KEPT).exists() {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_gone_unless_it_is_kept() {
        let [first, mut second] = [Scratch::new().unwrap(), Scratch::new().unwrap()];
        let paths = [first.path().to_owned(), second.path().to_owned()];
        assert_ne!(paths[0], paths[1]);
        std::fs::write(paths[0].join("log"), "x").unwrap();
        second.keep();
        drop((first, second));
        assert!(!paths[0].exists() && paths[1].exists());
        std::fs::remove_dir_all(&paths[1]).unwrap();
    }

    #[test]
    fn what_a_killed_program_left_behind_is_removed_and_nothing_else() {
        let scratch = Scratch::new().unwrap();
        let directory = scratch.path();
        // No process has a number as high (`PID_MAX_LIMIT`).
        let names = [
            "godwit-4194305-0",
            "godwit-4194305-1",
            "godwit-1-0",
            "godwit-x-0",
            "other-4194305-0",
        ];
        for name in names {
            std::fs::create_dir(directory.join(name)).unwrap();
        }
        std::fs::write(directory.join(names[1]).join(KEPT), "").unwrap();
        sweep(directory);
        let there = names.map(|name| directory.join(name).exists());
        assert_eq!(there, [false, true, true, true, true]);
    }
}
