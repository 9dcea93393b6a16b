// SPDX-License-Identifier: BSD-2-Clause
//! Images: from the system description, the domains' programs and a guest to one file that a board boots.
//!
//! Responsible for: reading the description ([`system`]), a board's numbers ([`board`]), programs ([`elf`],
//! [`symbols`]), laying out an image for the embedded kernel ([`embedded`]) or having Microkit's tool make one
//! ([`microkit`]), having the domains built with rust-sel4's own crates ([`upstream`]); [`build_image`] does all of it. Never: runs anything on a board.

pub mod board;
mod build;
mod capacity;
mod cargo;
pub mod elf;
pub mod embedded;
pub mod errata;
mod error;
pub mod files;
pub mod guest;
mod io;
pub mod layout;
pub mod memory;
pub mod microkit;
pub mod prepare;
pub mod processor;
pub mod scratch;
mod stage;
pub mod symbols;
pub mod system;
mod transient;
pub mod upstream;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use board::Board;
pub use build::{Image, ImageRequest, Placement, build_image};
pub use build::{directory, programs};
pub use capacity::{bundle_room, ram_size};
pub use cargo::{TARGET, build_guest, build_program, build_variant, target_directory};
pub use error::ImageError;

/// What the domains run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// Ours, for development, tests and the demo.
    Embedded,
    /// seL4 from the Microkit SDK.
    Sel4,
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Embedded => "embedded",
            Self::Sel4 => "sel4",
        })
    }
}

/// Configuration of a kernel, as the Microkit SDK names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Config {
    /// With messages of the kernel on the console, slower.
    Debug,
    /// What is deployed and measured.
    Release,
}

impl fmt::Display for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Debug => "debug",
            Self::Release => "release",
        })
    }
}

/// The crates that domains speak to the kernel with: the interface is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sel4Crates {
    /// Ours, `runtime/sel4` and `runtime/sel4-microkit`: stable Rust, and one program for every configuration of the kernel.
    Ours,
    /// rust-sel4's own ([`upstream`]).
    Upstream,
}

impl Sel4Crates {
    /// What the names of images with them end in, so that neither takes the other's place.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Ours => "",
            Self::Upstream => "-upstream",
        }
    }
}

/// The workspace that images are built from: around the current directory, or where this program was built.
///
/// # Errors
///
/// Neither has a system description.
pub fn workspace() -> std::io::Result<PathBuf> {
    let current = std::env::current_dir()?;
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    current
        .ancestors()
        .chain(built.ancestors())
        .find(|directory| {
            directory.join("system.xml").is_file() && directory.join("Cargo.toml").is_file()
        })
        .map(Path::to_owned)
        .ok_or_else(|| {
            std::io::Error::other("no workspace with a system.xml here; run this within a clone")
        })
}
