// SPDX-License-Identifier: BSD-2-Clause
//! Guests: from a kernel or a flat binary to the bundle that `vmm-pd` loads.
//!
//! Responsible for: where in guest RAM things go, the device tree that describes the guest's machine, and saying what
//! does not fit. Never: fetches or builds a guest ([`crate::prepare`] does), or knows about physical addresses.

mod device_tree;
mod linux;

use std::ops::Range;
use std::path::{Path, PathBuf};

use guest_bundle::{BundleError, Contents, RAM_BASE, ROM_SIZE, SegmentContents};
use vm::MAX_VCPUS;

pub use device_tree::{MachineDescription, Seeds, device_tree};

/// Device trees, initramfs and kernels begin at multiples of this, so that Linux maps each with large pages.
const ALIGNMENT: u64 = 2 << 20;

/// Linux's `COMMAND_LINE_SIZE` on arm64, with the terminating zero.
const COMMAND_LINE: usize = 2048;

/// A guest to boot.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What it runs.
    pub program: Program,
    /// Number of vCPUs, 1 to 4.
    pub vcpus: u32,
    /// Its command line: the device tree's `bootargs`.
    pub arguments: String,
    /// Random numbers to begin with, if its image is for one start only.
    pub seeds: Option<Seeds>,
}

/// What a guest runs.
#[derive(Clone, Debug)]
pub enum Program {
    /// An arm64 Linux `Image`, plain or compressed with gzip, and its initramfs.
    Linux {
        /// The kernel.
        kernel: PathBuf,
        /// The initramfs, in any format that the kernel knows.
        initramfs: Option<PathBuf>,
    },
    /// A file that is entered at its first byte with x0 pointing to the device tree.
    Flat {
        /// The file.
        file: PathBuf,
        /// Where it goes, an IPA.
        load: u64,
        /// Where the device tree goes, an IPA; at the end of RAM if absent.
        tree: Option<u64>,
    },
    /// Firmware, which is entered at its first byte at address 0, with the device tree at the start of RAM, as QEMU's `virt`
    /// has it. A kernel and an initramfs may wait in RAM for it to boot them: at [`FIRMWARES_KERNEL`] and
    /// [`FIRMWARES_INITRAMFS`].
    Firmware {
        /// The file.
        file: PathBuf,
        /// An arm64 Linux `Image`, plain or compressed with gzip.
        kernel: Option<PathBuf>,
        /// An initramfs, which the device tree names.
        initramfs: Option<PathBuf>,
    },
}

/// Where a kernel waits for firmware to boot it: U-Boot's `kernel_addr_r` for QEMU's `virt`.
pub const FIRMWARES_KERNEL: u64 = 0x4040_0000;
/// Where its initramfs does: U-Boot's `ramdisk_addr_r`.
pub const FIRMWARES_INITRAMFS: u64 = 0x4400_0000;

/// Why a guest cannot be bundled.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a kernel that can be booted here.
    #[error("{} is not an arm64 Linux Image that can run here: {reason}", path.display())]
    Kernel {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The guest's RAM is too small, or something is placed outside of it.
    #[error(
        "{what} needs {size:#x} bytes at {ipa:#x}, guest RAM is {RAM_BASE:#x}..{end:#x}; {}",
        advice(*ipa), end = RAM_BASE + ram
    )]
    DoesNotFit {
        /// What does not fit.
        what: &'static str,
        /// Where it would go, an IPA.
        ipa: u64,
        /// Bytes.
        size: u64,
        /// Bytes of guest RAM.
        ram: u64,
    },
    /// Firmware that is not there, or larger than the memory for it.
    #[error("{} has {size} bytes; firmware has 1 to {ROM_SIZE}", path.display())]
    Firmware {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        size: usize,
    },
    /// A device tree must begin where its readers expect it to.
    #[error("the device tree cannot go to {0:#x}, which is not a multiple of 8")]
    TreeAddress(u64),
    /// A flat binary must begin where an instruction can.
    #[error("load address {0:#x} is not a multiple of 4")]
    LoadAddress(u64),
    /// Too many vCPUs, or none.
    #[error("{0} vCPUs, a guest has 1 to {MAX_VCPUS}")]
    Vcpus(u32),
    /// A command line that no kernel would see whole.
    #[error("a command line of {length} bytes (or with a zero byte in it), at most {most}", most = COMMAND_LINE - 1)]
    Arguments {
        /// Bytes.
        length: usize,
    },
    /// The device tree cannot be written.
    #[error("device tree: {0}")]
    DeviceTree(#[from] vm_fdt::Error),
    /// The bundle cannot be written.
    #[error("guest bundle: {0}")]
    Bundle(#[from] BundleError),
}

type Result<T, E = GuestError> = std::result::Result<T, E>;

/// The largest amount of RAM that is worth advising: more than any board has.
const MOST_RAM: u64 = 1 << 36;

/// What helps where something does not fit at an address.
const fn advice(ipa: u64) -> &'static str {
    if ipa < RAM_BASE {
        "choose an address within it: RAM begins there however much there is"
    } else if ipa - RAM_BASE >= MOST_RAM {
        "choose an address within it"
    } else {
        "give it more RAM"
    }
}

