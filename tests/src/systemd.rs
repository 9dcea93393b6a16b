// SPDX-License-Identifier: BSD-2-Clause
//! A Debian root file system whose first process is systemd.
//!
//! Responsible for: what dpkg unpacks of Debian's packages, less what nobody in this guest reads, fetched once; and over it
//! what their installation would have written (`guest/systemd`). Never: runs anything of it on this machine.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use image::files;
use image::prepare::{Entry, EntryKind, PrepareError, assemble, initramfs, unpacked};
use image::{target_directory, workspace};

/// Debian's base system as far as somebody at a console needs it; what these depend on comes with them.
const PACKAGES: [&str; 18] = [
    "base-files",
    "bash",
    "coreutils",
    "dash",
    "dbus",
    "dbus-user-session",
    "findutils",
    "grep",
    "kmod",
    "libpam-systemd",
    "login",
    "mawk",
    "mount",
    "procps",
    "sed",
    "systemd-sysv",
    "udev",
    "util-linux",
];

/// What paths that are left out begin with: documentation, translations, Perl, the database of hardware.
const LEFT_OUT: [&str; 12] = [
    "usr/bin/perl",
    "usr/lib/aarch64-linux-gnu/gconv/",
    "usr/lib/aarch64-linux-gnu/libperl",
    "usr/lib/aarch64-linux-gnu/perl",
    "usr/lib/udev/hwdb.d/",
    "usr/share/bash-completion/",
    "usr/share/doc/",
    "usr/share/info/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/perl",
    "usr/share/zsh/",
];

/// Directories of a root file system with `/usr` merged that are links to those below `/usr`.
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];

/// The file system as an initramfs. Whoever calls this is the only one who does, in this process.
pub(crate) fn root_file_system() -> anyhow::Result<PathBuf> {
    let root = workspace()?;
    let directory = target_directory(&root)?.join("guest");
    std::fs::create_dir_all(&directory)?;
    let _held = files::lock(&directory.join("systemd.lock"))?;
    let packages = directory.join(format!("systemd-packages-{:016x}.cpio", version()));
    if !packages.is_file() {
        let report = |step: &str| println!("{step}");
        let archive = unpacked(&PACKAGES, &directory, &report, |unpacked| {
            Ok(initramfs(&entries(unpacked)?))
        })?;
        files::replace(&packages, archive)?;
    }
    let ours = assemble(&root.join("guest/systemd/contents"), &[])?;
    // Linux unpacks archives that follow each other (Documentation/driver-api/early-userspace/buffer-format.rst).
    let all = [std::fs::read(&packages)?, ours].concat();
    let path = directory.join("systemd.cpio");
    files::replace(&path, all)?;
    Ok(path)
}

/// What distinguishes an archive of packages from one that an earlier version of this file has left.
fn version() -> u64 {
    let mut hasher = DefaultHasher::new();
    (PACKAGES, LEFT_OUT, MERGED).hash(&mut hasher);
    hasher.finish()
}

/// All files below `root` that are not left out, each directory in front of what is in it.
fn entries(root: &Path) -> Result<Vec<Entry>, PrepareError> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let failed = |source| PrepareError::File {
            path: directory.clone(),
            source,
        };
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = place(path.strip_prefix(root).unwrap_or(&path));
            let Some(entry) = entry_of(&path, &name).map_err(failed)? else {
                continue;
            };
            if entry.kind == EntryKind::Directory {
                directories.push(path);
            }
            found.insert(name, entry);
        }
    }
    // A merged directory is a link, which `guest/systemd` has.
    Ok(found
        .into_values()
        .filter(|entry| !MERGED.contains(&entry.name.as_str()))
        .collect())
}

/// Where a package's file is once `/usr` is merged.
fn place(path: &Path) -> String {
    let name = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    let merged = MERGED
        .iter()
        .any(|directory| name.starts_with(&format!("{directory}/")));
    if merged { format!("usr/{name}") } else { name }
}

/// A file as the archive has it; nothing if it is left out.
fn entry_of(path: &Path, name: &str) -> std::io::Result<Option<Entry>> {
    let metadata = path.symlink_metadata()?;
    let kind = metadata.file_type();
    let prefix = if kind.is_dir() {
        format!("{name}/")
    } else {
        name.to_owned()
    };
    if LEFT_OUT.iter().any(|left_out| prefix.starts_with(left_out)) {
        return Ok(None);
    }
    let kind = if kind.is_dir() {
        EntryKind::Directory
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path)?;
        EntryKind::Link(target.to_string_lossy().into_owned())
    } else {
        EntryKind::File(std::fs::read(path)?)
    };
    Ok(Some(Entry {
        name: name.to_owned(),
        mode: metadata.permissions().mode() & 0o7777,
        // Who unpacked it owns it on this machine.
        user: 0,
        group: 0,
        kind,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit::session::Scratch;

    #[test]
    fn packages_are_laid_out_as_debian_12_has_them_and_without_what_nobody_reads() {
        let scratch = Scratch::new().unwrap();
        let at = |name: &str| scratch.path().join(name);
        for directory in ["bin", "lib/systemd", "usr/lib/systemd", "usr/share/doc/x"] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        std::fs::write(at("bin/su"), "su").unwrap();
        std::fs::set_permissions(at("bin/su"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        std::fs::write(at("lib/systemd/systemd"), "systemd").unwrap();
        std::fs::write(at("usr/share/doc/x/copyright"), "x").unwrap();
        std::os::unix::fs::symlink("su", at("bin/other")).unwrap();
        let files: Vec<_> = entries(scratch.path())
            .unwrap()
            .into_iter()
            .filter(|entry| entry.kind != EntryKind::Directory)
            .collect();
        let found: Vec<_> = files
            .iter()
            .map(|entry| (entry.name.as_str(), entry.kind.clone()))
            .collect();
        let file = |bytes: &str| EntryKind::File(bytes.into());
        assert_eq!(
            found,
            [
                ("usr/bin/other", EntryKind::Link("su".to_owned())),
                ("usr/bin/su", file("su")),
                ("usr/lib/systemd/systemd", file("systemd")),
            ]
        );
        assert_eq!(files[1].mode, 0o4755);
    }
}
