// SPDX-License-Identifier: BSD-2-Clause
//! Which board can send its guests to which, as far as the boards' files can tell.
//!
//! Responsible for: one row and one column for all boards with the same processor, and a reason wherever a guest stays.
//! Never: says what becomes of a guest that was started elsewhere before; that counts, wherever it is.

use std::fmt::{self, Write as _};
use std::path::Path;

use state::Register;
use state::admission::{self, OtherCore};

use super::promise::{self, Guest, PromiseError};
use super::{Cores, Named, ProcessorError};
use crate::Board;
use crate::errata;

/// Boards whose processors are the same to a guest.
#[derive(Clone, Debug)]
struct Group {
    names: Vec<String>,
    processor: Named,
}

/// What becomes of a guest that was started on one board and is to go to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes.
    Yes,
    /// It goes if it knows of the core or the operator accepts it.
    OtherCore,
    /// It goes if it was started with a lower baseline, about which Linux is told so.
    Baseline(String),
    /// It stays.
    No(String),
}

/// The table.
#[derive(Clone, Debug)]
pub struct Matrix {
    groups: Vec<Group>,
    verdicts: Vec<Vec<Verdict>>,
}

impl Matrix {
    /// That of all boards of the workspace at `root`.
    ///
    /// # Errors
    ///
    /// A board's file or the cores' cannot be read.
    pub fn of_boards(root: &Path) -> Result<Self, ProcessorError> {
        let cores = Cores::load(root)?;
        let mut groups: Vec<Group> = Vec::new();
        for processor in processors(root, &cores)? {
            let same = |group: &&mut Group| group.processor.baseline == processor.baseline;
            match groups.iter_mut().find(same) {
                Some(group) => group.names.push(processor.name),
                None => groups.push(Group {
                    names: vec![processor.name.clone()],
                    processor,
                }),
            }
        }
        let row = |from: &Group| {
            let to = groups.iter();
            to.map(|to| verdict(&from.processor, &to.processor))
                .collect()
        };
        let verdicts = groups.iter().map(row).collect();
        Ok(Self { groups, verdicts })
    }

    /// What becomes of a guest that was started on `from` and is to go to `to`, if there are such boards.
    #[must_use]
    pub fn verdict(&self, from: &str, to: &str) -> Option<&Verdict> {
        let place = |name: &str| {
            let has = |group: &Group| group.names.iter().any(|known| known == name);
            self.groups.iter().position(has)
        };
        self.verdicts.get(place(from)?)?.get(place(to)?)
    }
}