/// The bundle of a guest with `ram` bytes of RAM, or of a board that waits for one to arrive.
///
/// # Errors
///
/// The guest cannot be read, or does not fit.
pub fn bundle(guest: Option<&Guest>, ram: u64) -> Result<Vec<u8>> {
    let Some(guest) = guest else {
        return Ok(guest_bundle::encode(&Contents {
            ram_size: ram,
            ..Contents::default()
        })?);
    };
    if guest.vcpus == 0 || guest.vcpus as usize > MAX_VCPUS {
        return Err(GuestError::Vcpus(guest.vcpus));
    }
    let length = guest.arguments.len();
    if length >= COMMAND_LINE || guest.arguments.contains('\0') {
        return Err(GuestError::Arguments { length });
    }
    match &guest.program {
        Program::Linux { kernel, initramfs } => {
            linux_bundle(guest, kernel, initramfs.as_deref(), ram)
        }
        Program::Flat { file, load, tree } => flat_bundle(guest, file, *load, *tree, ram),
        Program::Firmware {
            file,
            kernel,
            initramfs,
        } => firmware_bundle(guest, file, kernel.as_deref(), initramfs.as_deref(), ram),
    }
}

fn linux_bundle(
    guest: &Guest,
    kernel: &Path,
    initramfs: Option<&Path>,
    ram: u64,
) -> Result<Vec<u8>> {
    let image = linux::Image::read(kernel)?;
    let initramfs = initramfs.map(read).transpose()?;
    let mut place = Placer {
        ram,
        next: RAM_BASE + image.text_offset,
    };
    let kernel_at = place.put("the kernel with its uninitialised data", image.memory_size)?;
    // The tree's size depends on the initramfs' address, but not on which: leave it what it may have at most.
    let tree_at = place.put("the device tree", ALIGNMENT)?;
    let initramfs_at = match &initramfs {
        Some(content) => Some(place.put("the initramfs", content.len() as u64)?),
        None => None,
    };
    let tree = device_tree(&MachineDescription {
        vcpus: guest.vcpus,
        ram,
        arguments: &guest.arguments,
        initramfs: initramfs_at
            .zip(initramfs.as_ref())
            .map(|(at, content)| at..at + content.len() as u64),
        seeds: guest.seeds.clone(),
    })?;
    let mut segments = vec![
        SegmentContents {
            ipa: kernel_at,
            data: &image.bytes,
            mem_size: image.memory_size,
        },
        whole(tree_at, &tree),
    ];
    segments.extend(
        initramfs_at
            .zip(initramfs.as_deref())
            .map(|(at, content)| whole(at, content)),
    );
    let contents = Contents {
        vcpus: guest.vcpus,
        ram_size: ram,
        entry: kernel_at,
        device_tree: tree_at,
        segments,
    };
    Ok(guest_bundle::encode(&contents)?)
}

fn flat_bundle(
    guest: &Guest,
    file: &Path,
    load: u64,
    tree_at: Option<u64>,
    ram: u64,
) -> Result<Vec<u8>> {
    if !load.is_multiple_of(4) {
        return Err(GuestError::LoadAddress(load));
    }
    let binary = read(file)?;
    let size = binary.len() as u64;
    let end = RAM_BASE + ram;
    let binary_end = load
        .checked_add(size)
        .filter(|&binary_end| load >= RAM_BASE && binary_end <= end);
    let binary_end = binary_end.ok_or(GuestError::DoesNotFit {
        what: "the flat binary",
        ipa: load,
        size,
        ram,
    })?;
    let description = MachineDescription {
        vcpus: guest.vcpus,
        ram,
        arguments: &guest.arguments,
        initramfs: None,
        seeds: guest.seeds.clone(),
    };
    let tree = device_tree(&description)?;
    let size = tree.len() as u64;
    let tree_at = match tree_at {
        Some(at) => chosen_place(at, size, load..binary_end, ram)?,
        None => place_above(binary_end, size, ram)?,
    };
    let segments = vec![whole(load, &binary), whole(tree_at, &tree)];
    let contents = Contents {
        vcpus: guest.vcpus,
        ram_size: ram,
        entry: load,
        device_tree: tree_at,
        segments,
    };
    Ok(guest_bundle::encode(&contents)?)
}

