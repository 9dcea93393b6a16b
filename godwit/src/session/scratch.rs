//! A directory for the sockets and logs of boards that one program starts.
//!
//! Responsible for: a short path of its own (a Unix socket's path has 107 bytes) that only its owner can enter, gone
//! when it goes out of scope unless somebody wants to keep it. Never: shared by two programs.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

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
    pub const fn keep(&mut self) {
        self.kept = true;
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
        std::fs::remove_dir(&paths[1]).unwrap();
    }
}
