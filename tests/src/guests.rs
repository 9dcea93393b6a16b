// SPDX-License-Identifier: BSD-2-Clause
//! Guests that the tests boot, and images of them.
//!
//! Responsible for: building each guest and each image once in a process, which leaves no image to the next. Never:
//! starts anything.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use image::guest::{Guest, Program};
use image::prepare::{self, Entry, EntryKind, LinuxGuest, Package};
use image::{Image, ImageRequest, Kernel, build_guest, build_image, target_directory, workspace};

use crate::{debian, spinner, systemd};

/// Where bare-metal guests are linked to run (`guest/runtime/guest.ld`).
const BARE_LOAD: u64 = 0x4400_0000;
/// RAM of a board for bare-metal guests in MiB: from the beginning of RAM at `0x4000_0000` to above [`BARE_LOAD`].
const BARE_RAM: u64 = 72;
/// RAM of a board for Linux in MiB, as `cargo demo` has it.
const LINUX_RAM: u64 = 128;
/// The same for one with debuggers, whose libraries are large.
const DEBUGGERS_RAM: u64 = 320;
/// The same for one whose whole root file system is in RAM, and at first its archive as well.
const SYSTEMD_RAM: u64 = 512;

/// The board that all tests run on but those about others.
pub const VIRT: &str = "qemu_virt_aarch64";

/// A guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestGuest {
    kind: Kind,
    vcpus: u32,
    arguments: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Linux,
    /// With a BusyBox of Debian's armhf beside the other, `/bin/busybox32`.
    LinuxWith32Bit,
    Debuggers,
    Systemd,
    Probe,
    Spinner,
    Attacker,
}

impl TestGuest {
    /// Debian's kernel, BusyBox and the workload; `mode` is what `guest/initramfs/init` knows.
    #[must_use]
    pub fn linux(mode: &str, vcpus: u32) -> Self {
        Self {
            kind: Kind::Linux,
            vcpus,
            arguments: format!("console=ttyAMA0 quiet godwit.mode={mode} godwit.style=quiet"),
        }
    }

    /// The same with a shell, and with a BusyBox of 32 bits, `/bin/busybox32`.
    #[must_use]
    pub fn linux_with_32_bit(vcpus: u32) -> Self {
        Self {
            kind: Kind::LinuxWith32Bit,
            ..Self::linux("shell", vcpus)
        }
    }

    /// The same with debuggers besides (`debian.rs`), and a shell.
    #[must_use]
    pub fn debuggers(vcpus: u32) -> Self {
        Self {
            kind: Kind::Debuggers,
            ..Self::linux("shell", vcpus)
        }
    }

    /// Debian's kernel and a Debian root file system under systemd (`systemd.rs`).
    #[must_use]
    pub fn systemd(vcpus: u32) -> Self {
        Self {
            kind: Kind::Systemd,
            vcpus,
            arguments: "console=ttyAMA0".to_owned(),
        }
    }

    /// The probe (`guest/probe`) with its arguments.
    #[must_use]
    pub fn probe(arguments: &str, vcpus: u32) -> Self {
        Self {
            kind: Kind::Probe,
            vcpus,
            arguments: arguments.to_owned(),
        }
    }

    /// A guest of 32 instructions ([`spinner`]), which keeps nothing but registers.
    #[must_use]
    pub const fn spinner() -> Self {
        Self {
            kind: Kind::Spinner,
            vcpus: 1,
            arguments: String::new(),
        }
    }

    /// The attacker (`guest/attacker`): vCPU 0 attacks, vCPU 1 is its sibling.
    #[must_use]
    pub const fn attacker() -> Self {
        Self {
            kind: Kind::Attacker,
            vcpus: 2,
            arguments: String::new(),
        }
    }

    /// RAM that a board for this guest has, in MiB.
    #[must_use]
    pub const fn ram_mib(&self) -> u64 {
        match self.kind {
            Kind::Linux | Kind::LinuxWith32Bit => LINUX_RAM,
            Kind::Debuggers => DEBUGGERS_RAM,
            Kind::Systemd => SYSTEMD_RAM,
            Kind::Probe | Kind::Spinner | Kind::Attacker => BARE_RAM,
        }
    }

    /// The guest's files, built or fetched if need be.
    ///
    /// # Errors
    ///
    /// One cannot be built.
    pub fn build(&self) -> anyhow::Result<Guest> {
        let program = match self.kind {
            Kind::Linux | Kind::Debuggers => {
                let mut linux = linux_guest()?;
                if self.kind == Kind::Debuggers {
                    linux = debian::with_debuggers(&linux)?;
                }
                Program::Linux {
                    kernel: linux.kernel,
                    initramfs: Some(linux.initramfs),
                }
            }
            Kind::LinuxWith32Bit => {
                let linux = linux_guest()?;
                Program::Linux {
                    initramfs: Some(with_32_bit(&linux)?),
                    kernel: linux.kernel,
                }
            }
            Kind::Systemd => Program::Linux {
                kernel: linux_guest()?.kernel,
                initramfs: Some(systemd::root_file_system()?),
            },
            Kind::Probe => Program::Flat {
                file: bare("probe")?,
                load: BARE_LOAD,
                tree: None,
            },
            Kind::Attacker => Program::Flat {
                file: bare("attacker")?,
                load: BARE_LOAD,
                tree: None,
            },
            Kind::Spinner => Program::Flat {
                file: spinner::file()?,
                load: BARE_LOAD,
                tree: None,
            },
        };
        Ok(Guest {
            program,
            vcpus: self.vcpus,
            arguments: self.arguments.clone(),
            seeds: None,
        })
    }
}

