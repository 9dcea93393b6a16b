// SPDX-License-Identifier: BSD-2-Clause
//! Firmware as Debian has it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use image::prepare::{self, Package};
use image::{target_directory, workspace};

/// U-Boot for QEMU's `virt`, fetched once.
///
/// # Errors
///
/// It cannot be fetched.
pub fn u_boot() -> anyhow::Result<PathBuf> {
    static FETCHING: Mutex<()> = Mutex::new(());
    let held = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = target_directory(&workspace()?)?.join("guest/firmware");
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("u-boot.bin");
    let package = Package {
        name: "u-boot-qemu",
        file: "usr/lib/u-boot/qemu_arm64/u-boot.bin",
        target: &file,
    };
    prepare::fetch(&[package], &directory, &|step| println!("{step}"))?;
    drop(held);
    Ok(file)
}
