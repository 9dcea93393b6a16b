//! What is built for which target, and how large it may be.

use std::path::{Path, PathBuf};

/// Protection domains, the embedded kernel and bare-metal guests: no floating point in code that saves and loads it.
pub(crate) const BARE_TARGET: &str = "aarch64-unknown-none-softfloat";

/// The Linux guest's programs, statically linked.
pub(crate) const LINUX_TARGET: &str = "aarch64-unknown-linux-musl";

/// The profile for everything that runs without an operating system.
pub(crate) const BARE_PROFILE: &str = "domain";

/// A program for [`BARE_TARGET`].
#[derive(Debug)]
pub(crate) struct Bare {
    /// The package, and the program's name.
    pub(crate) package: &'static str,
    /// The feature that switches the program on.
    pub(crate) feature: &'static str,
    /// How many bytes may be loaded from its file, if there is a limit.
    pub(crate) limit: Option<u64>,
}

const KIB: u64 = 1024;

/// Limit for a protection domain: it must stay small enough to be read and reviewed.
const DOMAIN_LIMIT: u64 = 200 * KIB;

/// Limit for the embedded kernel.
const KERNEL_LIMIT: u64 = 150 * KIB;

/// Everything that runs without an operating system.
pub(crate) const BARE: [Bare; 9] = [
    domain("vmm-pd"),
    domain("vgic-pd"),
    domain("timer-pd"),
    domain("migration-pd"),
    domain("serial-pd"),
    domain("link-pd"),
    bare("kernel", Some(KERNEL_LIMIT)),
    bare("probe", None),
    bare("bench", None),
];

const fn domain(package: &'static str) -> Bare {
    Bare {
        package,
        feature: "domain",
        limit: Some(DOMAIN_LIMIT),
    }
}

const fn bare(package: &'static str, limit: Option<u64>) -> Bare {
    Bare {
        package,
        feature: "bare",
        limit,
    }
}

/// The packages for [`LINUX_TARGET`].
pub(crate) const LINUX: [&str; 1] = ["workload"];

/// The package whose tests run whole systems in QEMU.
pub(crate) const SYSTEM_TESTS: &str = "tests";

/// The workspace's directory.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The Microkit SDK, where there is one: `$MICROKIT_SDK`, else in the home directory.
pub(crate) fn microkit_sdk() -> Option<PathBuf> {
    let named = std::env::var_os("MICROKIT_SDK").map(PathBuf::from);
    let in_home = || std::env::home_dir().map(|home| home.join("microkit-sdk-2.3.0"));
    named
        .or_else(in_home)
        .filter(|sdk| sdk.join("VERSION").is_file())
}
