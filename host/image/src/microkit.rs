// SPDX-License-Identifier: BSD-2-Clause
//! Images for seL4: Microkit's own tool makes them from the same description and the same programs.
//!
//! Responsible for: finding the SDK, refusing one of another version or with a kernel that Godwit cannot run on, and
//! the labels of that kernel's invocations. Never: changes what the tool produces.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use register_table::remains;
use sel4_sys::InvocationLabels;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::elf::Program;
use super::symbols::{self, KernelFacts};
use super::{Board, Config, ImageError};
use crate::files;
use crate::io::write;

/// The version that everything here was written for.
pub const VERSION: &str = "2.3.0";

/// Options of the kernel that Godwit depends on: its name in `gen_config.json`, what it must be, and why.
const OPTIONS: [(&str, bool, &str); 4] = [
    ("ARM_HYPERVISOR_SUPPORT", true, "guests run at EL1 under it"),
    (
        "KERNEL_MCS",
        true,
        "domains wait at reply objects and have budgets",
    ),
    (
        "VTIMER_UPDATE_VOFFSET",
        false,
        "it would move a guest's counter behind timer-pd's back",
    ),
    (
        "EXPORT_PCNT_USER",
        true,
        "timer-pd reads the physical counter",
    ),
];

/// How many cores the kernel is for.
const CORES: &str = "MAX_NUM_NODES";

/// The option that a board without a timer of its own needs besides.
const PHYSICAL_TIMER: (&str, bool, &str) =
    ("EXPORT_PTMR_USER", true, "timer-pd sets the physical timer");
/// The kind of timer of such a board.
const GENERIC_TIMER: &str = "arm-generic";

/// The system description beside an image.
const DESCRIPTION: &str = "system.xml";
/// The file beside an image that lists its objects and capabilities, if that was asked for.
const CAPDL: &str = "capdl.json";

/// The option that lets a domain print through the kernel.
const PRINTING: &str = "PRINTING";

/// The file that says how large address spaces are, and its name for the last address of a domain's.
const ADDRESS_SPACE: &str = "address_space_constants.json";
const USER_TOP: &str = "vspace_user_top";

/// The invocation that calls the firmware, in `invocations_all.json`.
const FIRMWARE_CALL: &str = "ARMSMCCall";

/// Why an SDK cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// There is none.
    #[error(
        "no seL4 Microkit SDK {VERSION} at {}\n\
         Download release {VERSION} from https://github.com/seL4/microkit/releases, unpack it there or set \
         MICROKIT_SDK to where it is.\n\
         The embedded kernel works without it: leave out `--kernel sel4`.",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another version.
    #[error("the Microkit SDK at {} is version {found}, Godwit needs {VERSION}", path.display())]
    Version {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// It does not say how large address spaces are.
    #[error("{} does not say what `{USER_TOP}` is: use the SDK as it was released", path.display())]
    AddressSpace {
        /// The file.
        path: PathBuf,
    },
    /// It has nothing for this board and configuration.
    #[error("the Microkit SDK at {} has no {config} kernel for board {board}", path.display())]
    Board {
        /// Where it is.
        path: PathBuf,
        /// The board.
        board: String,
        /// The configuration.
        config: Config,
    },
    /// One of its files cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Its kernel has an option that Godwit cannot work with.
    #[error("the kernel for {board} ({config}) has {option} {}, but Godwit needs it {}: {reason}",
        if *needed { "off" } else { "on" }, if *needed { "on" } else { "off" })]
    Option {
        /// The board.
        board: String,
        /// The configuration.
        config: Config,
        /// Name of the option.
        option: &'static str,
        /// What it must be.
        needed: bool,
        /// Why.
        reason: &'static str,
    },
    /// Its kernel runs on several cores.
    #[error(
        "the kernel for {board} ({config}) is for {cores} cores: those after the first are started by the kernel's \
         loader, and nothing keeps a guest's debug state from domains there"
    )]
    Cores {
        /// The board.
        board: String,
        /// The configuration.
        config: Config,
        /// How many, as its configuration says.
        cores: String,
    },
    /// Its kernel lacks an invocation.
    #[error("the kernel for {board}: {source}")]
    Invocation {
        /// The board.
        board: String,
        /// Which.
        source: sel4_sys::UnknownInvocation,
    },
    /// The tool refused the system.
    #[error("Microkit's tool failed:\n{output}")]
    Tool {
        /// What it said.
        output: String,
    },
}

