// SPDX-License-Identifier: BSD-2-Clause
//! Files that a command writes.
//!
//! Responsible for: a file that appears under its name when it is complete, and for leaving nothing behind when it does
//! not, however the program ends. Never: takes the place of what is not a regular file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags, linkat};

/// A file that is being written.
#[derive(Debug)]
pub struct Output {
    /// What to write to.
    file: File,
    target: PathBuf,
    /// Where it is meanwhile; nowhere if the file system can do without.
    partial: Option<PathBuf>,
}

impl Output {
    /// Begins to write what is to be found at `path`.
    ///
    /// # Errors
    ///
    /// The operating system's, and that something else than a regular file is there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = target(path)?;
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let nameless = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::TMPFILE.bits().cast_signed())
            .mode(0o666)
            .open(directory);
        let partial = partial(&target);
        Ok(match nameless {
            Ok(file) => Self {
                file,
                target,
                partial: None,
            },
            // Not every file system has files without a name.
            Err(_) => Self {
                file: File::create(&partial)?,
                target,
                partial: Some(partial),
            },
        })
    }

    /// What to write to.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Everything is written: it takes its place.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let partial = match self.partial.take() {
            Some(partial) => partial,
            None => {
                let partial = partial(&self.target);
                // From somebody who was killed between the two steps that follow.
                let _ = std::fs::remove_file(&partial);
                let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                linkat(CWD, file, CWD, &partial, AtFlags::SYMLINK_FOLLOW)?;
                partial
            }
        };
        std::fs::rename(&partial, &self.target).inspect_err(|_| {
            let _ = std::fs::remove_file(&partial);
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_file(partial);
        }
    }
}

/// Where what is written to `path` is to be: behind symbolic links, so that they stay.
///
/// # Errors
///
/// Something is there that is not a regular file, or cannot be looked at.
pub fn target(path: &Path) -> io::Result<PathBuf> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => path.canonicalize(),
        Ok(metadata) => {
            let what = kind(metadata.file_type());
            let text = format!("it is {what}, and would have to be replaced by a file");
            Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

fn kind(what: std::fs::FileType) -> &'static str {
    if what.is_dir() {
        "a directory"
    } else if what.is_block_device() || what.is_char_device() {
        "a device"
    } else if what.is_fifo() {
        "a pipe"
    } else if what.is_socket() {
        "a socket"
    } else {
        "no regular file"
    }
}

fn partial(target: &Path) -> PathBuf {
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    partial.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::session::Scratch;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_complete_and_takes_the_place_of_one_before() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().join("guest");
        for text in ["first", "second"] {
            let before = std::fs::read(&path).ok();
            let output = Output::create(&path).unwrap();
            output.file().write_all(text.as_bytes()).unwrap();
            assert_eq!(std::fs::read(&path).ok(), before);
            output.finish().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let unfinished = Output::create(&path).unwrap();
        unfinished.file().write_all(b"third").unwrap();
        drop(unfinished);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(names(scratch.path()), ["guest"]);
    }

    #[test]
    fn what_is_not_a_regular_file_keeps_its_place() {
        let scratch = Scratch::new().unwrap();
        let directory = scratch.path();
        let socket = directory.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        symlink("/dev/full", directory.join("link")).unwrap();
        let before = names(directory);
        let linked = directory.join("link");
        for path in [Path::new("/dev/full"), &linked, &socket, directory] {
            let error = Output::create(path).unwrap_err();
            assert_eq!(
                error.kind(),
                io::ErrorKind::AlreadyExists,
                "{}",
                path.display()
            );
        }
        assert_eq!(names(directory), before);
        assert!(
            std::fs::metadata("/dev/full")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let scratch = Scratch::new().unwrap();
        let [path, link] = ["guest", "link"].map(|name| scratch.path().join(name));
        std::fs::write(&path, "before").unwrap();
        symlink("guest", &link).unwrap();
        let output = Output::create(&link).unwrap();
        output.file().write_all(b"after").unwrap();
        output.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after");
    }
}
