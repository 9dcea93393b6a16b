// SPDX-License-Identifier: BSD-2-Clause
//! What boards' processors are, from the boards' files: for questions that are asked before a board runs.
//!
//! Responsible for: `board/processors.toml` and the processors of `board/*/board.toml` as baselines ([`Named`]), what
//! several have in common ([`promise`]), and who can send to whom ([`matrix`]). Never: decides a move; the boards do, by
//! what their processors say when they meet.

pub mod matrix;
pub mod promise;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use state::{BaselineV1, Register, RegisterFile, Source};

use crate::{Board, ImageError};

/// Why a processor is not known.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is malformed.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A board.
    #[error(transparent)]
    Board(#[from] ImageError),
    /// Nothing has that name.
    #[error(
        "'{name}' is no board ({}), no core ({}) and no file",
        boards.join(", "),
        cores.join(", ")
    )]
    Unknown {
        /// What was named.
        name: String,
        /// The boards that there are.
        boards: Vec<String>,
        /// The cores that there are.
        cores: Vec<String>,
    },
    /// A core that the file does not have.
    #[error("{core} is not in board/processors.toml, which has {}", known.join(", "))]
    Core {
        /// The core.
        core: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// What is no register, or does not say what a processor is.
    #[error("{register} is not a register that says what a processor is")]
    Register {
        /// What was named.
        register: String,
    },
}

type Result<T, E = ProcessorError> = std::result::Result<T, E>;

/// A processor, and what people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The board, or the core.
    pub name: String,
    /// What a guest that is started there may rely on.
    pub baseline: BaselineV1,
}

/// Values of registers by name.
type Registers = BTreeMap<String, u64>;

/// Cores, by QEMU's names.
#[derive(Clone, Debug)]
pub struct Cores(BTreeMap<String, Registers>);