/// A Microkit SDK, checked for one board and configuration.
#[derive(Debug)]
pub struct Sdk {
    path: PathBuf,
    board: String,
    config: Config,
    options: BTreeMap<String, serde_json::Value>,
    facts: KernelFacts,
}

impl Sdk {
    /// Finds the SDK (`$MICROKIT_SDK`, else `~/microkit-sdk-2.3.0`) and checks it.
    ///
    /// # Errors
    ///
    /// There is none, or it does not fit.
    pub fn find(board: &Board, config: Config) -> Result<Self, SdkError> {
        let home = std::env::var_os("HOME").unwrap_or_else(|| OsString::from("/"));
        let default = Path::new(&home).join(format!("microkit-sdk-{VERSION}"));
        let path = std::env::var_os("MICROKIT_SDK").map_or(default, PathBuf::from);
        let sdk = Self::at(path, &board.name, config)?;
        if board.timer.kind == GENERIC_TIMER {
            sdk.require(PHYSICAL_TIMER)?;
        }
        Ok(sdk)
    }

    /// Checks the SDK at a path.
    ///
    /// # Errors
    ///
    /// There is none, or it does not fit.
    pub fn at(path: PathBuf, board: &str, config: Config) -> Result<Self, SdkError> {
        let Ok(version) = std::fs::read_to_string(path.join("VERSION")) else {
            return Err(SdkError::Missing { path });
        };
        if version.trim() != VERSION {
            return Err(SdkError::Version {
                path,
                found: version.trim().to_owned(),
            });
        }
        let board = board.to_owned();
        let directory = files(&path, &board, config);
        if !directory.is_dir() {
            return Err(SdkError::Board {
                path,
                board,
                config,
            });
        }
        let options: BTreeMap<String, serde_json::Value> =
            json(&directory.join("include/kernel/gen_config.json"))?;
        let labels: BTreeMap<String, u64> = json(&directory.join("invocations_all.json"))?;
        let firmware_call = labels.get(FIRMWARE_CALL).copied();
        let labels =
            InvocationLabels::from_names(|name| labels.get(name).copied()).map_err(|source| {
                SdkError::Invocation {
                    board: board.clone(),
                    source,
                }
            })?;
        let printing = options.get(PRINTING).and_then(serde_json::Value::as_bool) == Some(true);
        let memory: BTreeMap<String, u64> = json(&directory.join(ADDRESS_SPACE))?;
        let user_top = *memory.get(USER_TOP).ok_or_else(|| SdkError::AddressSpace {
            path: directory.join(ADDRESS_SPACE),
        })?;
        let facts = KernelFacts {
            labels,
            printing,
            user_top,
            firmware_call,
        };
        let sdk = Self {
            path,
            board,
            config,
            options,
            facts,
        };
        OPTIONS
            .into_iter()
            .try_for_each(|option| sdk.require(option))?;
        remains::NEEDS
            .iter()
            .try_for_each(|need| sdk.require((need.option, need.on, need.why)))?;
        sdk.require_one_core()?;
        Ok(sdk)
    }

    /// Where the headers of its kernel are.
    #[must_use]
    pub fn headers(&self) -> PathBuf {
        files(&self.path, &self.board, self.config).join("include")
    }

    /// The stage at EL2 runs on the first core.
    fn require_one_core(&self) -> Result<(), SdkError> {
        let cores = self.options.get(CORES).and_then(serde_json::Value::as_str);
        if cores == Some("1") {
            return Ok(());
        }
        Err(SdkError::Cores {
            board: self.board.clone(),
            config: self.config,
            cores: cores.unwrap_or("an unknown number of").to_owned(),
        })
    }

    /// Checks an option of the kernel.
    fn require(
        &self,
        (option, needed, reason): (&'static str, bool, &'static str),
    ) -> Result<(), SdkError> {
        if self
            .options
            .get(option)
            .and_then(serde_json::Value::as_bool)
            == Some(needed)
        {
            return Ok(());
        }
        Err(SdkError::Option {
            board: self.board.clone(),
            config: self.config,
            option,
            needed,
            reason,
        })
    }

