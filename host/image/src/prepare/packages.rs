// SPDX-License-Identifier: BSD-2-Clause
//! Packages of Debian's archive, of the guests' architectures, without installing them.
//!
//! Responsible for: fetching and unpacking single files with apt and dpkg, from the system's own sources and checked
//! with its keys, in a directory of our own. Never: touches the system's package state, so it needs no root.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::run;
use super::{PrepareError, Result, file};
use crate::files;

/// A file of a package.
#[derive(Clone, Copy, Debug)]
pub struct Package<'a> {
    /// The package, or one that only depends on the one that has the file.
    pub name: &'a str,
    /// The file's path in the package, or how it begins; `usr/` in front of it is tried as well.
    pub file: &'a str,
    /// Where to put it.
    pub target: &'a Path,
}

/// Fetches what is not there yet. `report` hears of each package.
///
/// # Errors
///
/// Apt cannot fetch a package, or a package lacks its file.
pub fn fetch(packages: &[Package<'_>], directory: &Path, report: &dyn Fn(&str)) -> Result<()> {
    fetch_for("arm64", packages, directory, report)
}

/// The same of another of Debian's architectures.
///
/// # Errors
///
/// As [`fetch`].
pub fn fetch_for(
    architecture: &str,
    packages: &[Package<'_>],
    directory: &Path,
    report: &dyn Fn(&str),
) -> Result<()> {
    fetch_with(architecture, packages, directory, "", report)
}

/// The same with more for apt's configuration.
fn fetch_with(
    architecture: &str,
    packages: &[Package<'_>],
    directory: &Path,
    more: &str,
    report: &dyn Fn(&str),
) -> Result<()> {
    let wanted: Vec<_> = packages
        .iter()
        .filter(|package| !package.target.is_file())
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let apt = Apt::new(directory.join("apt"), architecture, more)?;
    report(&format!(
        "asking Debian's archive for {architecture} packages"
    ));
    let complaint = apt.update()?;
    for package in wanted {
        let unfetched = |error| match error {
            PrepareError::Command { output, .. } => PrepareError::Fetch {
                package: package.name.to_owned(),
                said: indented(&format!("{complaint}\n{output}")),
            },
            error => error,
        };
        let name = apt.real_name(package.name).map_err(unfetched)?;
        report(&format!("fetching {name} ({architecture})"));
        let archive = apt.download(&name).map_err(unfetched)?;
        let unpacked = apt.unpack(&name, &archive)?;
        let source = find(&unpacked, package.file);
        let source = source.ok_or_else(|| PrepareError::Package {
            package: name,
            file: package.file.to_owned(),
        })?;
        keep(&source, package.target).map_err(|error| file(package.target, error))?;
    }
    std::fs::remove_dir_all(&apt.root).map_err(|error| file(&apt.root, error))
}

/// Fetches packages with all that they depend on, and hands over the directory that they were unpacked to, which is gone
/// afterwards. `report` hears of each step.
///
/// # Errors
///
/// Apt cannot fetch them, or what `then` says.
pub fn unpacked<R>(
    packages: &[&str],
    directory: &Path,
    report: &dyn Fn(&str),
    then: impl FnOnce(&Path) -> Result<R>,
) -> Result<R> {
    let apt = Apt::new(directory.join("apt-unpacked"), "arm64", "")?;
    report("asking Debian's archive for arm64 packages");
    apt.update()?;
    report(&format!(
        "fetching {} and what they need (arm64)",
        packages.join(", ")
    ));
    let options = [
        "-qq",
        "--yes",
        "--no-install-recommends",
        "--download-only",
        "install",
    ];
    run(apt.command("apt-get").args(options).args(packages))?;
    let cache = apt.root.join("cache/archives");
    let entries = std::fs::read_dir(&cache).map_err(|error| file(&cache, error))?;
    let archives = entries.flatten().map(|entry| entry.path());
    for archive in archives.filter(|path| path.extension().is_some_and(|is| is == "deb")) {
        apt.unpack("all", &archive)?;
    }
    let done = then(&apt.root.join("unpacked-all"))?;
    std::fs::remove_dir_all(&apt.root).map_err(|error| file(&apt.root, error))?;
    Ok(done)
}

/// Copies a file to where it is looked for from now on: an interrupted run leaves nothing there that looks complete, not
/// even if the machine loses its power.
fn keep(source: &Path, target: &Path) -> std::io::Result<()> {
    let partial = files::partial(target);
    std::fs::copy(source, &partial)?;
    std::fs::File::open(&partial)?.sync_all()?;
    std::fs::rename(&partial, target)
}

/// Lines as a message quotes them, each once.
fn indented(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().map(|line| format!("  {line}")).collect();
    lines.retain(|line| !line.trim().is_empty());
    lines.dedup();
    lines.join("\n")
}

/// Apt with an architecture and a state of its own.
struct Apt {
    root: PathBuf,
}

/// Name of apt's configuration in its directory.
const CONFIGURATION: &str = "apt.conf";

/// Configuration that apt reads after the system's own: places, architecture, and none of the system's hooks, which
/// would tidy up the system's package state.
fn configuration(root: &Path, architecture: &str) -> String {
    let root = root.display();
    format!(
        r#"Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
// Apt would drop to a user who cannot write here.
APT::Sandbox::User "root";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"#
    )
}

impl Apt {
    /// Nothing of what an interrupted run may have left there is trusted.
    fn new(root: PathBuf, architecture: &str, more: &str) -> Result<Self> {
        match std::fs::remove_dir_all(&root) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(file(&root, source));
            }
            _ => {}
        }
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = root.join(part);
            std::fs::create_dir_all(&path).map_err(|source| file(&path, source))?;
        }
        let apt = Self { root };
        // Nothing is installed there.
        apt.write("state/status", "")?;
        apt.write(
            CONFIGURATION,
            &(configuration(&apt.root, architecture) + more),
        )?;
        Ok(apt)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.root.join(name);
        std::fs::write(&path, text).map_err(|source| file(&path, source))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.root.join(CONFIGURATION));
        command.current_dir(&self.root);
        command
    }

    /// What apt complains about: a source that fails matters only if the others lack what is wanted.
    fn update(&self) -> Result<String> {
        let strict = "APT::Update::Error-Mode=any";
        match run(self
            .command("apt-get")
            .args(["-qq", "-o", strict, "update"]))
        {
            Ok(_) => Ok(String::new()),
            Err(PrepareError::Command { output, .. }) => Ok(output),
            Err(error) => Err(error),
        }
    }

    /// The package itself, or the one it depends on if it is nothing but a name for it.
    fn real_name(&self, package: &str) -> Result<String> {
        let depends = run(self
            .command("apt-cache")
            .args(["depends", "--important", package]))?;
        let image = |name: &&str| name.starts_with("linux-image-");
        Ok(dependencies(&depends)
            .find(image)
            .unwrap_or(package)
            .to_owned())
    }

    fn download(&self, package: &str) -> Result<PathBuf> {
        run(self.command("apt-get").args(["-qq", "download", package]))?;
        find(&self.root, &format!("{package}_")).ok_or_else(|| PrepareError::Package {
            package: package.to_owned(),
            file: "archive".to_owned(),
        })
    }

    fn unpack(&self, package: &str, archive: &Path) -> Result<PathBuf> {
        let unpacked = self.root.join(format!("unpacked-{package}"));
        run(Command::new("dpkg-deb")
            .current_dir(&self.root)
            .arg("-x")
            .arg(archive)
            .arg(&unpacked))?;
        Ok(unpacked)
    }
}

