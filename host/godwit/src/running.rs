// SPDX-License-Identifier: BSD-2-Clause
//! Boards that run on this machine, by name.
//!
//! Responsible for: a directory of this user's in which every `godwit run` leaves what its board is and offers its
//! link, so that other commands find it. A board is running as long as its file is locked: a lock ends with its process
//! however that ends. Never: starts, ends or talks to a board.

mod job;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use job::{Job, JobGuard, Role};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// The longest name of a board, in bytes: it becomes part of a socket's path.
const NAME: usize = 32;
/// Names of boards that were given none.
const NAMES: std::ops::RangeInclusive<char> = 'a'..='z';
/// What a board's sockets end in: its link, QEMU's end of it and the line below that, QEMU's console, and the keeper's.
const SOCKETS: [&str; 5] = ["link", "qemu", "qemu.line", "console", "tty"];

/// What a running board is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The process that runs it.
    pub process: u32,
    /// Which board it is, as under `board/`.
    pub board: String,
    /// What its domains run on.
    pub kernel: String,
    /// What it booted.
    pub guest: String,
    /// RAM of its guest, in MiB.
    pub ram_mib: u64,
    /// When it was started, in seconds since 1970.
    pub started: u64,
}

/// A board that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// The socket of its link.
    pub link: PathBuf,
    /// The socket of its keeper.
    pub terminal: PathBuf,
    /// What it is.
    pub facts: Facts,
}

impl Running {
    /// For how long it has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default()
            .saturating_sub(Duration::from_secs(self.facts.started))
    }
}

/// Why a board cannot be registered or found.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The directory or a file in it cannot be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory belongs to another user.
    #[error("{} belongs to another user; set XDG_RUNTIME_DIR to a directory of your own", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Not a name.
    #[error(
        "'{name}' is no name for a board: 1 to {NAME} letters, digits, '-', '_' or '.', beginning with a letter or digit"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// There is one already.
    #[error(
        "a board named {name} is running already; choose another name with --name, or end that one first"
    )]
    Taken {
        /// The name.
        name: String,
    },
    /// Every name that is given without being asked is taken.
    #[error("boards {} to {} are running; name this one with --name", NAMES.start(), NAMES.end())]
    NoNameLeft,
    /// Another command is at work on it.
    #[error("board {board}: {job}. Wait for it, or end process {} to call it off", job.process)]
    Busy {
        /// The board, as it was named.
        board: String,
        /// What is being done.
        job: Box<Job>,
    },
    /// There is none.
    #[error("no board named {name} is running here; {}", hint(known))]
    NotRunning {
        /// The name.
        name: String,
        /// Those that are.
        known: Vec<String>,
    },
}

fn hint(known: &[String]) -> String {
    if known.is_empty() {
        "start one with `godwit run`, or give a link: a socket's path, unix:PATH, tcp:HOST:PORT or serial:DEVICE,BAUD"
            .to_owned()
    } else {
        format!("running: {}", known.join(", "))
    }
}

type Result<T, E = RegistryError> = std::result::Result<T, E>;

/// The directory that running boards are found in.
#[derive(Clone, Debug)]
pub struct Registry {
    directory: PathBuf,
}

