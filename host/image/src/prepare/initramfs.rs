// SPDX-License-Identifier: BSD-2-Clause
//! The initramfs: a cpio archive in the format that Linux unpacks at boot.
//!
//! Responsible for: what the records of the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst)
//! say of each file, and reading lists of contents in the format of the kernel's own `usr/gen_init_cpio.c`. Never: takes
//! anything from the file system but the files' bytes, so that the same files give the same archive.

use std::io::{self, Write as _};
use std::path::Path;

use cpio::newc::{Builder, ModeFileType, trailer};

use super::{PrepareError, Result, file};

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path, without a slash at the front.
    pub name: String,
    /// Its permissions.
    pub mode: u32,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// What it is.
    pub kind: EntryKind,
}

/// What a file of an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file with these bytes.
    File(Vec<u8>),
    /// A symbolic link to this path.
    Link(String),
    /// A character or block device.
    Device {
        /// Block device, or character device.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// Writes an archive.
///
/// # Panics
///
/// A file has 4 GiB or more.
#[must_use]
pub fn initramfs(entries: &[Entry]) -> Vec<u8> {
    let written = (1..)
        .zip(entries)
        .try_fold(Vec::new(), |archive, (inode, entry)| {
            write(archive, inode, entry)
        });
    written
        .and_then(trailer)
        .expect("memory takes whatever the format can hold")
}

fn write(archive: Vec<u8>, inode: u32, entry: &Entry) -> io::Result<Vec<u8>> {
    let (file_type, content): (_, &[u8]) = match &entry.kind {
        EntryKind::Directory => (ModeFileType::Directory, &[]),
        EntryKind::File(bytes) => (ModeFileType::Regular, bytes),
        EntryKind::Link(target) => (ModeFileType::Symlink, target.as_bytes()),
        EntryKind::Device { block: true, .. } => (ModeFileType::Block, &[]),
        EntryKind::Device { block: false, .. } => (ModeFileType::Char, &[]),
    };
    let links = if entry.kind == EntryKind::Directory {
        2
    } else {
        1
    };
    let mut record = Builder::new(&entry.name)
        .ino(inode)
        .mode(entry.mode)
        .set_mode_file_type(file_type)
        .uid(entry.user)
        .gid(entry.group)
        .nlink(links);
    if let EntryKind::Device { major, minor, .. } = entry.kind {
        record = record.rdev_major(major).rdev_minor(minor);
    }
    let size = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut record = record.write(archive, size);
    record.write_all(content)?;
    record.finish()
}

/// Packs what a list of contents names.
///
/// Locations are files beside the list; those that begin with `@` are `supplied` by that name.
///
/// # Errors
///
/// A line is wrong, or a file cannot be read.
pub fn assemble(list: &Path, supplied: &[(&str, &Path)]) -> Result<Vec<u8>> {
    let text = std::fs::read_to_string(list).map_err(|source| file(list, source))?;
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let wrong = |reason| PrepareError::Contents {
            path: list.to_owned(),
            line: index + 1,
            reason,
        };
        let read = |location: &str| read(list, supplied, location);
        entries.push(entry(&words, &read).map_err(wrong)?);
    }
    Ok(initramfs(&entries))
}

