// SPDX-License-Identifier: BSD-2-Clause
//! A board that is started, and its keeper.
//!
//! Responsible for: one board from its image to a [keeper](crate::keeper) that runs it: registered under a name from the
//! beginning, so that others find it or hear that the name is taken; and nothing left of it if that does not succeed,
//! however this process ends. Never: runs anything that ends with this process.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use protocol::management::{Failure, StatusReport};

use crate::keeper::Order;
use crate::running::{Facts, Registration, Registry, RegistryError};
use crate::timeouts::START;
use image::{ImageError, ImageRequest, Kernel, build_image, target_directory, workspace};

/// What the directories of running boards' images begin with; the process that builds one follows, and the board's name.
const IMAGES: &str = "run-";
/// How long to wait before connecting is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// What to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The board's name; the first free letter if absent.
    pub name: Option<String>,
    /// Its image; named after the board.
    pub request: ImageRequest,
    /// What its guest is called.
    pub guest: String,
    /// Further arguments for QEMU.
    pub extra: Vec<String>,
}

/// Why a guest was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure} (detail {detail:#x}, at program counter {program_counter:#x})")]
pub struct Fault {
    /// Why.
    pub failure: Failure,
    /// What it is about: a syndrome, an error's number.
    pub detail: u64,
    /// Where the guest was.
    pub program_counter: u64,
}

impl From<&StatusReport> for Fault {
    fn from(status: &StatusReport) -> Self {
        Self {
            failure: status.failure,
            detail: status.detail,
            program_counter: status.program_counter,
        }
    }
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The name.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The image.
    #[error("board {name}: building its image: {source}")]
    Image {
        /// The board.
        name: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// The keeper.
    #[error("board {name}: {what}: {source}")]
    Io {
        /// The board.
        name: String,
        /// What was attempted.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// A board that has a keeper.
#[derive(Debug)]
pub struct Started {
    /// Its name.
    pub name: String,
    /// The connection to its keeper, on which nothing was said.
    pub keeper: UnixStream,
}

/// Builds a board and starts its keeper, which waits for its owner's [first word](crate::keeper::messages::Hello).
///
/// # Errors
///
/// The board cannot be registered, built, or given a keeper.
pub fn start(options: &RunOptions) -> Result<Started, RunError> {
    let registry = Registry::of_user()?;
    registry.sweep();
    let entry = registry.register(options.name.as_deref(), &facts(options))?;
    let name = entry.name().to_owned();
    let failed = |what| {
        let name = name.clone();
        move |source| RunError::Io { name, what, source }
    };
    let images = workspace()
        .map_err(ImageError::Workspace)
        .and_then(|root| target_directory(&root))
        .map(|target| target.join("images"))
        .map_err(|source| RunError::Image {
            name: name.clone(),
            source: Box::new(source),
        })?;
    prune(&registry, &images);
    let directory = images.join(image_name(&name));
    let begun = Begun::new(&entry, &directory).map_err(failed("preparing to build it"))?;
    let order = order(options, &name)?;
    let mut keeper = spawn(&order, &entry).map_err(failed("starting its keeper"))?;
    let connected = connect(&entry.terminal(), &mut keeper);
    let connected = connected.map_err(failed("connecting to its keeper"))?;
    begun.complete();
    entry.give_up();
    Ok(Started {
        name,
        keeper: connected,
    })
}

fn facts(options: &RunOptions) -> Facts {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Facts {
        process: std::process::id(),
        board: options.request.board.clone(),
        kernel: options.request.kernel.to_string(),
        guest: options.guest.clone(),
        ram_mib: options.request.ram_mib,
        started: now.unwrap_or_default().as_secs(),
    }
}

/// A board that is being built: if this goes out of scope, or a signal ends this process, what there is of it is removed.
struct Begun {
    directory: PathBuf,
    complete: Arc<AtomicBool>,
}

impl Begun {
    fn new(entry: &Registration, directory: &Path) -> std::io::Result<Self> {
        let complete = Arc::<AtomicBool>::default();
        let begun = Self {
            directory: directory.to_owned(),
            complete: Arc::clone(&complete),
        };
        let mut files = entry.files();
        let directory = directory.to_owned();
        let mut signals = crate::console::ending_signals()?;
        std::thread::spawn(move || {
            let signal = std::io::Read::read_exact(&mut signals, &mut [0]);
            if signal.is_ok() && !complete.load(Ordering::Relaxed) {
                let _ = std::fs::remove_dir_all(directory);
                for file in files.drain(..) {
                    let _ = std::fs::remove_file(file);
                }
                std::process::exit(130);
            }
        });
        Ok(begun)
    }

    /// The keeper has it.
    fn complete(&self) {
        self.complete.store(true, Ordering::Relaxed);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.complete.swap(true, Ordering::Relaxed) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// What the image is called of a board that this process builds.
fn image_name(name: &str) -> String {
    format!("{IMAGES}{}-{name}", std::process::id())
}

/// Removes images of boards that do not run any more. Boards of other users, or with another `XDG_RUNTIME_DIR`, are not in
/// this registry: what they are built of is theirs until QEMU has it.
fn prune(registry: &Registry, images: &Path) {
    for entry in std::fs::read_dir(images).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(IMAGES)) else {
            continue;
        };
        let (process, board) = rest.split_once('-').unwrap_or(("", rest));
        let is_built = process.parse::<u32>().is_ok_and(is_there);
        if !is_built && registry.find(board).is_err() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether there is such a process.
fn is_there(process: u32) -> bool {
    Path::new("/proc").join(process.to_string()).exists()
}

/// Builds the board's image.
fn order(options: &RunOptions, name: &str) -> Result<Order, RunError> {
    let request = ImageRequest {
        name: image_name(name),
        ..options.request.clone()
    };
    let image = build_image(&request).map_err(|source| RunError::Image {
        name: name.to_owned(),
        source: Box::new(source),
    })?;
    Ok(Order {
        name: name.to_owned(),
        board: request.board,
        sel4: request.kernel == Kernel::Sel4,
        image: image.path,
        load_address: image.load_address,
        guest_ram: image.guest_ram,
        board_ram: image.board_ram,
        firmware: image.firmware,
        extra: options.extra.clone(),
    })
}

/// This program again, as the board's keeper; its standard input is the entry's lock.
fn spawn(order: &Order, entry: &Registration) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("keep")
        .arg(serde_json::to_string(order)?)
        .stdin(Stdio::from(entry.hand_over()?))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn connect(socket: &Path, keeper: &mut Child) -> std::io::Result<UnixStream> {
    let deadline = Instant::now() + START;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
        if let Some(status) = keeper.try_wait()? {
            let text = format!("it has ended ({status})");
            return Err(std::io::Error::other(text));
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Scratch;

    // Pitfall: two registries share the images, and each board that started removed what the other was being built of.
    #[test]
    fn images_go_with_the_board_and_with_the_process_that_builds_them() {
        let scratch = Scratch::new().unwrap();
        let registry = Registry::at(&scratch.path().join("run")).unwrap();
        let images = scratch.path().join("images");
        // No process has a number as high (Linux, `PID_MAX_LIMIT`).
        let (built, gone) = (image_name("elsewhere"), format!("{IMAGES}4194305-gone"));
        for name in [&built, &gone, "programs"] {
            std::fs::create_dir_all(images.join(name)).unwrap();
        }
        prune(&registry, &images);
        let mut left: Vec<_> = std::fs::read_dir(&images)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["programs".to_owned(), built]);
    }
}
