// SPDX-License-Identifier: BSD-2-Clause
//! Programs of Debian's with the libraries that they need, as an archive to follow an initramfs.
//!
//! Responsible for: which files of unpacked packages a dynamically linked program needs (System V ABI, `DT_NEEDED`), and
//! where its loader looks for them. Never: takes anything else of a package along.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, SectionHeader as _};
use object::{Endianness, elf};

use super::{Entry, EntryKind, PrepareError, Result, file, initramfs};

/// Where Debian has libraries, without and with `/usr` merged.
const DIRECTORIES: [&str; 2] = ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu"];
/// The loader, where programs name it.
const LOADER: &str = "lib/ld-linux-aarch64.so.1";
/// Directories of the archive.
const PLACES: [&str; 5] = ["usr", "usr/bin", "lib", "usr/lib", DIRECTORIES[1]];

/// An archive of these programs, which are files below `root` as packages have them, and of the libraries that they need.
///
/// # Errors
///
/// One of them is not there, or no program.
pub fn with_libraries(root: &Path, programs: &[&str]) -> Result<Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut wanted: Vec<String> = Vec::new();
    for program in programs {
        let content = read(root, &[program])?;
        wanted.extend(needed(program, &content)?);
        files.insert((*program).to_owned(), content);
    }
    files.insert(LOADER.to_owned(), read(root, &[LOADER])?);
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let places = DIRECTORIES.map(|directory| format!("{directory}/{name}"));
        let content = read(root, &places.each_ref().map(String::as_str))?;
        wanted.extend(needed(&name, &content)?);
        files.insert(format!("{}/{name}", DIRECTORIES[1]), content);
    }
    let directories = PLACES.map(|name| entry(name, EntryKind::Directory));
    let files = files
        .into_iter()
        .map(|(name, content)| entry(&name, EntryKind::File(content)));
    let entries: Vec<_> = directories.into_iter().chain(files).collect();
    Ok(initramfs(&entries))
}

fn entry(name: &str, kind: EntryKind) -> Entry {
    Entry {
        name: name.to_owned(),
        mode: 0o755,
        user: 0,
        group: 0,
        kind,
    }
}

/// The first of several files that is there.
fn read(root: &Path, names: &[&str]) -> Result<Vec<u8>> {
    let paths: Vec<PathBuf> = names.iter().map(|name| root.join(name)).collect();
    let found = paths.iter().find(|path| path.is_file());
    let path = found.or(paths.first()).map_or(root, PathBuf::as_path);
    std::fs::read(path).map_err(|source| file(path, source))
}

/// The names of the libraries that a program or library needs itself.
fn needed(name: &str, content: &[u8]) -> Result<Vec<String>> {
    let wrong = || PrepareError::Package {
        package: name.to_owned(),
        file: "list of libraries".to_owned(),
    };
    let parsed = ElfFile64::<Endianness>::parse(content).map_err(|_| wrong())?;
    let endian = parsed.endian();
    let sections = parsed
        .elf_header()
        .sections(endian, content)
        .map_err(|_| wrong())?;
    let mut names = Vec::new();
    for section in sections.iter() {
        let Ok(Some((entries, strings))) = section.dynamic(endian, content) else {
            continue;
        };
        let strings = sections
            .strings(endian, content, strings)
            .map_err(|_| wrong())?;
        for entry in entries {
            if entry.tag32(endian) == Some(elf::DT_NEEDED) {
                let name = entry.string(endian, strings).map_err(|_| wrong())?;
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    // The loader is among them, and where programs name it.
    names.retain(|name| !LOADER.ends_with(name.as_str()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_machines_own_needs_the_c_library() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        let names = needed("this", &program).unwrap();
        assert!(
            names.iter().any(|name| name.starts_with("libc.so")),
            "{names:?}"
        );
    }

    #[test]
    fn what_is_no_program_is_named() {
        let error = needed("libnone.so", b"no ELF").unwrap_err().to_string();
        assert!(error.contains("libnone.so"), "{error}");
        let error = with_libraries(Path::new("/nonexistent"), &["usr/bin/gdb"]).unwrap_err();
        assert!(error.to_string().contains("usr/bin/gdb"), "{error}");
    }
}