/// Where the device tree goes above a flat binary: as far as possible, because nothing says how much memory that uses behind
/// its last byte.
fn place_above(binary_end: u64, size: u64, ram: u64) -> Result<u64> {
    let at = (RAM_BASE + ram - size) / ALIGNMENT * ALIGNMENT;
    if at >= binary_end {
        return Ok(at);
    }
    Err(GuestError::DoesNotFit {
        what: "the device tree above the flat binary",
        ipa: at,
        size,
        ram,
    })
}

/// Where the operator wants the device tree, if it can be there.
fn chosen_place(at: u64, size: u64, binary: Range<u64>, ram: u64) -> Result<u64> {
    if !at.is_multiple_of(8) {
        return Err(GuestError::TreeAddress(at));
    }
    let refused = |what| GuestError::DoesNotFit {
        what,
        ipa: at,
        size,
        ram,
    };
    let end = at.checked_add(size).ok_or(refused("the device tree"))?;
    if at < RAM_BASE || end > RAM_BASE + ram {
        Err(refused("the device tree"))
    } else if at < binary.end && end > binary.start {
        Err(refused("the device tree beside the flat binary"))
    } else {
        Ok(at)
    }
}

fn firmware_bundle(
    guest: &Guest,
    file: &Path,
    kernel: Option<&Path>,
    initramfs: Option<&Path>,
    ram: u64,
) -> Result<Vec<u8>> {
    let firmware = read(file)?;
    if firmware.is_empty() || firmware.len() as u64 > ROM_SIZE {
        return Err(GuestError::Firmware {
            path: file.to_owned(),
            size: firmware.len(),
        });
    }
    let kernel = kernel.map(linux::Image::read).transpose()?;
    let initramfs = initramfs.map(read).transpose()?;
    let mut segments = vec![whole(0, &firmware)];
    let mut place = Placer {
        ram,
        next: FIRMWARES_KERNEL,
    };
    if let Some(image) = &kernel {
        segments.push(SegmentContents {
            ipa: place.put("the kernel with its uninitialised data", image.memory_size)?,
            data: &image.bytes,
            mem_size: image.memory_size,
        });
    }
    let initramfs_at = match &initramfs {
        Some(content) => {
            place.next = place.next.max(FIRMWARES_INITRAMFS);
            let at = place.put("the initramfs", content.len() as u64)?;
            segments.push(whole(at, content));
            Some(at..at + content.len() as u64)
        }
        None => None,
    };
    let tree = device_tree(&MachineDescription {
        vcpus: guest.vcpus,
        ram,
        arguments: &guest.arguments,
        initramfs: initramfs_at,
        seeds: guest.seeds.clone(),
    })?;
    segments.push(whole(RAM_BASE, &tree));
    let contents = Contents {
        vcpus: guest.vcpus,
        ram_size: ram,
        entry: 0,
        device_tree: RAM_BASE,
        segments,
    };
    Ok(guest_bundle::encode(&contents)?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| GuestError::Read {
        path: path.to_owned(),
        source,
    })
}

const fn whole(ipa: u64, data: &[u8]) -> SegmentContents<'_> {
    SegmentContents {
        ipa,
        data,
        mem_size: data.len() as u64,
    }
}

/// Puts one thing behind the other.
struct Placer {
    ram: u64,
    next: u64,
}

impl Placer {
    fn put(&mut self, what: &'static str, size: u64) -> Result<u64> {
        let (ipa, ram) = (self.next, self.ram);
        let end = ipa.checked_add(size).filter(|&end| end <= RAM_BASE + ram);
        let end = end.ok_or(GuestError::DoesNotFit {
            what,
            ipa,
            size,
            ram,
        })?;
        self.next = end.next_multiple_of(ALIGNMENT);
        Ok(ipa)
    }
}

#[cfg(test)]
mod tests;