/// The file of a bare-metal guest.
fn bare(package: &'static str) -> anyhow::Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = built.get(package) {
        return Ok(file.clone());
    }
    let file = build_guest(&workspace()?, package)?;
    built.insert(package, file.clone());
    Ok(file)
}

/// The Linux guest's files; fetched from Debian's archive if they are not there yet.
fn linux_guest() -> anyhow::Result<LinuxGuest> {
    static LINUX: Mutex<Option<LinuxGuest>> = Mutex::new(None);
    let mut linux = LINUX.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(linux) = &*linux {
        return Ok(linux.clone());
    }
    let built = prepare::linux_guest(&workspace()?, &|step| println!("{step}"))?;
    Ok(linux.insert(built).clone())
}

/// The Linux guest's initramfs, and one more behind it, as Linux takes several: Debian's BusyBox for armhf, fetched if it
/// is not there yet.
fn with_32_bit(linux: &LinuxGuest) -> anyhow::Result<PathBuf> {
    static FETCHING: Mutex<()> = Mutex::new(());
    let held = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = target_directory(&workspace()?)?.join("guest/armhf");
    std::fs::create_dir_all(&directory)?;
    let busybox = directory.join("busybox");
    let package = Package {
        name: "busybox-static",
        file: "bin/busybox",
        target: &busybox,
    };
    prepare::fetch_for("armhf", &[package], &directory, &|step| println!("{step}"))?;
    let mut archive = std::fs::read(&linux.initramfs)?;
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(prepare::initramfs(&[Entry {
        name: "bin/busybox32".to_owned(),
        mode: 0o755,
        user: 0,
        group: 0,
        kind: EntryKind::File(std::fs::read(&busybox)?),
    }]));
    let path = directory.join("initramfs.cpio");
    std::fs::write(&path, archive)?;
    drop(held);
    Ok(path)
}

/// An image of `guest` for a board with as much RAM as it needs.
///
/// # Errors
///
/// It cannot be built.
pub fn image(kernel: Kernel, guest: &TestGuest) -> anyhow::Result<Image> {
    image_for(VIRT, kernel, guest)
}

/// An image of `guest` for a board of this kind, as under `board/`.
///
/// # Errors
///
/// It cannot be built.
pub fn image_for(board: &'static str, kernel: Kernel, guest: &TestGuest) -> anyhow::Result<Image> {
    shared((kernel, board, Some(guest.clone()), guest.ram_mib(), false))
}

/// The same of a guest that is trusted with debug registers and performance monitor; with the embedded kernel.
///
/// # Errors
///
/// It cannot be built.
pub fn trusted_image(guest: &TestGuest) -> anyhow::Result<Image> {
    shared((
        Kernel::Embedded,
        VIRT,
        Some(guest.clone()),
        guest.ram_mib(),
        true,
    ))
}

/// An image without a guest for a board that leaves its guest those.
///
/// # Errors
///
/// It cannot be built.
pub fn trusted_empty_image(ram_mib: u64) -> anyhow::Result<Image> {
    shared((Kernel::Embedded, VIRT, None, ram_mib, true))
}

/// An image without a guest for a board with `ram_mib` of guest RAM.
///
/// # Errors
///
/// It cannot be built.
pub fn empty_image(kernel: Kernel, ram_mib: u64) -> anyhow::Result<Image> {
    shared((kernel, VIRT, None, ram_mib, false))
}

/// What distinguishes an image.
type Key = (Kernel, &'static str, Option<TestGuest>, u64, bool);

fn shared(key: Key) -> anyhow::Result<Image> {
    static IMAGES: OnceLock<Mutex<BTreeMap<Key, Image>>> = OnceLock::new();
    let images = IMAGES.get_or_init(Mutex::default);
    // Held while building: whoever wants the same image waits for it.
    let mut images = images.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(image) = images.get(&key) {
        return Ok(image.clone());
    }
    let (kernel, board, guest, ram_mib, guest_debug) = &key;
    let request = ImageRequest {
        name: name(&key),
        guest: guest.as_ref().map(TestGuest::build).transpose()?,
        ram_mib: *ram_mib,
        kernel: *kernel,
        board: (*board).to_owned(),
        guest_debug: *guest_debug,
        ..ImageRequest::default()
    };
    let image = build(&request)?;
    images.insert(key, image.clone());
    Ok(image)
}

/// A name of the image's own.
fn name((kernel, board, guest, ram_mib, guest_debug): &Key) -> String {
    let debug = if *guest_debug { "-guest-debug" } else { "" };
    let Some(guest) = guest else {
        return format!("test-{board}-{kernel}{debug}-empty-{ram_mib}");
    };
    let mut hasher = DefaultHasher::new();
    guest.arguments.hash(&mut hasher);
    let TestGuest { kind, vcpus, .. } = guest;
    format!(
        "test-{board}-{kernel}{debug}-{kind:?}-{vcpus}-{:016x}",
        hasher.finish()
    )
}

/// Builds an image; an error says of which kernel.
///
/// # Errors
///
/// It cannot be built.
pub fn build(request: &ImageRequest) -> anyhow::Result<Image> {
    let kernel = request.kernel;
    let request = ImageRequest {
        transient: true,
        ..request.clone()
    };
    build_image(&request).with_context(|| match kernel {
        Kernel::Embedded => "an image with the embedded kernel".to_owned(),
        Kernel::Sel4 => {
            "an image with seL4; without a Microkit SDK, run the tests with `-- --skip sel4`"
                .to_owned()
        }
    })
}
