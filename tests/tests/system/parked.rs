// SPDX-License-Identifier: BSD-2-Clause
//! The probe guest, parked: on one instruction, with all registers full of values that it has said before.
//!
//! Responsible for: what it said, and stopping it there. Never: judges.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use godwit::relay::Options;
use godwit::snapshot::{self, SnapshotFile};
use state::Register;
use tests::ANSWER;
use tests::board::Board;

/// What the probe says that each register is; nothing for one that its processor does not have.
pub(crate) type Registers = BTreeMap<Register, Option<u128>>;

/// Waits until the probe has said all and is about to stand on one instruction.
pub(crate) fn parked(board: &mut Board) -> anyhow::Result<Registers> {
    let mut registers = Registers::new();
    loop {
        let line = board.session.expect_line("probe: ", ANSWER)?;
        ensure!(
            !line.contains("MISMATCH") && !line.contains("FAILED"),
            "{line}"
        );
        if line.contains("probe: parked") {
            return Ok(registers);
        }
        if let Some((_, rest)) = line.split_once("probe: register ") {
            let (name, value) = parse(rest).with_context(|| format!("not understood: {line}"))?;
            let register = Register::from_name(name).with_context(|| line.clone())?;
            ensure!(registers.insert(register, value).is_none(), "twice: {line}");
        }
    }
}

/// `NAME=0x…` or `NAME absent`.
pub(crate) fn parse(text: &str) -> Option<(&str, Option<u128>)> {
    let text = text.trim();
    if let Some(name) = text.strip_suffix(" absent") {
        return Some((name, None));
    }
    let (name, value) = text.split_once("=0x")?;
    Some((name, Some(u128::from_str_radix(value, 16).ok()?)))
}

/// Stops the guest where it is parked, and keeps it in a file.
pub(crate) fn keep(
    board: &mut Board,
    expected: &Registers,
    path: &Path,
) -> anyhow::Result<SnapshotFile> {
    let deadline = Instant::now() + ANSWER;
    let place = expected.get(&Register::PC).copied().flatten();
    loop {
        board.client()?.pause(ANSWER)?;
        let taken = snapshot::take(board.client()?, &Options::default(), &mut |_| {})?;
        let registers = &taken.state.vcpus.vcpus[0].registers;
        if registers.get(Register::PC) == place {
            snapshot::write(path, &taken.state, &taken.memory)?;
            return Ok(SnapshotFile::open(path)?);
        }
        // Between its last word and its place.
        ensure!(Instant::now() < deadline, "the probe does not park");
        board.client()?.resume(ANSWER)?;
    }
}
