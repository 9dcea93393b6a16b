// SPDX-License-Identifier: BSD-2-Clause
//! Why there is no image.

use std::path::PathBuf;

use super::elf::ElfError;
use super::system::SystemError;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The system description is wrong.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A program is wrong.
    #[error(transparent)]
    Program(#[from] ElfError),
    /// The embedded kernel would refuse the image.
    #[error("the embedded kernel would refuse this image: {0}")]
    Kernel(#[from] kernel_image::ImageError),
    /// The guest cannot be bundled.
    #[error(transparent)]
    Guest(#[from] crate::guest::GuestError),
    /// The Microkit SDK cannot be used.
    #[error(transparent)]
    Sdk(#[from] super::microkit::SdkError),
    /// rust-sel4's crates cannot be used.
    #[error(transparent)]
    Upstream(#[from] super::upstream::UpstreamError),
    /// There is no workspace to build from.
    #[error(transparent)]
    Workspace(#[from] std::io::Error),
    /// A guest is to have debug registers on a kernel that does not switch them.
    #[error(
        "--guest-debug cannot be had with seL4: its release configuration leaves a guest's breakpoints and counters in \
         force while domains run, its debug configuration puts its own threads' breakpoints in their place, and neither \
         keeps a vCPU's own. Use --kernel embedded, or leave out --guest-debug"
    )]
    GuestDebug,
    /// The loader's image is not one that the stage at EL2 can be put before.
    #[error(
        "{}: not a flat image that is entered at its first byte, as Microkit's tool makes them for AArch64",
        path.display()
    )]
    Stage {
        /// The image.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}{}", path.display(), crate::files::advice(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Cargo cannot be run.
    #[error("cannot run cargo: {source}")]
    Cargo {
        /// Why.
        source: std::io::Error,
    },
    /// The programs do not compile; the compiler has said why.
    #[error("cargo could not build {}", packages.join(", "))]
    Compile {
        /// The packages.
        packages: Vec<String>,
    },
    /// The programs do not compile because nothing can be written any more.
    #[error(
        "the disk is full: {} MB are free for {}; make room, or name a directory elsewhere in CARGO_TARGET_DIR",
        free / 1_000_000, path.display()
    )]
    Full {
        /// Where cargo puts what it builds.
        path: PathBuf,
        /// Bytes.
        free: u64,
    },
    /// A package was built and has no program.
    #[error("package {package} has no program for the board")]
    NotBuilt {
        /// The package.
        package: String,
    },
    /// There is no such board.
    #[error("no board '{name}'; there are: {}", known.join(", "))]
    NoBoard {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A board's file cannot be used.
    #[error("{}: {reason}", path.display())]
    BoardFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A board's numbers do not fit the system description.
    #[error("the system description does not fit the board: {what}")]
    Substitution {
        /// What does not.
        what: String,
    },
    /// There is no such placement of guest RAM.
    #[error("board {board} has no placement '{name}'; it has: {}", known.join(", "))]
    NoPlacement {
        /// The board.
        board: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A kernel that the board does not run.
    #[error("board {board} does not run the {kernel} kernel; it runs: {}", known.join(", "))]
    NoSuchKernel {
        /// The board.
        board: String,
        /// The kernel.
        kernel: super::Kernel,
        /// What it runs.
        known: Vec<String>,
    },
    /// A size of guest RAM that cannot be mapped in whole large pages.
    #[error(
        "a guest cannot have {mib} MiB of RAM: it has to be a multiple of 2, and more than none"
    )]
    GuestRamSize {
        /// What was asked for, in MiB.
        mib: u64,
    },
    /// A place for guest RAM that cannot be mapped in whole large pages.
    #[error("guest RAM cannot lie at {address:#x}: that is no multiple of 2 MiB")]
    GuestRamPlace {
        /// The physical address.
        address: u64,
    },
    /// The guest is to have more RAM than the board holds.
    #[error(
        "a guest with {asked} MiB of RAM does not fit on board {board}{}: at most {largest} MiB do",
        at.map_or_else(String::new, |at| format!(" at {at:#x}"))
    )]
    TooMuchRam {
        /// The board.
        board: String,
        /// MiB.
        asked: u64,
        /// MiB.
        largest: u64,
        /// Where it was to lie.
        at: Option<u64>,
    },
    /// An emulated board is to have less RAM than it needs to start.
    #[error(
        "board {board} needs at least {} MiB of its own RAM with the {kernel} kernel, not {}",
        least.div_ceil(1 << 20),
        asked >> 20
    )]
    BoardRam {
        /// The board.
        board: String,
        /// What it runs.
        kernel: super::Kernel,
        /// Bytes.
        asked: u64,
        /// Bytes.
        least: u64,
    },
    /// A board's file says what is not an amount of RAM.
    #[error("board.toml: {0}")]
    RamSize(String),
    /// The board's memory is full.
    #[error(
        "no room for {what}: {size:#x} bytes, the largest free piece of the board's RAM has {largest:#x}"
    )]
    NoRoom {
        /// What should go there.
        what: String,
        /// Bytes.
        size: u64,
        /// Bytes.
        largest: u64,
    },
    /// Something has a fixed physical address that is partly memory, or is taken.
    #[error("{what} cannot lie at {start:#x}..{end:#x}: taken, or not wholly RAM")]
    Taken {
        /// What should go there.
        what: String,
        /// First address.
        start: u64,
        /// First address after it.
        end: u64,
    },
    /// Two parts of a domain's address space share pages.
    #[error("{domain}: {first} and {second} share pages")]
    SharedPages {
        /// The domain.
        domain: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A segment of a program cannot be read, which no kernel can map.
    #[error("{program}: segment at {vaddr:#x} is not readable")]
    Unreadable {
        /// The program.
        program: String,
        /// Its first address.
        vaddr: u64,
    },
    /// The kernel is not linked for where images are loaded.
    #[error("the kernel's segment at {paddr:#x} does not lie at or above {base:#x}")]
    KernelAddress {
        /// Physical address of the segment.
        paddr: u64,
        /// Where images are loaded.
        base: u64,
    },
}