impl Cores {
    /// Reads `board/processors.toml` of the workspace at `root`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is malformed.
    pub fn load(root: &Path) -> Result<Self> {
        Ok(Self(read(&root.join("board/processors.toml"))?))
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A core whose counter counts so often a second.
    ///
    /// # Errors
    ///
    /// It is not in the file.
    pub fn core(&self, core: &str, frequency: u32) -> Result<BaselineV1> {
        self.changed(core, &Registers::new(), frequency)
    }

    /// The processor of a board: of QEMU's model of it, or of the board itself ([`Board::on_hardware`]).
    ///
    /// # Errors
    ///
    /// Its core is not in the file, or it has registers that are none.
    pub fn of_board(&self, board: &Board) -> Result<Named> {
        let processor = &board.processor;
        let frequency = board.counter_frequency();
        Ok(Named {
            name: board.name.clone(),
            baseline: self.changed(&processor.core, &processor.registers, frequency)?,
        })
    }

    /// What somebody names: a board, a core with a counter of `frequency`, or a file with registers.
    ///
    /// # Errors
    ///
    /// There is no such thing.
    pub fn named(&self, root: &Path, name: &str, frequency: u32) -> Result<Named> {
        let named = |baseline| Named {
            name: name.to_owned(),
            baseline,
        };
        let boards = Board::names(root);
        if boards.iter().any(|board| board == name) {
            self.of_board(&Board::load(root, name)?)
        } else if self.0.contains_key(name) {
            Ok(named(self.core(name, frequency)?))
        } else if Path::new(name).is_file() {
            let registers: Registers = read(Path::new(name))?;
            Ok(named(baseline(&[&registers], frequency)?))
        } else {
            Err(ProcessorError::Unknown {
                name: name.to_owned(),
                boards,
                cores: self.0.keys().cloned().collect(),
            })
        }
    }

    fn changed(&self, core: &str, changes: &Registers, frequency: u32) -> Result<BaselineV1> {
        let known = self.0.get(core).ok_or_else(|| ProcessorError::Core {
            core: core.to_owned(),
            known: self.0.keys().cloned().collect(),
        })?;
        baseline(&[known, changes], frequency)
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|source| ProcessorError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| ProcessorError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The processor with these registers, the later ones instead of the earlier; all others of its constants are 0.
fn baseline(registers: &[&Registers], frequency: u32) -> Result<BaselineV1> {
    let mut constants = RegisterFile::new();
    let probed = Register::ALL.into_iter();
    for register in probed.filter(|register| register.source() == Source::Probe) {
        set(&mut constants, register, 0);
    }
    set(&mut constants, Register::CNTFRQ_EL0, frequency.into());
    for (name, value) in registers.iter().copied().flatten() {
        let register = Register::from_name(name).filter(|register| {
            register.source() == Source::Probe && register.width().holds((*value).into())
        });
        let set = register.is_some_and(|register| constants.set_word(register, *value));
        if !set {
            return Err(ProcessorError::Register {
                register: name.clone(),
            });
        }
    }
    Ok(BaselineV1::of(&constants))
}

/// Sets a constant, which are all that a baseline has room for.
fn set(constants: &mut RegisterFile, register: Register, value: u64) {
    let has_room = constants.set_word(register, value);
    debug_assert!(has_room, "{}", register.name());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn cores() -> (PathBuf, Cores) {
        let root = workspace().unwrap();
        let cores = Cores::load(&root).unwrap();
        (root, cores)
    }

    #[test]
    fn every_board_has_a_processor_that_is_known_and_whose_state_is_in_the_records() {
        let (root, cores) = cores();
        for name in Board::names(&root) {
            let board = Board::load(&root, &name).unwrap();
            let processor = cores.of_board(&board).unwrap();
            let beyond = state::coverage::beyond_records(&processor.baseline.constants);
            assert_eq!(beyond, None, "{name}");
            let models = board.qemu.iter().flat_map(|qemu| &qemu.processors);
            // `max` is another one with each QEMU.
            for model in models.filter(|model| *model != "max") {
                assert!(cores.core(model, 1).is_ok(), "{name}: {model}");
            }
        }
    }

    #[test]
    fn what_a_board_changes_counts_and_qemus_counter_is_qemus() {
        let (root, cores) = cores();
        let c4 = cores.of_board(&Board::load(&root, "odroidc4").unwrap());
        let constants = c4.unwrap().baseline.constants;
        assert_eq!(constants.word(Register::MIDR_EL1), Some(0x411f_d050));
        assert_eq!(constants.word(Register::CNTFRQ_EL0), Some(24_000_000));
        let frequency = |board: Board| {
            let constants = cores.of_board(&board).unwrap().baseline.constants;
            constants.word(Register::CNTFRQ_EL0).unwrap()
        };
        let zcu102 = Board::load(&root, "zcu102").unwrap();
        assert_eq!(frequency(zcu102.clone()), 62_500_000);
        assert_eq!(frequency(zcu102.on_hardware()), 100_000_000);
    }

    #[test]
    fn a_name_is_a_board_a_core_or_a_file_and_anything_else_is_refused_with_those_that_exist() {
        let (root, cores) = cores();
        let midr = |name: &str| {
            let named = cores.named(&root, name, 1_000_000);
            named.map(|named| named.baseline.constants.word(Register::MIDR_EL1))
        };
        assert_eq!(midr("odroidc4").unwrap(), Some(0x411f_d050));
        assert_eq!(midr("cortex-a55").unwrap(), Some(0x412f_d050));
        let scratch = crate::scratch::Scratch::new().unwrap();
        let path = scratch.path().join("processor.toml");
        let path = path.to_str().unwrap();
        std::fs::write(path, "MIDR_EL1 = 0x1234\n").unwrap();
        assert_eq!(midr(path).unwrap(), Some(0x1234));
        for wrong in ["X0 = 1", "SCTLR_EL1 = 1", "NOTHING = 1"] {
            std::fs::write(path, wrong).unwrap();
            let error = midr(path).unwrap_err();
            assert!(matches!(error, ProcessorError::Register { .. }), "{error}");
        }
        let error = midr("toaster").unwrap_err().to_string();
        assert!(
            error.contains("odroidc2") && error.contains("cortex-a76"),
            "{error}"
        );
    }
}