impl Registry {
    /// This user's: `godwit` in `$XDG_RUNTIME_DIR`, or one with the user's number where temporary files go.
    ///
    /// # Errors
    ///
    /// The directory cannot be created, or is another user's.
    pub fn of_user() -> Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let user = rustix::process::geteuid().as_raw();
        let directory = runtime.filter(|path| path.is_dir()).map_or_else(
            || std::env::temp_dir().join(format!("godwit-{user}")),
            |path| path.join("godwit"),
        );
        Self::at(&directory)
    }

    /// One in a directory of somebody's choice.
    ///
    /// # Errors
    ///
    /// The directory cannot be created, or is another user's.
    pub fn at(directory: &Path) -> Result<Self> {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory);
        made.map_err(|source| failed(directory, source))?;
        let metadata = directory
            .symlink_metadata()
            .map_err(|source| failed(directory, source))?;
        // Whoever could write here could offer a socket of their own in place of a board's.
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(RegistryError::Foreign {
                path: directory.to_owned(),
            });
        }
        let directory = directory.to_owned();
        Ok(Self { directory })
    }

    /// Registers a board for as long as what this returns exists; under the first free letter if it has no name.
    ///
    /// # Errors
    ///
    /// The name is none or taken, or the directory cannot be written.
    pub fn register(&self, name: Option<&str>, facts: &Facts) -> Result<Registration> {
        match name {
            Some(name) => self
                .try_register(name, facts)?
                .ok_or_else(|| RegistryError::Taken {
                    name: name.to_owned(),
                }),
            None => NAMES
                .into_iter()
                .find_map(|letter| self.try_register(&letter.to_string(), facts).transpose())
                .unwrap_or(Err(RegistryError::NoNameLeft)),
        }
    }

    fn try_register(&self, name: &str, facts: &Facts) -> Result<Option<Registration>> {
        if !is_name(name) {
            return Err(RegistryError::Name {
                name: name.to_owned(),
            });
        }
        let path = self.path(name, "board");
        let Some(file) = lock(&path).map_err(|source| failed(&path, source))? else {
            return Ok(None);
        };
        write(&file, facts).map_err(|source| failed(&path, source))?;
        let registration = Registration {
            registry: self.clone(),
            name: name.to_owned(),
            lock: Some(file),
        };
        registration.remove_sockets();
        Ok(Some(registration))
    }

    /// Takes over the entry of a board from the process that registered it and [handed](Registration::hand_over) it over.
    ///
    /// # Errors
    ///
    /// The entry cannot be read or written.
    pub fn adopt(&self, name: &str, mut file: File) -> Result<Registration> {
        let path = self.path(name, "board");
        let mut text = String::new();
        let adopted = file.rewind().and_then(|()| {
            file.read_to_string(&mut text)?;
            let facts: Facts = serde_json::from_str(&text)?;
            let process = std::process::id();
            write(&file, &Facts { process, ..facts })
        });
        adopted.map_err(|source| failed(&path, source))?;
        Ok(Registration {
            registry: self.clone(),
            name: name.to_owned(),
            lock: Some(file),
        })
    }

    /// Removes what processes that were killed have left behind.
    pub fn sweep(&self) {
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten() {
            let Some(name) = entry
                .ok()
                .and_then(|entry| entry.file_name().into_string().ok())
            else {
                continue;
            };
            let path = self.directory.join(&name);
            let locks = name.ends_with(".board") || name.ends_with(".job");
            if !locks || !path.is_file() {
                continue;
            }
            // Whoever gets the lock knows that the process has ended.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            let same = file.metadata().map(|metadata| metadata.ino()).ok()
                == std::fs::metadata(&path).map(|metadata| metadata.ino()).ok();
            if !free || !same {
                continue;
            }
            if let Some(name) = name.strip_suffix(".board") {
                self.remove_sockets(name);
            }
            let _ = std::fs::remove_file(path);
        }
    }

    fn remove_sockets(&self, name: &str) {
        for suffix in SOCKETS {
            let _ = std::fs::remove_file(self.path(name, suffix));
        }
    }

    /// The boards that run, by name.
    #[must_use]
    pub fn boards(&self) -> Vec<Running> {
        self.sweep();
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        let mut boards: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                self.read(name.strip_suffix(".board")?)
            })
            .collect();
        boards.sort_by(|first, second| first.name.cmp(&second.name));
        boards
    }

    /// The board of this name.
    ///
    /// # Errors
    ///
    /// There is none; the error lists those that there are.
    pub fn find(&self, name: &str) -> Result<Running> {
        let board = is_name(name).then(|| self.read(name)).flatten();
        board.ok_or_else(|| RegistryError::NotRunning {
            name: name.to_owned(),
            known: self.boards().into_iter().map(|board| board.name).collect(),
        })
    }

    fn read(&self, name: &str) -> Option<Running> {
        let path = self.path(name, "board");
        let mut file = File::open(path).ok()?;
        // Whoever gets the lock knows that the board's process has ended.
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        Some(Running {
            name: name.to_owned(),
            link: self.path(name, "link"),
            terminal: self.path(name, "tty"),
            facts: serde_json::from_str(&text).ok()?,
        })
    }

    fn path(&self, name: &str, suffix: &str) -> PathBuf {
        self.directory.join(format!("{name}.{suffix}"))
    }
}

fn write(mut file: &File, facts: &Facts) -> std::io::Result<()> {
    let text = serde_json::to_vec(facts)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)
}

/// Opens and locks a board's file; `None` if another process has it.
fn lock(path: &Path) -> std::io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        if !try_lock(&file)? {
            return Ok(None);
        }
        // The one before may have removed the file between our opening and locking it.
        let current = std::fs::metadata(path).map(|metadata| metadata.ino()).ok();
        if current == Some(file.metadata()?.ino()) {
            return Ok(Some(file));
        }
    }
}

/// Whoever only looks holds the lock for a moment, so one refusal is none yet.
fn try_lock(file: &File) -> std::io::Result<bool> {
    for _ in 0..10 {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME).contains(&name.len())
        && name.bytes().all(allowed)
        && name.as_bytes()[0].is_ascii_alphanumeric()
}

