// SPDX-License-Identifier: BSD-2-Clause
//! Images that one process needs for as long as it lives.
//!
//! Responsible for: a directory of this process alone, and for removing those of processes that are gone, however they
//! ended. Never: touches an image that somebody asked for by name.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::files;

/// What the directories' names begin with; the process' number follows.
const PREFIX: &str = "process-";
/// Held by the process that a directory belongs to.
const HELD: &str = "held";
/// Held while directories come and go, so that none is removed before its process holds it.
const CHANGING: &str = "process.lock";

/// This process' directory among the `images`.
pub(super) fn directory(images: &Path) -> io::Result<PathBuf> {
    static OWN: Mutex<Vec<(PathBuf, File)>> = Mutex::new(Vec::new());
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = images.join(format!("{PREFIX}{}", std::process::id()));
    if !own.iter().any(|(known, _)| *known == path) {
        std::fs::create_dir_all(images)?;
        let _changing = files::lock(&images.join(CHANGING))?;
        prune(images);
        std::fs::create_dir_all(&path)?;
        let held = files::lock(&path.join(HELD))?;
        own.push((path.clone(), held));
    }
    Ok(path)
}

/// Removes the directories that no process holds. One that cannot be removed is in nobody's way.
fn prune(images: &Path) {
    for entry in std::fs::read_dir(images).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && entry.path().is_dir() && !is_held(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_held(directory: &Path) -> bool {
    File::open(directory.join(HELD))
        .is_ok_and(|held| matches!(held.try_lock(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_a_process_left_is_removed_and_what_one_holds_or_was_asked_for_stays() -> io::Result<()>
    {
        let images = Scratch::new()?;
        let make = |name: &str| {
            let path = images.path().join(name);
            std::fs::create_dir_all(path.join("a"))?;
            files::lock(&path.join(HELD))
        };
        drop(make("process-1")?);
        let held = make("process-2")?;
        drop(make("mine")?);
        std::fs::create_dir(images.path().join("process-3"))?;
        let own = directory(images.path())?;
        assert_eq!(directory(images.path())?, own);
        let there = |name: &str| images.path().join(name).exists();
        assert_eq!(
            ["process-1", "process-2", "process-3", "mine"].map(there),
            [false, true, false, true]
        );
        assert!(is_held(&own));
        drop(held);
        prune(images.path());
        assert!(!there("process-2") && own.exists());
        Ok(())
    }
}
