//! What a guest needs before it can be built: compilers' targets, QEMU, and Debian's arm64 packages.
//!
//! Responsible for: finding out what is missing, installing what may be installed (targets with rustup, packages with
//! apt if this runs as root), and otherwise naming the exact command; a Linux guest from Debian's kernel, BusyBox and
//! our workload, cached under `target/guest`. Never: changes the system's package sources or architectures, and never
//! installs anything where it can do without.

mod initramfs;
mod packages;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use initramfs::{Entry, EntryKind, assemble, initramfs};
pub use packages::{Package, fetch};

use crate::image::{self, ImageError};

/// What the Linux guest's workload is built for: a static program.
pub const WORKLOAD_TARGET: &str = "aarch64-unknown-linux-musl";

/// Why something is missing or cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something has to be installed by hand.
    #[error("{} missing; type:\n{}", list(missing), commands(missing))]
    Missing {
        /// What.
        missing: Vec<Missing>,
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
    #[error("{}: {source}", path.display())]
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

/// Something that has to be installed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What.
    pub what: String,
    /// The program that installs it, and its arguments.
    pub command: Vec<String>,
    /// Whether only root may.
    pub root: bool,
}

impl Missing {
    fn new(what: &str, root: bool, command: &[&str]) -> Self {
        let command = command.iter().map(|&part| part.to_owned()).collect();
        Self {
            what: what.to_owned(),
            command,
            root,
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sudo = if self.root && !is_root() { "sudo " } else { "" };
        write!(formatter, "{sudo}{}", self.command.join(" "))
    }
}

fn list(missing: &[Missing]) -> String {
    missing
        .iter()
        .map(|missing| missing.what.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn commands(missing: &[Missing]) -> String {
    missing
        .iter()
        .map(|missing| format!("  {missing}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What something needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Rust's library for a target.
    Target(&'static str),
    /// QEMU for Arm's 64-bit machines.
    Qemu,
    /// Debian's tools to fetch and unpack packages.
    PackageTools,
}

/// Everything that `cargo demo` needs.
pub const DEMO: [Need; 4] = [
    Need::Target(image::TARGET),
    Need::Target(WORKLOAD_TARGET),
    Need::Qemu,
    Need::PackageTools,
];

impl Need {
    /// What is missing of it.
    #[must_use]
    pub fn missing(self) -> Option<Missing> {
        match self {
            Self::Target(target) => (!has_target(target)).then(|| {
                Missing::new(
                    &format!("Rust target {target}"),
                    false,
                    &["rustup", "target", "add", target],
                )
            }),
            Self::Qemu => (!has_program("qemu-system-aarch64")).then(|| {
                let command = [
                    "apt-get",
                    "install",
                    "--yes",
                    "--no-install-recommends",
                    "qemu-system-arm",
                ];
                Missing::new("QEMU", true, &command)
            }),
            Self::PackageTools => {
                (!has_program("apt-get") || !has_program("dpkg-deb")).then(|| {
                    Missing::new(
                        "Debian's package tools",
                        true,
                        &["apt-get", "install", "--yes", "apt", "dpkg"],
                    )
                })
            }
        }
    }
}

/// Installs what is missing where that is possible: targets always, packages as root. `report` hears of each step.
///
/// # Errors
///
/// Something has to be installed by hand (all of it is in the error), or installing failed.
pub fn prerequisites(needs: &[Need], report: &dyn Fn(&str)) -> Result<()> {
    let missing: Vec<_> = needs.iter().filter_map(|need| need.missing()).collect();
    let possible =
        |missing: &Missing| has_program(&missing.command[0]) && (!missing.root || is_root());
    let (possible, impossible): (Vec<_>, Vec<_>) = missing.into_iter().partition(possible);
    if !impossible.is_empty() {
        let missing = [impossible, possible].concat();
        return Err(PrepareError::Missing { missing });
    }
    for missing in possible {
        report(&format!("installing {}: {missing}", missing.what));
        if missing.command[0] == "apt-get" {
            run(Command::new("apt-get").arg("update"))?;
        }
        let mut command = Command::new(&missing.command[0]);
        run(command
            .args(&missing.command[1..])
            .env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    Ok(())
}

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
    let directory = image::target_directory(root)?.join("guest");
    std::fs::create_dir_all(&directory).map_err(|source| file(&directory, source))?;
    // Tests prepare their guests at the same time; one fetches, the others find.
    let lock = directory.join("lock");
    let held = std::fs::File::create(&lock).and_then(|lock| lock.lock().map(|()| lock));
    let held = held.map_err(|source| file(&lock, source))?;
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

    let workload = image::build_program(root, "workload", &[], "release", WORKLOAD_TARGET)?;
    let supplied = [
        ("busybox", busybox.as_path()),
        ("workload", workload.as_path()),
    ];
    let archive = assemble(&root.join("guest/initramfs/contents"), &supplied)?;
    let path = directory.join("initramfs.cpio");
    std::fs::write(&path, archive).map_err(|source| file(&path, source))?;
    drop(held);
    Ok(LinuxGuest {
        kernel,
        initramfs: path,
    })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// Whether Rust's library for a target is installed, with rustup or without.
fn has_target(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output();
    output.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(path.trim()).is_dir()
    })
}

/// Runs a command and returns what it wrote, or fails with what it said.
fn run(command: &mut Command) -> Result<String> {
    let text = || {
        let parts = std::iter::once(command.get_program()).chain(command.get_args());
        parts
            .map(|part| part.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let name = text();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| PrepareError::Command {
        command: name.clone(),
        output: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(PrepareError::Command {
        command: name,
        output: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}

fn file(path: &Path, source: std::io::Error) -> PrepareError {
    PrepareError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_exact_command() {
        let missing = Need::Target("aarch64-unknown-nothing").missing().unwrap();
        assert_eq!(
            missing.to_string(),
            "rustup target add aarch64-unknown-nothing"
        );
        let qemu = Missing::new("QEMU", true, &["apt-get", "install", "qemu-system-arm"]);
        let error = PrepareError::Missing {
            missing: vec![missing, qemu],
        }
        .to_string();
        assert!(
            error.starts_with("Rust target aarch64-unknown-nothing, QEMU missing; type:\n  rustup"),
            "{error}"
        );
        assert!(
            error.ends_with("apt-get install qemu-system-arm"),
            "{error}"
        );
    }

    #[test]
    fn the_target_that_this_runs_on_is_there() {
        let host = Command::new("rustc")
            .args(["--print", "host-tuple"])
            .output()
            .unwrap();
        assert!(has_target(String::from_utf8_lossy(&host.stdout).trim()));
        assert!(has_program("rustc") && !has_program("no-such-program-anywhere"));
    }

    #[test]
    fn a_failed_command_says_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo bad >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c") && error.contains("out") && error.contains("bad"),
            "{error}"
        );
        assert_eq!(run(Command::new("echo").arg("hello")).unwrap(), "hello\n");
        assert!(run(&mut Command::new("no-such-program-anywhere")).is_err());
    }
}