/// What a package depends on, from what `apt-cache depends` says.
fn dependencies(output: &str) -> impl Iterator<Item = &str> {
    output
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
}

/// The first file, by name, whose path below a directory begins so, with or without `usr/` in front.
fn find(directory: &Path, prefix: &str) -> Option<PathBuf> {
    [prefix.to_owned(), format!("usr/{prefix}")]
        .into_iter()
        .find_map(|prefix| {
            let path = directory.join(prefix);
            let name = path.file_name()?.to_string_lossy().into_owned();
            let entries = std::fs::read_dir(path.parent()?).ok()?.flatten();
            let begins =
                |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&name);
            let mut found: Vec<_> = entries
                .filter(begins)
                .map(|entry| entry.path())
                .filter(|path| path.is_file())
                .collect();
            found.sort();
            found.into_iter().next()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_package_that_is_only_a_name_leads_to_the_one_behind_it() {
        let output = "linux-image-cloud-arm64\n  Depends: linux-image-6.1.0-56-cloud-arm64\n  Recommends: x\n";
        assert_eq!(
            dependencies(output).collect::<Vec<_>>(),
            ["linux-image-6.1.0-56-cloud-arm64"]
        );
    }

    #[test]
    fn files_are_found_where_either_layout_has_them() {
        let root = std::env::temp_dir().join(format!("godwit-packages-{}", std::process::id()));
        std::fs::create_dir_all(root.join("boot")).unwrap();
        std::fs::create_dir_all(root.join("usr/bin/busybox.d")).unwrap();
        std::fs::write(root.join("boot/vmlinuz-6.1"), "").unwrap();
        std::fs::write(root.join("usr/bin/busybox"), "").unwrap();
        assert_eq!(
            find(&root, "boot/vmlinuz-"),
            Some(root.join("boot/vmlinuz-6.1"))
        );
        assert_eq!(
            find(&root, "bin/busybox"),
            Some(root.join("usr/bin/busybox"))
        );
        assert_eq!(find(&root, "bin/other"), None);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn apt_keeps_to_its_own_directory() {
        let configuration = configuration(Path::new("/target/guest/apt"), "arm64");
        for place in ["Dir::State ", "Dir::State::status ", "Dir::Cache "] {
            let line = configuration
                .lines()
                .find(|line| line.starts_with(place))
                .unwrap();
            assert!(line.contains("\"/target/guest/apt/"), "{line}");
        }
    }

    #[test]
    fn what_is_there_is_not_fetched_again() {
        let here = crate::workspace().unwrap().join("system.xml");
        let package = Package {
            name: "no-such-package",
            file: "x",
            target: &here,
        };
        fetch(&[package], Path::new("/nonexistent"), &|step| {
            panic!("{step}")
        })
        .unwrap();
    }

    /// A mirror with one package, `thing`, that has one file, and the configuration that makes apt ask no other.
    struct Mirror(Scratch);

    impl Mirror {
        fn new() -> Self {
            let mirror = Self(Scratch::new().unwrap());
            let control = "Package: thing\nVersion: 1\nArchitecture: arm64\nMaintainer: a test\nDescription: x\n";
            for (name, text) in [
                ("tree/DEBIAN/control", control),
                ("tree/usr/bin/thing", "whole"),
            ] {
                std::fs::create_dir_all(mirror.at(name).parent().unwrap()).unwrap();
                std::fs::write(mirror.at(name), text).unwrap();
            }
            let build = ["dpkg-deb", "--build", "tree", "thing.deb"];
            let sum = mirror.run(&build) + &mirror.run(&["sha256sum", "thing.deb"]);
            let sum = sum
                .lines()
                .last()
                .and_then(|line| line.split(' ').next())
                .unwrap();
            let size = std::fs::metadata(mirror.at("thing.deb")).unwrap().len();
            let entry = format!("{control}Filename: ./thing.deb\nSize: {size}\nSHA256: {sum}\n");
            std::fs::write(mirror.at("Packages"), entry).unwrap();
            mirror.source(&format!("copy:{}/", mirror.0.path().display()));
            mirror
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn run(&self, command: &[&str]) -> String {
            run(Command::new(command[0])
                .args(&command[1..])
                .current_dir(self.0.path()))
            .unwrap()
        }

        fn source(&self, address: &str) {
            let line = format!("deb [trusted=yes] {address} ./\n");
            std::fs::write(self.at("sources.list"), line).unwrap();
        }

        /// What became of fetching, and where the file is then.
        fn fetch(&self) -> (Result<()>, PathBuf) {
            let target = self.at("fetched");
            let sources = self.at("sources.list");
            let more = format!(
                "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"-\";\nAcquire::Retries \"0\";\n",
                sources.display()
            );
            let package = Package {
                name: "thing",
                file: "bin/thing",
                target: &target,
            };
            (
                fetch_with("arm64", &[package], self.0.path(), &more, &|_| ()),
                target,
            )
        }
    }

    #[test]
    fn a_package_is_fetched_whole_or_not_at_all() {
        let mirror = Mirror::new();
        let archive = std::fs::read(mirror.at("thing.deb")).unwrap();
        std::fs::write(mirror.at("thing.deb"), &archive[..archive.len() / 2]).unwrap();
        let (result, target) = mirror.fetch();
        let error = result.unwrap_err().to_string();
        assert!(error.contains("thing cannot be fetched"), "{error}");
        assert!(!target.exists());
        std::fs::write(mirror.at("thing.deb"), archive).unwrap();
        mirror.fetch().0.unwrap();
        assert_eq!(std::fs::read(target).unwrap(), b"whole");
        assert!(!mirror.at("apt").exists());
    }

    #[test]
    fn what_an_interrupted_run_left_behind_is_not_used() {
        let mirror = Mirror::new();
        for name in [
            "apt/thing_0_arm64.deb",
            "apt/unpacked-thing/bin/thing",
            "fetched.partial",
        ] {
            std::fs::create_dir_all(mirror.at(name).parent().unwrap()).unwrap();
            std::fs::write(mirror.at(name), "a half").unwrap();
        }
        let (result, target) = mirror.fetch();
        result.unwrap();
        assert_eq!(std::fs::read(target).unwrap(), b"whole");
        assert!(!mirror.at("fetched.partial").exists());
    }

    #[test]
    fn a_mirror_that_is_not_there_is_told_with_apts_words_and_what_to_do() {
        let mirror = Mirror::new();
        // Nobody listens there: the port of "discard" (RFC 863).
        mirror.source("http://127.0.0.1:9/");
        let error = mirror.fetch().0.unwrap_err().to_string();
        assert!(error.contains("Look at the network"), "{error}");
        assert!(error.contains("127.0.0.1:9"), "{error}");
    }
}