fn failed(path: &Path, source: std::io::Error) -> RegistryError {
    RegistryError::File {
        path: path.to_owned(),
        source,
    }
}

/// A board's entry; gone when this goes out of scope.
#[derive(Debug)]
pub struct Registration {
    registry: Registry,
    name: String,
    /// Nothing once another process has the entry.
    lock: Option<File>,
}

impl Registration {
    /// The board's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The socket that others reach the board's link at.
    #[must_use]
    pub fn link(&self) -> PathBuf {
        self.registry.path(&self.name, "link")
    }

    /// The socket that QEMU offers for the board's link.
    #[must_use]
    pub fn machine_link(&self) -> PathBuf {
        self.registry.path(&self.name, "qemu")
    }

    /// The socket that QEMU offers for the board's console.
    #[must_use]
    pub fn machine_console(&self) -> PathBuf {
        self.registry.path(&self.name, "console")
    }

    /// The socket that others reach the board's keeper at.
    #[must_use]
    pub fn terminal(&self) -> PathBuf {
        self.registry.path(&self.name, "tty")
    }

    /// Every file of this entry that there may be.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let suffixes = SOCKETS.into_iter().chain(["board"]);
        suffixes
            .map(|suffix| self.registry.path(&self.name, suffix))
            .collect()
    }

    /// The entry's file, which another process is to have; this one gives it up with [`Self::give_up`].
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn hand_over(&self) -> std::io::Result<File> {
        let lock = self.lock.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
        lock.try_clone()
    }

    /// Another process has adopted the entry, and removes it when the board ends.
    pub fn give_up(mut self) {
        self.lock = None;
    }

    fn remove_sockets(&self) {
        self.registry.remove_sockets(&self.name);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.lock.is_some() {
            self.remove_sockets();
            let _ = std::fs::remove_file(self.registry.path(&self.name, "board"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Scratch;

    fn registry() -> (Scratch, Registry) {
        let scratch = Scratch::new().unwrap();
        let registry = Registry::at(&scratch.path().join("run")).unwrap();
        (scratch, registry)
    }

    fn facts() -> Facts {
        Facts {
            process: std::process::id(),
            board: "qemu_virt_aarch64".to_owned(),
            kernel: "embedded".to_owned(),
            guest: "Debian".to_owned(),
            ram_mib: 128,
            started: 0,
        }
    }

    fn names(registry: &Registry) -> Vec<String> {
        let boards = registry.boards().into_iter();
        boards.map(|board| board.name).collect()
    }

    #[test]
    fn a_board_is_found_as_long_as_it_is_registered() {
        let (_scratch, registry) = registry();
        let board = registry.register(Some("left"), &facts()).unwrap();
        let found = registry.find("left").unwrap();
        assert_eq!((found.facts, found.link), (facts(), board.link()));
        drop(board);
        let error = registry.find("left").unwrap_err().to_string();
        assert!(
            error.contains("left") && error.contains("godwit run"),
            "{error}"
        );
    }

    #[test]
    fn a_name_is_given_to_one_board_at_a_time() {
        let (_scratch, registry) = registry();
        let first = registry.register(None, &facts()).unwrap();
        let second = registry.register(None, &facts()).unwrap();
        assert_eq!(names(&registry), ["a", "b"]);
        let error = registry.register(Some("b"), &facts()).unwrap_err();
        assert!(matches!(error, RegistryError::Taken { .. }));
        drop(first);
        assert_eq!(names(&registry), ["b"]);
        assert_eq!(registry.register(None, &facts()).unwrap().name(), "a");
        drop(second);
    }

    #[test]
    fn what_a_killed_process_left_behind_is_no_board_and_no_hindrance() {
        let (_scratch, registry) = registry();
        let text = serde_json::to_string(&facts()).unwrap();
        std::fs::write(registry.path("a", "board"), text).unwrap();
        std::fs::write(registry.path("a", "link"), "").unwrap();
        assert_eq!(registry.boards(), []);
        let board = registry.register(Some("a"), &facts()).unwrap();
        assert!(!board.link().exists(), "its link would accept nobody");
    }

    #[test]
    fn names_cannot_lead_out_of_the_directory() {
        let (_scratch, registry) = registry();
        for name in ["", "../a", "a/b", ".hidden", "-x", "a b", &"x".repeat(33)] {
            let error = registry.register(Some(name), &facts()).unwrap_err();
            assert!(matches!(error, RegistryError::Name { .. }), "{name}");
            assert!(registry.find(name).is_err(), "{name}");
        }
    }
}
