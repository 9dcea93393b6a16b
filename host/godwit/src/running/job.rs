// SPDX-License-Identifier: BSD-2-Clause
//! What a command is doing with a board that others must not disturb.
//!
//! Responsible for: at most one move, snapshot or restore at a time on a board, as far as it is run from this machine, and
//! for others to find out which, since when and how far it is. A job ends with its process however that ends: its file is
//! locked. Never: about a board's state; the board says that itself.

use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Registry, RegistryError, failed, lock};
use crate::link::Address;

/// What a command does with a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Its guest moves to this one.
    MoveTo(String),
    /// The guest of this one moves to it.
    MoveFrom(String),
    /// An earlier move between this one and it is being resolved.
    Resolve(String),
    /// Its guest is kept in a file.
    Snapshot,
    /// A guest is put onto it from a file.
    Restore,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MoveTo(board) => write!(formatter, "a move of its guest to board {board}"),
            Self::MoveFrom(board) => {
                write!(formatter, "a move of the guest of board {board} to it")
            }
            Self::Resolve(board) => write!(formatter, "resolving a move with board {board}"),
            Self::Snapshot => formatter.write_str("a snapshot of its guest"),
            Self::Restore => formatter.write_str("the restore of a snapshot to it"),
        }
    }
}

/// What a command is doing with a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The command's process.
    pub process: u32,
    /// What it does.
    pub role: Role,
    /// Since when, in ms since 1970.
    pub since_ms: u64,
    /// How far it is.
    pub progress: String,
}

impl Job {
    fn of_this_process(role: Role) -> Self {
        Self {
            process: std::process::id(),
            role,
            since_ms: milliseconds(),
            progress: "it is being begun".to_owned(),
        }
    }

    /// For how long it has been under way.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(milliseconds().saturating_sub(self.since_ms))
    }
}

impl fmt::Display for Job {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, process) = (self.elapsed().as_secs_f64(), self.process);
        let Self { role, progress, .. } = self;
        write!(
            formatter,
            "{role} is in progress, for {seconds:.1} s now (process {process}): {progress}"
        )
    }
}

fn milliseconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Jobs that have begun. They end when this goes out of scope.
#[derive(Debug)]
pub struct JobGuard(Vec<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
    job: Job,
}

impl JobGuard {
    /// Lets others know how far it is; that they cannot is no reason to end.
    pub fn progress(&mut self, progress: &str) {
        for held in &mut self.0 {
            progress.clone_into(&mut held.job.progress);
            let _ = held.write();
        }
    }
}

