// SPDX-License-Identifier: BSD-2-Clause
//! Running cargo for what runs on boards and in guests.
//!
//! Responsible for: which workspace and environment that happens in, and where the programs are afterwards. Never:
//! decides what is built.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::ImageError;
use crate::files;

/// What the domains and the embedded kernel are built for: no floating-point registers of their own.
pub const TARGET: &str = "aarch64-unknown-none-softfloat";
/// Cargo's profile for them.
pub(super) const PROFILE: &str = "domain";

/// Cargo features by package.
pub(super) type Features = BTreeMap<String, Vec<String>>;

/// A workspace to build in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Workspace {
    /// Its directory.
    pub(super) root: PathBuf,
    /// Where cargo puts what it builds, if not where its configuration says.
    pub(super) target_directory: Option<PathBuf>,
    /// What cargo and the compiler find in their environment besides.
    pub(super) environment: Vec<(&'static str, OsString)>,
}

impl Workspace {
    /// The workspace in a directory, as it stands.
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            target_directory: None,
            environment: Vec::new(),
        }
    }

    /// Builds packages; their programs by name.
    pub(super) fn build(
        &self,
        profile: &str,
        target: &str,
        packages: &Features,
    ) -> Result<BTreeMap<String, PathBuf>, ImageError> {
        let mut command = cargo(&self.root);
        command.envs(self.environment.iter().cloned());
        command.args(["build", "--profile", profile, "--target", target]);
        command.args(["--message-format", "json-render-diagnostics"]);
        if let Some(directory) = &self.target_directory {
            command.arg("--target-dir").arg(directory);
        }
        for (package, features) in packages {
            command.args(["--package", package]);
            for feature in features {
                command.args(["--features", &format!("{package}/{feature}")]);
            }
        }
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| ImageError::Cargo { source })?;
        if !output.status.success() {
            return Err(self.failure(packages));
        }
        Ok(executables(&output.stdout))
    }

    /// Why cargo has failed to build packages, besides what it said itself.
    fn failure(&self, packages: &Features) -> ImageError {
        let path = match &self.target_directory {
            Some(directory) => Ok(directory.clone()),
            None => target_directory(&self.root),
        };
        match path.map(|path| (files::full(&path), path)) {
            Ok((Some(free), path)) => ImageError::Full { path, free },
            _ => ImageError::Compile {
                packages: packages.keys().cloned().collect(),
            },
        }
    }
}

/// The part of cargo's messages that matters here.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<MessageTarget>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
}

fn executables(messages: &[u8]) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    for line in messages.split(|&byte| byte == b'\n') {
        if let Ok(Message {
            executable: Some(file),
            target: Some(target),
        }) = serde_json::from_slice(line)
        {
            files.insert(target.name, file);
        }
    }
    files
}

/// Builds the program of a package that is not a domain.
///
/// # Errors
///
/// It does not compile.
pub fn build_program(
    root: &Path,
    package: &str,
    features: &[&str],
    profile: &str,
    target: &str,
) -> Result<PathBuf, ImageError> {
    executable(&Workspace::at(root), package, features, profile, target)
}

/// Builds one of our bare-metal guests, a flat binary for [`crate::guest::Program::Flat`].
///
/// # Errors
///
/// It does not compile.
pub fn build_guest(root: &Path, package: &str) -> Result<PathBuf, ImageError> {
    build_program(root, package, &["bare"], PROFILE, TARGET)
}

/// Builds a domain's program with other features than usual, for [`super::ImageRequest::domain_overrides`].
///
/// In a directory of its own below the target directory, so that it takes nobody else's place.
///
/// # Errors
///
/// It does not compile.
pub fn build_variant(root: &Path, package: &str, features: &[&str]) -> Result<PathBuf, ImageError> {
    let directory = target_directory(root)?
        .join("variants")
        .join(features.join("+"));
    let workspace = Workspace {
        target_directory: Some(directory),
        ..Workspace::at(root)
    };
    executable(&workspace, package, features, PROFILE, TARGET)
}

fn executable(
    workspace: &Workspace,
    package: &str,
    features: &[&str],
    profile: &str,
    target: &str,
) -> Result<PathBuf, ImageError> {
    let features = features.iter().map(|&feature| feature.to_owned()).collect();
    let packages = Features::from([(package.to_owned(), features)]);
    let mut files = workspace.build(profile, target, &packages)?;
    files.remove(package).ok_or_else(|| ImageError::NotBuilt {
        package: package.to_owned(),
    })
}

/// Cargo, in the workspace, whose configuration it reads from where it is started.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    command
}

/// Where cargo puts what it builds, however that is configured.
///
/// # Errors
///
/// Cargo cannot be asked.
pub fn target_directory(root: &Path) -> Result<PathBuf, ImageError> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| ImageError::Cargo { source })?;
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| ImageError::Cargo {
            source: std::io::Error::other(error),
        })?;
    Ok(metadata.target_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_what_cargo_says() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"channel\"},\"executable\":null}\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"vmm-pd\"},\"executable\":\"/t/vmm-pd\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        let found = executables(messages.as_bytes());
        assert_eq!(
            found,
            BTreeMap::from([("vmm-pd".to_owned(), PathBuf::from("/t/vmm-pd"))])
        );
    }
}
