// SPDX-License-Identifier: BSD-2-Clause
//! Every register of the table, filled with random values on a vCPU that runs, is in the record as the guest had it, and
//! goes through record and board unchanged, whatever the board held before.

use anyhow::ensure;
use godwit::session::Scratch;
use godwit::snapshot::{self, RestoreOptions, SnapshotFile, State};
use image::{Image, ImageRequest, Kernel};
use protocol::management::Phase;
use state::record::{self, Record};
use state::{Policy, Register};
use tests::ANSWER;
use tests::board::Board;
use tests::guests::{self, TestGuest};

use crate::on_both_kernels;
use crate::parked::{Registers, keep, parked};

/// How many registers QEMU's Cortex-A53 has; that neither the guest nor the record has them would be no agreement.
const WITH_DEBUG: usize = 135;
/// The same without debug registers and performance monitor.
const WITHOUT: usize = 93;

#[test]
fn every_register_goes_through_boards_that_leave_a_trusted_guest_its_debug_registers()
-> anyhow::Result<()> {
    let guest = TestGuest::probe("mode=registers park=1 holds=1 mmu=0 seed=5", 1);
    let full = guests::trusted_image(&guest)?;
    let empty = guests::trusted_empty_image(guest.ram_mib())?;
    every_register(&full, &empty, WITH_DEBUG)
}

on_both_kernels! {
    // Pitfall: The upper 64 bits of vector registers were lost.
    // Pitfall: A restore could only set, so what was on stayed on.
    fn every_register_goes_through_a_fresh_and_a_used_board_with_the_mmu_off(kernel) {
        on_a_kernel(kernel, "mode=registers park=1 holds=1 mmu=0")
    }

    // Pitfall: Writing `PMCR_EL0` reset the counters.
    fn every_register_goes_through_a_fresh_and_a_used_board_with_the_mmu_on(kernel) {
        on_a_kernel(kernel, "mode=registers park=1 holds=1 mmu=1 seed=2")
    }
}

fn on_a_kernel(kernel: Kernel, arguments: &str) -> anyhow::Result<()> {
    let guest = TestGuest::probe(arguments, 1);
    let full = guests::image(kernel, &guest)?;
    let empty = guests::empty_image(kernel, guest.ram_mib())?;
    every_register(&full, &empty, WITHOUT)
}

fn every_register(full: &Image, empty: &Image, least: usize) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let mut here = Board::start("a", full, &scratch)?;
    let mut there = Board::start("b", empty, &scratch)?;

    let expected = parked(&mut here)?;
    let file = keep(&mut here, &expected, &scratch.path().join("first"))?;
    compare(&expected, file.state(), least)?;
    ensure!(
        file.state().machine.board.as_str() == ImageRequest::default().board,
        "taken on no board"
    );
    // Onto a fresh board, where it runs on the spot and is stopped again.
    restore(&file, &mut there)?;
    let fresh = keep(&mut there, &expected, &scratch.path().join("fresh"))?;
    same(file.state(), fresh.state())?;
    continues(&mut there, b"g")?;

    // Everything there is something else now, and stays behind when the guest goes.
    let others = parked(&mut there)?;
    let left = keep(&mut there, &others, &scratch.path().join("left"))?;
    compare(&others, left.state(), least)?;
    let differing = expected
        .iter()
        .filter(|(register, value)| others[*register] != **value);
    ensure!(
        differing.count() > expected.values().flatten().count() / 2,
        "the board is as it was"
    );
    there.client()?.discard()?;
    there.wait_for_phase(Phase::Empty)?;
    restore(&file, &mut there)?;
    let used = keep(&mut there, &expected, &scratch.path().join("used"))?;
    same(file.state(), used.state())?;
    continues(&mut there, b"q")?;
    there.expect_probe_done()?;
    there.wait_for_phase(Phase::Off)
}

fn restore(file: &SnapshotFile, board: &mut Board) -> anyhow::Result<()> {
    let options = RestoreOptions::default();
    snapshot::restore(file, board.client()?, &options, &mut |_| {})?;
    Ok(())
}

/// Lets a parked guest look at itself.
fn continues(board: &mut Board, key: &[u8]) -> anyhow::Result<()> {
    board.client()?.resume(ANSWER)?;
    board.session.send(key)?;
    board.expect_probe_round(0)?;
    Ok(())
}

/// Every row of the table that is state: the record has what the guest had.
fn compare(expected: &Registers, state: &State, least: usize) -> anyhow::Result<()> {
    let recorded = &state.vcpus.vcpus[0].registers;
    let timer = &state.timer.vcpus[0];
    let rows = Register::ALL
        .into_iter()
        .filter(|register| register.policy() == Policy::Write);
    let (mut there, mut wrong) = (0, Vec::new());
    for register in rows {
        let found = match register {
            // It continues while the guest runs; that two of them agree is for `snapshots` and `probe`.
            Register::CNTVCT_EL0 => continue,
            Register::CNTV_CTL_EL0 => Some(timer.control.into()),
            Register::CNTV_CVAL_EL0 => Some(timer.compare.into()),
            Register::CNTKCTL_EL1 => Some(timer.kernel_control.into()),
            register => recorded.get(register),
        };
        match expected.get(&register) {
            Some(expected) if *expected == found => there += usize::from(found.is_some()),
            Some(expected) => wrong.push(format!(
                "{register:?}: {found:x?}, the guest had {expected:x?}"
            )),
            None => wrong.push(format!("{register:?}: the probe does not fill it")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(there >= least, "only {there} registers are there");
    println!(
        "{} registers, {} of them there",
        expected.len(),
        expected.values().flatten().count()
    );
    Ok(())
}

/// Nothing has changed but the count.
fn same(before: &State, after: &State) -> anyhow::Result<()> {
    let (ours, theirs) = (
        &before.vcpus.vcpus[0].registers,
        &after.vcpus.vcpus[0].registers,
    );
    for register in Register::ALL {
        let (before, after) = (ours.get(register), theirs.get(register));
        ensure!(
            before == after,
            "{register:?} went from {before:x?} to {after:x?}"
        );
    }
    ensure!(
        bytes(&before.vcpus)? == bytes(&after.vcpus)?,
        "{:#?}\n{:#?}",
        before.vcpus,
        after.vcpus
    );
    ensure!(
        bytes(&before.vgic)? == bytes(&after.vgic)?,
        "{:#?}\n{:#?}",
        before.vgic,
        after.vgic
    );
    let mut timer = after.timer.clone();
    ensure!(timer.count >= before.timer.count, "the count went back");
    timer.count = before.timer.count;
    ensure!(
        bytes(&before.timer)? == bytes(&timer)?,
        "{:#?}\n{timer:#?}",
        before.timer
    );
    Ok(())
}

fn bytes<R: Record>(record: &R) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; 0x8000];
    let length = record::encode(record, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}
