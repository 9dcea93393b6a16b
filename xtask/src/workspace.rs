// SPDX-License-Identifier: BSD-2-Clause
//! What is built for which target, and how large it may be.

use std::fmt;
use std::path::{Path, PathBuf};

use image::Board;

/// Protection domains, the embedded kernel and bare-metal guests: no floating point in code that saves and loads it.
pub(crate) const BARE_TARGET: &str = "aarch64-unknown-none-softfloat";

/// The Linux guest's programs, statically linked.
pub(crate) const LINUX_TARGET: &str = "aarch64-unknown-linux-musl";

/// The profile for everything that runs without an operating system.
pub(crate) const BARE_PROFILE: &str = "domain";

/// A program for [`BARE_TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The package, and the program's name.
    pub(crate) package: &'static str,
    /// The features that it is built with.
    pub(crate) features: Vec<String>,
    /// How many bytes may be loaded from its file, if there is a limit.
    pub(crate) limit: Option<u64>,
}

impl Program {
    fn new(package: &'static str, features: &[&str], limit: Option<u64>) -> Self {
        Self {
            package,
            features: features.iter().copied().map(str::to_owned).collect(),
            limit,
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.package)?;
        match self.features.get(1..) {
            None | Some([]) => Ok(()),
            Some(further) => write!(formatter, " with {}", further.join(", ")),
        }
    }
}

const KIB: u64 = 1024;

/// Limit for a protection domain: it must stay small enough to be read and reviewed.
const DOMAIN_LIMIT: u64 = 200 * KIB;

/// Limit for the embedded kernel.
const KERNEL_LIMIT: u64 = 150 * KIB;

/// The protection domains.
const DOMAINS: [&str; 7] = [
    "vmm-pd",
    "vgic-pd",
    "timer-pd",
    "migration-pd",
    "heartbeat-pd",
    "serial-pd",
    "link-pd",
];

/// What tests and benchmarks put in the place of a program of ours: package, features.
const VARIANTS: [(&str, &[&str]); 4] = [
    ("kernel", &["bare", "guest-debug"]),
    ("kernel", &["bare", "guest-debug", "witness"]),
    ("vmm-pd", &["domain", "measure"]),
    // In images with a debug kernel.
    ("vmm-pd", &["domain", "printing"]),
];

/// Everything else that runs without an operating system: package, features, limit.
const BARE: [(&str, &[&str], Option<u64>); 7] = [
    ("kernel", &["bare"], Some(KERNEL_LIMIT)),
    ("zcu102-el3", &["bare"], None),
    ("el2-stage", &["bare"], None),
    ("probe", &["bare"], None),
    ("bench", &["bare"], None),
    ("attacker", &["bare"], None),
    ("hostile-pd", &["domain"], None),
];

/// Everything that runs without an operating system, the domains in every form that a board asks for.
///
/// # Errors
///
/// A board's file cannot be read.
pub(crate) fn programs() -> anyhow::Result<Vec<Program>> {
    let mut boards = Vec::new();
    for name in Board::names(root()) {
        let board = Board::load(root(), &name)?;
        boards.extend([board.clone().on_hardware(), board]);
    }
    // Variants before what they are variants of, which is what is to stay in the target directory.
    let variants = VARIANTS.map(|(package, features)| Program::new(package, features, None));
    let mut programs = Vec::from(variants);
    for package in DOMAINS {
        for board in &boards {
            let program = Program {
                package,
                features: ["domain"]
                    .into_iter()
                    .chain(board.features(package))
                    .map(str::to_owned)
                    .collect(),
                limit: Some(DOMAIN_LIMIT),
            };
            if !programs.contains(&program) {
                programs.push(program);
            }
        }
    }
    programs.extend(BARE.map(|(package, features, limit)| Program::new(package, features, limit)));
    Ok(programs)
}

/// The packages for [`LINUX_TARGET`].
pub(crate) const LINUX: [&str; 2] = ["workload", "debugger"];

/// The package whose tests run whole systems in QEMU.
pub(crate) const SYSTEM_TESTS: &str = "tests";

/// Parts of the names of system tests that say how much of its time a guest gets, and so want the machine to themselves.
pub(crate) const ALONE: [&str; 2] = ["idle::", "works_on_while_its_memory_is_copied"];

/// The workspace's directory.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Why there is nothing of seL4.
pub(crate) const NO_SDK: &str = "no Microkit SDK in $MICROKIT_SDK or ~/microkit-sdk-2.3.0";

/// The Microkit SDK, where there is one: `$MICROKIT_SDK`, else in the home directory.
pub(crate) fn microkit_sdk() -> Option<PathBuf> {
    let named = std::env::var_os("MICROKIT_SDK").map(PathBuf::from);
    let in_home = || std::env::home_dir().map(|home| home.join("microkit-sdk-2.3.0"));
    named
        .or_else(in_home)
        .filter(|sdk| sdk.join("VERSION").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_domain_is_built_for_every_board_and_nothing_twice() {
        let programs = programs().unwrap();
        let has = |name: &str| programs.iter().any(|program| program.to_string() == name);
        assert!(DOMAINS.into_iter().all(has));
        assert!(has("serial-pd with cadence-uart"));
        for (index, program) in programs.iter().enumerate() {
            assert!(!programs[..index].contains(program), "{program}");
        }
    }
}