impl Held {
    fn write(&self) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(&self.job)?;
        // What a longer text before it leaves behind is blank: who reads meanwhile sees one of the two whole.
        let length = usize::try_from(self.file.metadata()?.len()).unwrap_or(0);
        text.resize(text.len().max(length), b' ');
        self.file.write_all_at(&text, 0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // While it is locked: whoever waits for it sees that it is gone, and makes another.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Registry {
    /// Begins a job on one or more boards, each by its name in messages and its address.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Busy`] if another command is at work on one of them.
    pub fn begin(&self, boards: Vec<(String, &Address, Role)>) -> Result<JobGuard, RegistryError> {
        let mut boards: Vec<_> = boards
            .into_iter()
            .map(|(name, address, role)| (self.key(address), name, role))
            .collect();
        // In one order, so that of two commands about the same boards one succeeds.
        boards.sort_by(|first, second| first.0.cmp(&second.0));
        let mut guard = JobGuard(Vec::new());
        for (key, board, role) in boards {
            let path = self.path(&key, "job");
            let Some(file) = lock(&path).map_err(|source| failed(&path, source))? else {
                let job = self.read_job(&key);
                let job = Box::new(job.unwrap_or_else(|| Job::of_this_process(role)));
                return Err(RegistryError::Busy { board, job });
            };
            let job = Job::of_this_process(role);
            let held = Held { path, file, job };
            held.write().map_err(|source| failed(&held.path, source))?;
            guard.0.push(held);
        }
        Ok(guard)
    }

    /// What another command is doing with the board at this address.
    #[must_use]
    pub fn job(&self, address: &Address) -> Option<Job> {
        self.read_job(&self.key(address))
    }

    fn read_job(&self, key: &str) -> Option<Job> {
        let mut file = File::open(self.path(key, "job")).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// What stands for a board among jobs: its name here, or else something made of its address.
    #[must_use]
    pub fn key(&self, address: &Address) -> String {
        match address {
            Address::Running { name, .. } => name.clone(),
            Address::Unix(path) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                self.name_of(&path)
                    .unwrap_or_else(|| hashed(&path.to_string_lossy()))
            }
            Address::Serial { device, .. } => {
                let device = device.canonicalize().unwrap_or_else(|_| device.clone());
                hashed(&device.to_string_lossy())
            }
            Address::Tcp { .. } => hashed(&address.to_string()),
        }
    }

    /// The name of the board here that this is the link of.
    fn name_of(&self, path: &Path) -> Option<String> {
        let directory = self.directory.canonicalize().ok()?;
        let name = path.strip_prefix(directory).ok()?.to_str()?;
        name.strip_suffix(".link").map(str::to_owned)
    }
}

/// No name of a board begins so.
fn hashed(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("@{:016x}", hasher.finish())
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

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_being_done_with_a_board_is_found_by_others_until_it_ends() {
        let (_scratch, registry) = registry();
        let [a, b] = ["tcp:a:1", "tcp:b:1"].map(address);
        let jobs = || {
            vec![
                ("a".to_owned(), &a, Role::MoveTo("b".to_owned())),
                ("b".to_owned(), &b, Role::MoveFrom("a".to_owned())),
            ]
        };
        let mut moving = registry.begin(jobs()).unwrap();
        moving.progress("a long way to go still");
        moving.progress("round 3");
        let job = registry.job(&a).unwrap();
        assert_eq!(
            (job.process, job.progress.as_str()),
            (std::process::id(), "round 3")
        );
        assert_eq!(
            registry.job(&b).unwrap().role,
            Role::MoveFrom("a".to_owned())
        );
        let error = registry.begin(jobs()).unwrap_err().to_string();
        for part in ["a move of ", " is in progress, for ", "round 3"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        // Also if only one of the boards is the same, and the other is free again then.
        let c = address("tcp:c:1");
        let other = vec![
            ("c".to_owned(), &c, Role::MoveTo("b".to_owned())),
            ("b".to_owned(), &b, Role::MoveFrom("c".to_owned())),
        ];
        assert!(matches!(
            registry.begin(other),
            Err(RegistryError::Busy { .. })
        ));
        assert_eq!(registry.job(&c), None);
        drop(moving);
        assert_eq!((registry.job(&a), registry.job(&b)), (None, None));
        drop(registry.begin(jobs()).unwrap());
        let left = std::fs::read_dir(registry.directory).unwrap().count();
        assert_eq!(left, 0, "files are left behind");
    }

    #[test]
    fn a_board_is_the_same_however_it_is_named() {
        let (_scratch, registry) = registry();
        let link = registry.path("left", "link");
        std::fs::write(&link, "").unwrap();
        let running = Address::Running {
            name: "left".to_owned(),
            link: link.clone(),
        };
        let path = registry.directory.join("../run/left.link");
        assert_eq!(registry.key(&Address::Unix(path)), "left");
        assert_eq!(registry.key(&running), "left");
        let others = ["tcp:a:1", "tcp:a:2", "unix:/nowhere/left.link"];
        let mut keys = others.map(|text| registry.key(&address(text))).to_vec();
        keys.dedup();
        assert_eq!(keys.len(), 3);
        assert!(keys.iter().all(|key| !super::super::is_name(key)));
    }
}
