// SPDX-License-Identifier: BSD-2-Clause
//! The processor that QEMU emulates, where somebody wants another than the board's file names.
//!
//! Responsible for: which there are, on this board and in this QEMU, and the argument that asks for one. Never: decides
//! whether a guest can go there; the boards do.

use std::process::{Command, Stdio};

use super::{MachineError, Result};
use image::Board;

/// Another processor than the board's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Core {
    /// QEMU's name of it; the board's own if absent.
    pub model: Option<String>,
    /// What its counter counts a second, in Hz; what QEMU chooses if absent.
    pub counter_frequency: Option<u32>,
}

impl Core {
    /// What QEMU has to hear, after the board's own arguments: the last word counts.
    ///
    /// # Errors
    ///
    /// The board or its QEMU has no such processor; the error lists those that there are.
    pub fn arguments(&self, board: &Board) -> Result<Vec<String>> {
        if *self == Self::default() {
            return Ok(Vec::new());
        }
        let not_emulated = || MachineError::NotEmulated {
            board: board.name.clone(),
        };
        let template = board.qemu.as_ref().ok_or_else(not_emulated)?;
        let own = named(&template.arguments).filter(|_| !template.processors.is_empty());
        let own = own.ok_or_else(|| MachineError::OneProcessor {
            board: board.name.clone(),
        })?;
        let mut argument = match &self.model {
            None => own,
            Some(model) => {
                let there = available(&template.processors, &offered(&template.program)?);
                if !there.contains(model) {
                    return Err(MachineError::Processor {
                        board: board.name.clone(),
                        model: model.clone(),
                        there: there.join(", "),
                    });
                }
                model.clone()
            }
        };
        if let Some(frequency) = self.counter_frequency {
            argument += &format!(",cntfrq={frequency}");
        }
        Ok(vec!["-cpu".to_owned(), argument])
    }
}

/// The processor that arguments ask for.
fn named(arguments: &[String]) -> Option<String> {
    let at = arguments.iter().position(|argument| argument == "-cpu")?;
    arguments.get(at + 1).cloned()
}

/// What a program says that it has: a line each, indented.
fn offered(program: &str) -> Result<String> {
    let mut command = Command::new(program);
    let output = command.args(["-machine", "none", "-cpu", "help"]);
    let output = output.stdin(Stdio::null()).output();
    let output = output.map_err(|source| MachineError::start(program, source))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Those of the board's processors that a program has.
fn available(of_board: &[String], offered: &str) -> Vec<String> {
    let has = |model: &&String| offered.lines().any(|line| line.trim() == model.as_str());
    of_board.iter().filter(has).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::workspace;

    fn board(name: &str) -> Board {
        Board::load(&workspace().unwrap(), name).unwrap()
    }

    fn core(model: &str) -> Core {
        Core {
            model: Some(model.to_owned()),
            counter_frequency: None,
        }
    }

    #[test]
    fn a_processor_that_the_board_has_is_asked_for() {
        let virt = board("qemu_virt_aarch64");
        assert_eq!(Core::default().arguments(&virt).unwrap(), [""; 0]);
        let arguments = core("cortex-a72").arguments(&virt).unwrap();
        assert_eq!(arguments, ["-cpu", "cortex-a72"]);
        let slow = Core {
            counter_frequency: Some(24_000_000),
            ..Core::default()
        };
        let arguments = slow.arguments(&virt).unwrap();
        assert_eq!(arguments, ["-cpu", "cortex-a53,cntfrq=24000000"]);
    }

    #[test]
    fn one_that_it_does_not_have_is_refused_with_those_that_it_has() {
        let virt = board("qemu_virt_aarch64");
        for model in ["cortex-a15", "cortex-m0", "pentium", ""] {
            let error = core(model).arguments(&virt).unwrap_err().to_string();
            assert!(error.contains("cortex-a72"), "{error}");
            assert!(!error.contains("cortex-m3"), "{error}");
        }
    }

    #[test]
    fn what_a_program_lacks_is_not_there() {
        let board = ["cortex-a53", "cortex-a55"].map(str::to_owned);
        let offered = "Available CPUs:\n  cortex-a53\n  cortex-a550\n";
        assert_eq!(available(&board, offered), ["cortex-a53"]);
    }

    #[test]
    fn a_board_with_one_processor_has_no_other() {
        let error = core("cortex-a72").arguments(&board("zcu102")).unwrap_err();
        assert!(
            matches!(error, MachineError::OneProcessor { .. }),
            "{error}"
        );
        let error = core("cortex-a55")
            .arguments(&board("odroidc4"))
            .unwrap_err();
        assert!(matches!(error, MachineError::NotEmulated { .. }), "{error}");
    }
}
