// SPDX-License-Identifier: BSD-2-Clause
//! The domains built against rust-sel4's own `sel4` and `sel4-microkit` in place of ours.
//!
//! Responsible for: a workspace below the target directory that has our domains, as links to our sources, and those
//! two crates of a checkout of rust-sel4. That the domains compile and work there shows that `runtime/sel4` and
//! `runtime/sel4-microkit` keep to the original's interface. Never: fetches the checkout, or brings anything of it into ours.
//!
//! The originals take the kernel's numbers from its headers when they are compiled, so the programs fit one board and
//! configuration. They use unstable features of the compiler, our crates do not: `UNSTABLE` names who may.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::ImageError;
use super::cargo::{Workspace, target_directory};
use crate::io::write;

/// The version whose interface ours is.
pub const VERSION: &str = "5.0.0";
/// What says where the checkout is.
const VARIABLE: &str = "RUST_SEL4";
/// The crates that are taken from it, and where they are there.
const CRATES: [(&str, &str); 2] = [
    ("sel4", "crates/sel4"),
    ("sel4-microkit", "crates/sel4-microkit"),
];
/// Those of its crates that need unstable features, as the compiler takes it.
const UNSTABLE: &str = "sel4,sel4_ctors_dtors,sel4_microkit,sel4_microkit_base,sel4_panicking,sel4_panicking_env,\
                        sel4_phdrs,sel4_runtime_common";
/// Set apart from our own packages in the lock file: rust-sel4 has a `sel4-sys` of the same version too.
const OUR_VERSION: &str = "0.1.0-upstream";
/// Where packages come from; nothing that the two crates need is elsewhere.
const REGISTRY: &str = "registry+";