    /// Physical addresses that are memory to the kernel; all others are devices.
    ///
    /// # Errors
    ///
    /// The SDK's file about the platform cannot be read.
    pub fn memory(&self) -> Result<Vec<Range<u64>>, SdkError> {
        #[derive(Deserialize)]
        struct Platform {
            memory: Vec<Piece>,
        }
        #[derive(Deserialize)]
        struct Piece {
            start: u64,
            end: u64,
        }
        let directory = self.path.join("board").join(&self.board);
        let file = directory
            .join(self.config.to_string())
            .join("platform_gen.json");
        let platform: Platform = json(&file)?;
        Ok(platform
            .memory
            .into_iter()
            .map(|piece| piece.start..piece.end)
            .collect())
    }

    /// Has the tool make an image.
    ///
    /// `directory` receives the description, the programs with this kernel's labels, the prefilled files, the image and
    /// the report; everything in it with those names is overwritten. Returns the paths of image and report.
    ///
    /// # Errors
    ///
    /// A file cannot be written, a program not patched, or the tool refuses the system.
    pub fn build(
        &self,
        directory: &Path,
        system_xml: &str,
        prefill: &super::system::Prefill,
        programs: &[Program],
    ) -> Result<(PathBuf, PathBuf), ImageError> {
        self.lay_out(directory, system_xml, prefill, programs)?;
        self.run_tool(directory, &[])
    }

    /// The same, with a list of the image's objects and capabilities (capDL), whose path this returns. Not for images
    /// with a guest in them: every byte of that would stand in the list, as a number.
    ///
    /// # Errors
    ///
    /// As [`Self::build`].
    pub fn build_and_list(
        &self,
        directory: &Path,
        system_xml: &str,
        prefill: &super::system::Prefill,
        programs: &[Program],
    ) -> Result<PathBuf, ImageError> {
        self.lay_out(directory, system_xml, prefill, programs)?;
        let list = directory.join(CAPDL);
        self.run_tool(directory, &[OsStr::new("--capdl-json"), list.as_os_str()])?;
        Ok(list)
    }

    /// Puts what the tool reads into `directory`.
    fn lay_out(
        &self,
        directory: &Path,
        system_xml: &str,
        prefill: &super::system::Prefill,
        programs: &[Program],
    ) -> Result<(), ImageError> {
        for program in programs {
            let mut program = program.clone();
            symbols::patch_facts(&mut program, &self.facts)?;
            write(&directory.join(program.name()), program.file())?;
        }
        for (name, content) in prefill {
            write(&directory.join(name), content)?;
        }
        write(&directory.join(DESCRIPTION), system_xml.as_bytes())
    }

    /// Makes an image of what is in `directory`.
    fn run_tool(
        &self,
        directory: &Path,
        further: &[&OsStr],
    ) -> Result<(PathBuf, PathBuf), ImageError> {
        let (image, report) = (directory.join("loader.img"), directory.join("report.txt"));
        let partial = files::partial(&image);
        let output = Command::new(self.path.join("bin/microkit"))
            .arg(directory.join(DESCRIPTION))
            .arg("--search-path")
            .arg(directory)
            .args(["--board", &self.board, "--config", &self.config.to_string()])
            .arg("-o")
            .arg(&partial)
            .arg("-r")
            .arg(&report)
            .args(further)
            .env("MICROKIT_SDK", &self.path)
            .output()
            .map_err(|error| SdkError::Tool {
                output: error.to_string(),
            })?;
        if output.status.success() {
            return match std::fs::rename(&partial, &image) {
                Ok(()) => Ok((image, report)),
                Err(source) => Err(ImageError::Write {
                    path: image,
                    source,
                }),
            };
        }
        let said = [output.stdout, output.stderr].concat();
        Err(SdkError::Tool {
            output: String::from_utf8_lossy(&said).trim().to_owned(),
        }
        .into())
    }
}

/// What an SDK has for a board and a configuration.
fn files(sdk: &Path, board: &str, config: Config) -> PathBuf {
    sdk.join("board").join(board).join(config.to_string())
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, SdkError> {
    let file = |reason: String| SdkError::File {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| file(error.to_string()))
}