fn read(list: &Path, supplied: &[(&str, &Path)], location: &str) -> Result<Vec<u8>, String> {
    let path = match location.strip_prefix('@') {
        Some(name) => {
            let found = supplied.iter().find(|(other, _)| *other == name);
            found
                .map(|(_, path)| path.to_path_buf())
                .ok_or_else(|| format!("nobody supplies {location}"))?
        }
        None => list.parent().unwrap_or(Path::new("")).join(location),
    };
    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn entry(words: &[&str], read: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Entry, String> {
    let (name, kind, [mode, user, group]) = match *words {
        ["dir", name, mode, user, group] => (name, EntryKind::Directory, [mode, user, group]),
        ["file", name, location, mode, user, group] => {
            (name, EntryKind::File(read(location)?), [mode, user, group])
        }
        ["slink", name, target, mode, user, group] => (
            name,
            EntryKind::Link(target.to_owned()),
            [mode, user, group],
        ),
        ["nod", name, mode, user, group, kind, major, minor] => {
            let block = match kind {
                "b" => true,
                "c" => false,
                _ => return Err(format!("'{kind}' is neither b nor c")),
            };
            let kind = EntryKind::Device {
                block,
                major: number(major, 10)?,
                minor: number(minor, 10)?,
            };
            (name, kind, [mode, user, group])
        }
        _ => return Err("neither dir, nor file, slink or nod with what belongs to it".to_owned()),
    };
    let name = name.trim_start_matches('/').to_owned();
    Ok(Entry {
        name,
        mode: number(mode, 8)?,
        user: number(user, 10)?,
        group: number(group, 10)?,
        kind,
    })
}

fn number(text: &str, radix: u32) -> Result<u32, String> {
    u32::from_str_radix(text, radix).map_err(|_| format!("'{text}' is not a number"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use cpio::newc::Reader;

    use super::*;

    /// Name, mode, content and device number of a file.
    type Record = (String, u32, Vec<u8>, (u32, u32));

    /// An archive, read back.
    fn records(mut archive: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        loop {
            let mut reader = Reader::new(archive).unwrap();
            if reader.entry().is_trailer() {
                assert!(reader.finish().unwrap().is_empty());
                return records;
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            let entry = reader.entry();
            let device = (entry.rdev_major(), entry.rdev_minor());
            records.push((entry.name().to_owned(), entry.mode(), content, device));
            archive = reader.finish().unwrap();
        }
    }

    fn scratch(name: &str, list: &str) -> std::path::PathBuf {
        let directory =
            std::env::temp_dir().join(format!("godwit-initramfs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("contents"), list).unwrap();
        std::fs::write(directory.join("init"), "#!/bin/sh\n").unwrap();
        directory
    }

    #[test]
    fn an_archive_reads_back_as_listed() {
        let list = "# a comment\n\ndir /dev 755 0 0\nnod /dev/console 600 0 0 c 5 1\n\
            file /init init 755 0 7\nfile /bin/tool @tool 700 3 0\nslink /bin/sh tool 777 0 0\n";
        let directory = scratch("reads", list);
        std::fs::write(directory.join("elsewhere"), [7; 5]).unwrap();
        let archive = assemble(
            &directory.join("contents"),
            &[("tool", &directory.join("elsewhere"))],
        )
        .unwrap();
        let expected = [
            ("dev", 0o040_755, Vec::new(), (0, 0)),
            ("dev/console", 0o020_600, Vec::new(), (5, 1)),
            ("init", 0o100_755, b"#!/bin/sh\n".to_vec(), (0, 0)),
            ("bin/tool", 0o100_700, vec![7; 5], (0, 0)),
            ("bin/sh", 0o120_777, b"tool".to_vec(), (0, 0)),
        ];
        let expected =
            expected.map(|(name, mode, content, device)| (name.to_owned(), mode, content, device));
        assert_eq!(records(&archive), expected);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_repositorys_list_can_be_packed() {
        let list = crate::workspace().unwrap().join("guest/initramfs/contents");
        let archive = assemble(&list, &[("busybox", &list), ("workload", &list)]).unwrap();
        let names: Vec<_> = records(&archive)
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        assert!(
            ["init", "bin/busybox", "bin/workload"]
                .iter()
                .all(|name| names.iter().any(|other| other == name))
        );
    }

    #[test]
    fn wrong_lines_are_named() {
        for (line, reason) in [
            ("dir /dev 755 0", "neither dir"),
            ("link /a b 755 0 0", "neither dir"),
            ("dir /dev 8 0 0", "not a number"),
            ("nod /dev/x 600 0 0 p 1 1", "neither b nor c"),
            ("file /x @nobody 644 0 0", "nobody supplies"),
            ("file /x missing 644 0 0", "missing"),
        ] {
            let directory = scratch("wrong", &format!("dir /dev 755 0 0\n{line}\n"));
            let error = assemble(&directory.join("contents"), &[])
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("contents:2: ") && error.contains(reason),
                "{line}: {error}"
            );
        }
    }
}