/// Why the originals cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// There is no checkout.
    #[error(
        "no rust-sel4 {VERSION} {}\n\
         Fetch it with `git clone --branch v{VERSION} https://github.com/seL4/rust-sel4` and set {VARIABLE} to where \
         it is.\n\
         Our own crates work without it: leave out `--sel4-crates upstream`.",
        path.as_ref().map_or_else(|| format!("named by {VARIABLE}"), |path| format!("at {}", path.display()))
    )]
    Missing {
        /// Where it was looked for.
        path: Option<PathBuf>,
    },
    /// Another version.
    #[error("rust-sel4 at {} is version {found}, ours are written after {VERSION}", path.display())]
    Version {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// A manifest or lock file is not as expected.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The workspace of the domains with the originals, for a kernel whose headers are in a directory.
///
/// Made anew each time, which costs nothing and changes nothing if nothing has changed.
///
/// # Errors
///
/// There is no checkout, or a file cannot be read or written.
pub(super) fn workspace(root: &Path, headers: &Path) -> Result<Workspace, ImageError> {
    let checkout = checkout(std::env::var_os(VARIABLE))?;
    let directory = target_directory(root)?.join("upstream");
    std::fs::create_dir_all(&directory).map_err(|source| ImageError::Write {
        path: directory.clone(),
        source,
    })?;
    let ours = table(&root.join("Cargo.toml"))?;
    for entry in entries(&ours) {
        link(&root.join(&entry), &directory.join(&entry))?;
    }
    let manifest = manifest(&ours, &checkout).map_err(|reason| UpstreamError::Manifest {
        path: root.join("Cargo.toml"),
        reason: reason.to_owned(),
    })?;
    write(&directory.join("Cargo.toml"), manifest.to_string())?;
    let locks = [root, &checkout].map(|directory| table(&directory.join("Cargo.lock")));
    let [ours, theirs] = locks;
    write(
        &directory.join("Cargo.lock"),
        lock(&ours?, &theirs?).to_string(),
    )?;
    let script = root.join("runtime/sel4-microkit/link.ld");
    Ok(Workspace {
        target_directory: Some(directory.join("target")),
        root: directory,
        environment: vec![
            ("SEL4_INCLUDE_DIRS", headers.into()),
            ("RUSTC_BOOTSTRAP", UNSTABLE.into()),
            // What our sel4-microkit would tell the domains' build scripts.
            ("DEP_SEL4_MICROKIT_LINK_SCRIPT", script.into()),
        ],
    })
}

/// The checkout, if it is one of the right version; its path not relative, because cargo is started elsewhere.
fn checkout(named: Option<OsString>) -> Result<PathBuf, UpstreamError> {
    // Only the empty path has no absolute one.
    let Some(path) = named.and_then(|path| std::path::absolute(path).ok()) else {
        return Err(UpstreamError::Missing { path: None });
    };
    let complete = CRATES
        .iter()
        .all(|(_, directory)| path.join(directory).join("Cargo.toml").is_file());
    let version = std::fs::read_to_string(path.join("VERSION"));
    match version {
        Ok(version) if complete && version.trim() == VERSION => Ok(path),
        Ok(version) if complete => Err(UpstreamError::Version {
            found: version.trim().to_owned(),
            path,
        }),
        _ => Err(UpstreamError::Missing { path: Some(path) }),
    }
}

/// The directories that our packages are in, as seen from the workspace's.
fn entries(ours: &Table) -> BTreeSet<String> {
    members(ours)
        .filter_map(|member| member.split('/').next())
        .map(str::to_owned)
        .collect()
}

fn members(ours: &Table) -> impl Iterator<Item = &str> {
    let members = ours.get("workspace").and_then(|table| table.get("members"));
    members
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Our workspace's manifest with the domains alone, and the originals in place of ours.
fn manifest(ours: &Table, checkout: &Path) -> Result<Table, &'static str> {
    let domains = members(ours).filter(|member| member.ends_with("-pd"));
    let domains: Vec<Value> = domains.map(Value::from).collect();
    let mut manifest = ours.clone();
    let workspace = manifest
        .get_mut("workspace")
        .and_then(Value::as_table_mut)
        .ok_or("no [workspace]")?;
    workspace.remove("default-members");
    workspace.insert("members".to_owned(), domains.into());
    workspace
        .get_mut("package")
        .and_then(Value::as_table_mut)
        .ok_or("no [workspace.package]")?
        .insert("version".to_owned(), OUR_VERSION.into());
    let dependencies = workspace
        .get_mut("dependencies")
        .and_then(Value::as_table_mut)
        .ok_or("no [workspace.dependencies]")?;
    for (name, directory) in CRATES {
        let path = checkout.join(directory);
        let path = path
            .to_str()
            .ok_or("the checkout's path is not UTF-8")?
            .to_owned();
        let replaced = dependencies.insert(
            name.to_owned(),
            Table::from_iter([("path".to_owned(), path.into())]).into(),
        );
        replaced.ok_or("the domains do not use the crates to replace")?;
    }
    // It speaks of a package that is none of these.
    let release = manifest
        .get_mut("profile")
        .and_then(|profiles| profiles.get_mut("release"))
        .and_then(Value::as_table_mut);
    if let Some(release) = release {
        release.remove("package");
    }
    Ok(manifest)
}

/// What both lock files have from the registry, ours first, as a start: cargo keeps to it, drops what nothing needs, and
/// adds what is missing. Of a package that ours knows, theirs may ask for a version that does not go with it.
fn lock(ours: &Table, theirs: &Table) -> Table {
    let ours_has: BTreeSet<_> = packages(ours).map(name).collect();
    let theirs = packages(theirs).filter(|package| !ours_has.contains(name(package)));
    let all: Vec<Value> = packages(ours).chain(theirs).cloned().collect();
    let mut lock = ours.clone();
    lock.insert("package".to_owned(), all.into());
    lock
}

/// The packages of a lock file that come from the registry.
fn packages(lock: &Table) -> impl Iterator<Item = &Value> {
    let all = lock.get("package").and_then(Value::as_array);
    let source = |package: &Value| Some(package.get("source")?.as_str()?.starts_with(REGISTRY));
    all.into_iter()
        .flatten()
        .filter(move |package| source(package) == Some(true))
}

fn name(package: &Value) -> &str {
    let name = package.get("name").and_then(Value::as_str);
    name.unwrap_or_default()
}

fn table(path: &Path) -> Result<Table, ImageError> {
    let text = std::fs::read_to_string(path).map_err(|source| ImageError::Read {
        path: path.to_owned(),
        source,
    })?;
    let table = text.parse().map_err(|error: toml::de::Error| {
        let path = path.to_owned();
        let reason = error.to_string();
        UpstreamError::Manifest { path, reason }
    })?;
    Ok(table)
}

/// Makes `link` a link to `target`.
fn link(target: &Path, link: &Path) -> Result<(), ImageError> {
    if std::fs::read_link(link).is_ok_and(|current| current == target) {
        return Ok(());
    }
    let made = match std::fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::os::unix::fs::symlink(target, link),
    };
    made.map_err(|source| ImageError::Write {
        path: link.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up checkout.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("godwit-upstream-{name}-{}", std::process::id()));
            for (_, directory) in CRATES {
                std::fs::create_dir_all(path.join(directory)).unwrap();
                std::fs::write(path.join(directory).join("Cargo.toml"), "").unwrap();
            }
            std::fs::write(path.join("VERSION"), "5.0.0\n").unwrap();
            Self(path)
        }

        fn find(&self) -> Result<PathBuf, UpstreamError> {
            checkout(Some(self.0.clone().into()))
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn without_a_checkout_the_message_says_what_to_fetch_and_where_to_put_it() {
        for named in [None, Some("".into()), Some("/nonexistent".into())] {
            let error = checkout(named).unwrap_err().to_string();
            for part in ["v5.0.0", "https://github.com/seL4/rust-sel4", "RUST_SEL4"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn a_checkout_of_another_version_or_of_a_part_is_refused() {
        let fake = Fake::new("version");
        assert_eq!(fake.find().unwrap(), fake.0);
        let here = checkout(Some("nothing-here".into())).unwrap_err();
        assert!(matches!(here, UpstreamError::Missing { path: Some(path) } if path.is_absolute()));
        std::fs::write(fake.0.join("VERSION"), "4.0.0\n").unwrap();
        let error = fake.find().unwrap_err();
        assert!(matches!(error, UpstreamError::Version { found, .. } if found == "4.0.0"));
        std::fs::remove_file(fake.0.join("crates/sel4/Cargo.toml")).unwrap();
        assert!(matches!(
            fake.find().unwrap_err(),
            UpstreamError::Missing { path: Some(_) }
        ));
    }

    #[test]
    fn the_workspace_has_the_domains_and_nothing_of_ours_in_place_of_the_originals() {
        let root = crate::workspace().unwrap();
        let ours = table(&root.join("Cargo.toml")).unwrap();
        let manifest = manifest(&ours, Path::new("/checkout")).unwrap();
        let kept: Vec<_> = members(&manifest).collect();
        assert!(kept.contains(&"vmm-pd") && kept.contains(&"pds/link-pd"));
        assert!(!kept.contains(&"kernel") && !kept.contains(&"runtime/sel4"));
        let dependency = |name: &str| &manifest["workspace"]["dependencies"][name]["path"];
        assert_eq!(dependency("sel4").as_str(), Some("/checkout/crates/sel4"));
        assert_eq!(
            dependency("sel4-microkit").as_str(),
            Some("/checkout/crates/sel4-microkit")
        );
        assert_eq!(dependency("channel").as_str(), Some("runtime/channel"));
        assert_eq!(manifest["profile"]["domain"], ours["profile"]["domain"]);
        assert!(entries(&ours).contains("pds"));
    }

    /// The originals have none of our features, and cargo resolves every feature that a member names, chosen or not.
    #[test]
    fn no_domain_asks_a_crate_that_is_exchanged_for_a_feature() {
        let root = crate::workspace().unwrap();
        let ours = table(&root.join("Cargo.toml")).unwrap();
        let manifest = manifest(&ours, Path::new("/checkout")).unwrap();
        let exchanged = CRATES.map(|(name, _)| name);
        let mut asked = 0;
        for member in members(&manifest) {
            let package = table(&root.join(member).join("Cargo.toml")).unwrap();
            let features = package.get("features").and_then(Value::as_table);
            for (feature, wants) in features.into_iter().flatten() {
                for wanted in wants
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                {
                    let Some((name, of_it)) = wanted.split_once('/') else {
                        continue;
                    };
                    asked += 1;
                    let name = name.trim_end_matches('?');
                    assert!(
                        !exchanged.contains(&name),
                        "{member}: {feature}: {name}/{of_it}"
                    );
                }
            }
        }
        assert!(asked > 0, "domains ask others for features");
    }

    #[test]
    fn the_lock_file_has_our_versions_first_and_no_package_from_elsewhere() {
        let parse = |text: &str| text.parse::<Table>().unwrap();
        let ours = parse(
            "version = 4\n\
             [[package]]\nname = \"vmm-pd\"\nversion = \"0.1.0\"\n\
             [[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\n",
        );
        let theirs = parse(
            "[[package]]\nname = \"a\"\nversion = \"1.0.1\"\nsource = \"registry+x\"\n\
             [[package]]\nname = \"b\"\nversion = \"2.0.0\"\nsource = \"registry+x\"\n\
             [[package]]\nname = \"c\"\nversion = \"3.0.0\"\nsource = \"git+x\"\n",
        );
        let lock = lock(&ours, &theirs);
        let all = lock["package"].as_array().unwrap();
        let all = all
            .iter()
            .map(|package| (name(package), &package["version"]));
        assert_eq!(
            all.collect::<Vec<_>>(),
            [("a", &"1.0.0".into()), ("b", &"2.0.0".into())]
        );
        assert_eq!(lock["version"].as_integer(), Some(4));
    }
}