/// The processors of all boards: of the boards themselves, of QEMU's models of them, and with the other cores that those
/// can have.
fn processors(root: &Path, cores: &Cores) -> Result<Vec<Named>, ProcessorError> {
    let (mut hardware, mut emulated, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for name in Board::names(root) {
        let board = Board::load(root, &name)?;
        if board.boot.is_some() {
            hardware.push(cores.of_board(&board.clone().on_hardware())?);
        }
        let Some(qemu) = &board.qemu else { continue };
        let model = cores.of_board(&board)?;
        let name = match board.boot {
            Some(_) => format!("{name} in QEMU"),
            None => name,
        };
        emulated.push(Named { name, ..model });
        let frequency = board.counter_frequency();
        let models = qemu.processors.iter();
        for core in models
            .filter(|core| ["cortex-a55", "cortex-a72", "cortex-a76"].contains(&core.as_str()))
        {
            others.push(Named {
                name: format!("{} with {core}", board.name),
                baseline: cores.core(core, frequency)?,
            });
        }
    }
    Ok(hardware.into_iter().chain(emulated).chain(others).collect())
}

fn verdict(from: &Named, to: &Named) -> Verdict {
    let goes = |other_core| {
        admission::compare_processors(&from.baseline, &to.baseline, other_core).is_ok()
    };
    if goes(OtherCore::Refused) {
        return Verdict::Yes;
    }
    if goes(OtherCore::Accepted) {
        return Verdict::OtherCore;
    }
    let linux = Guest {
        linux: true,
        ..Guest::default()
    };
    match promise::promise(from, std::slice::from_ref(to), linux) {
        Ok(promise) => Verdict::Baseline(promise.options().join(" ")),
        Err(refused) => Verdict::No(reason(from, to, &refused)),
    }
}

/// Why a guest stays, in few words.
fn reason(from: &Named, to: &Named, refused: &PromiseError) -> String {
    let mut counters = [from, to].map(counter);
    if counters[0] != counters[1] {
        counters.sort_by(f64::total_cmp);
        return format!("counters of {} and {} MHz", counters[0], counters[1]);
    }
    let PromiseError::Unavoidable { costs, .. } = refused else {
        return refused.to_string();
    };
    let mut list: Vec<String> = Vec::new();
    for cost in costs {
        let name = promise::feature_name(cost.register, cost.low);
        let what = name.map_or_else(|| cost.to_string(), str::to_owned);
        if !list.contains(&what) {
            list.push(what);
        }
    }
    format!("lacks {}", list.join(", "))
}

/// How often it counts, in MHz.
fn counter(named: &Named) -> f64 {
    let frequency = named.baseline.constants.word(Register::CNTFRQ_EL0);
    #[expect(clippy::cast_precision_loss, reason = "below 2^32")]
    let megahertz = frequency.unwrap_or(0) as f64 / 1e6;
    megahertz
}

fn letter(index: usize) -> char {
    u8::try_from(index)
        .ok()
        .and_then(|index| b'A'.checked_add(index))
        .map_or('?', char::from)
}

impl fmt::Display for Matrix {
    /// Two tables and the reasons, in Markdown.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "|   | boards | processor |")?;
        writeln!(formatter, "|---|---|---|")?;
        for (index, group) in self.groups.iter().enumerate() {
            let midr = group.processor.baseline.constants.word(Register::MIDR_EL1);
            writeln!(
                formatter,
                "| {} | {} | {}, {} MHz |",
                letter(index),
                group.names.join(", "),
                errata::name(midr.unwrap_or(0)),
                counter(&group.processor)
            )?;
        }
        let letters: Vec<_> = (0..self.groups.len()).map(letter).collect();
        let head: String = letters
            .iter()
            .map(|letter| format!(" {letter} |"))
            .collect();
        writeln!(formatter, "\n| from, to |{head}")?;
        writeln!(formatter, "|---|{}", "---|".repeat(letters.len()))?;
        let mut reasons: Vec<&str> = Vec::new();
        for (row, verdicts) in self.verdicts.iter().enumerate() {
            let mut line = format!("| {} |", letter(row));
            for verdict in verdicts {
                let (word, reason) = match verdict {
                    Verdict::Yes => ("yes", None),
                    Verdict::OtherCore => ("core", None),
                    Verdict::Baseline(options) => ("baseline", Some(options)),
                    Verdict::No(reason) => ("no", Some(reason)),
                };
                write!(line, " {word}")?;
                if let Some(reason) = reason {
                    let known = reasons.iter().position(|known| known == reason);
                    let number = known.unwrap_or_else(|| {
                        reasons.push(reason);
                        reasons.len() - 1
                    });
                    write!(line, " {}", number + 1)?;
                }
                line += " |";
            }
            writeln!(formatter, "{line}")?;
        }
        writeln!(formatter)?;
        for (index, reason) in reasons.iter().enumerate() {
            writeln!(formatter, "{}. {reason}", index + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_odroids_go_one_way_and_other_counters_no_way() {
        let matrix = Matrix::of_boards(&workspace().unwrap()).unwrap();
        let verdict = |from, to| matrix.verdict(from, to).unwrap();
        assert_eq!(verdict("odroidc2", "odroidc2"), &Verdict::Yes);
        assert_eq!(verdict("odroidc2", "odroidc4"), &Verdict::OtherCore);
        let Verdict::No(reason) = verdict("odroidc4", "odroidc2") else {
            panic!("it has LSE atomics");
        };
        assert!(reason.contains("LSE atomics"), "{reason}");
        let counters = Verdict::No("counters of 24 and 100 MHz".to_owned());
        assert_eq!(verdict("odroidc2", "zcu102"), &counters);
        assert_eq!(
            verdict("qemu_virt_aarch64", "zcu102 in QEMU"),
            &Verdict::Yes
        );
        assert_eq!(matrix.verdict("odroidc2", "toaster"), None);
    }

    #[test]
    fn every_no_has_its_reason_in_the_text() {
        let matrix = Matrix::of_boards(&workspace().unwrap()).unwrap();
        let text = matrix.to_string();
        for verdict in matrix.verdicts.iter().flatten() {
            if let Verdict::No(reason) = verdict {
                assert!(
                    !reason.is_empty() && text.contains(reason.as_str()),
                    "{reason}"
                );
            }
        }
        assert!(
            text.contains("| odroidc2 | Cortex-A53 r0p4, 24 MHz |"),
            "{text}"
        );
    }
}
