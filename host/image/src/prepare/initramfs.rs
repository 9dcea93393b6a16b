// SPDX-License-Identifier: BSD-2-Clause
//! The initramfs: a cpio archive in the format that Linux unpacks at boot.
//!
//! Responsible for: writing the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst) and reading
//! lists of contents in the format of the kernel's own `usr/gen_init_cpio.c`. Never: takes anything from the file
//! system but the files' bytes, so that the same files give the same archive.

use std::path::Path;

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

impl EntryKind {
    /// Its bits of `st_mode`, from `include/uapi/linux/stat.h`.
    const fn mode(&self) -> u32 {
        match self {
            Self::Directory => 0o040_000,
            Self::File(_) => 0o100_000,
            Self::Link(_) => 0o120_000,
            Self::Device { block: true, .. } => 0o060_000,
            Self::Device { block: false, .. } => 0o020_000,
        }
    }
}

/// Writes an archive.
#[must_use]
pub fn initramfs(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (inode, entry) in (1..).zip(entries) {
        let (content, major, minor): (&[u8], u32, u32) = match &entry.kind {
            EntryKind::Directory => (&[], 0, 0),
            EntryKind::File(bytes) => (bytes, 0, 0),
            EntryKind::Link(target) => (target.as_bytes(), 0, 0),
            EntryKind::Device { major, minor, .. } => (&[], *major, *minor),
        };
        let links = if entry.kind == EntryKind::Directory {
            2
        } else {
            1
        };
        let mode = entry.kind.mode() | entry.mode;
        let numbers = [inode, mode, entry.user, entry.group, links, 0];
        write(&mut archive, numbers, content, [major, minor], &entry.name);
    }
    write(&mut archive, [0, 0, 0, 0, 1, 0], &[], [0, 0], "TRAILER!!!");
    archive
}

/// One record: inode, mode, user, group, links and time; size; device of the file (none) and of a device file; name.
fn write(archive: &mut Vec<u8>, numbers: [u32; 6], content: &[u8], device: [u32; 2], name: &str) {
    archive.extend_from_slice(b"070701");
    let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
    let rest = [size, 0, 0, device[0], device[1], name_size, 0];
    for number in numbers.into_iter().chain(rest) {
        archive.extend_from_slice(format!("{number:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
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
    use super::*;

    /// Name, mode, content and device number of a file.
    type Record = (String, u32, Vec<u8>, (u32, u32));

    /// An archive, read back.
    fn records(archive: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        let mut at = 0;
        loop {
            assert_eq!(&archive[at..at + 6], b"070701", "a record begins at {at}");
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                u32::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16)
                    .unwrap()
            };
            let (size, name_size) = (field(6) as usize, field(11) as usize);
            let name_at = at + 110;
            let name = std::str::from_utf8(&archive[name_at..name_at + name_size - 1])
                .unwrap()
                .to_owned();
            let content_at = (name_at + name_size).next_multiple_of(4);
            let content = archive[content_at..content_at + size].to_vec();
            if name == "TRAILER!!!" {
                assert_eq!(content_at, archive.len());
                return records;
            }
            records.push((name, field(1), content, (field(9), field(10))));
            at = (content_at + size).next_multiple_of(4);
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
