// SPDX-License-Identifier: BSD-2-Clause
//! A guest that is kept in a file continues as if nothing had happened, and so does its copy wherever it is restored.

use anyhow::{Context as _, ensure};
use godwit::inspect::access;
use godwit::relay::Options;
use godwit::session::Scratch;
use godwit::snapshot::{self, Advance, RestoreOptions, SnapshotFile};
use image::Kernel;
use protocol::management::Phase;
use state::Register;
use tests::ANSWER;
use tests::board::Board;
use tests::guests::{self, TestGuest};

mod embedded {
    use super::*;

    #[test]
    fn a_kept_guest_continues_and_so_does_its_copy_on_another_board() -> anyhow::Result<()> {
        keep_and_restore(Kernel::Embedded, Kernel::Embedded)
    }
}

mod sel4 {
    use super::*;

    #[test]
    fn a_kept_guest_continues_and_so_does_its_copy_on_the_embedded_kernel() -> anyhow::Result<()> {
        keep_and_restore(Kernel::Sel4, Kernel::Embedded)
    }

    #[test]
    fn a_guest_kept_on_the_embedded_kernel_continues_on_sel4() -> anyhow::Result<()> {
        keep_and_restore(Kernel::Embedded, Kernel::Sel4)
    }
}

/// A snapshot of a guest at EL2 or in an AArch32 mode of the kernel's is refused with the reason, and leaves the board as
/// it was.
fn no_guest_could_be_that(
    file: &SnapshotFile,
    scratch: &Scratch,
    board: &mut Board,
) -> anyhow::Result<()> {
    for state in [0x3c9, 0x3d3] {
        let mut crafted = file.state().clone();
        ensure!(
            crafted.vcpus.vcpus[1]
                .registers
                .set_word(Register::PSTATE, state)
        );
        let path = scratch.path().join("crafted.snapshot");
        snapshot::write(&path, &crafted, file)?;
        let crafted = SnapshotFile::open(&path)?;
        let refused = restore(&crafted, board, RestoreOptions::default());
        let told = format!("{:#}", refused.err().context("it was restored")?);
        let said = ["PSTATE of vCPU 1", &format!("{state:#x}"), "EL0t"];
        ensure!(said.iter().all(|part| told.contains(part)), "{told}");
        board.wait_for_phase(Phase::Empty)?;
    }
    Ok(())
}

/// Keeps the workload in a file, restores it to an empty board, and once more to that board when it is no longer fresh.
fn keep_and_restore(from: Kernel, to: Kernel) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let guest = TestGuest::linux("workload", 2);
    let full = guests::image(from, &guest)?;
    let empty = guests::empty_image(to, guest.ram_mib())?;
    let mut here = Board::start("a", &full, &scratch)?;
    let mut there = Board::start("b", &empty, &scratch)?;
    here.expect_workload()?;
    let before = here.expect_all_checks()?;

    let path = scratch.path().join("guest.snapshot");
    keep(&mut here, &path)?;
    let after = here.expect_all_checks()?;
    ensure!(
        after.sequence > before.sequence,
        "the guest was paused after it was kept"
    );

    let file = SnapshotFile::open(&path)?;
    file.verify()?;
    ensure!(file.state().running && file.state().vcpus.vcpus.len() == 2);
    no_guest_could_be_that(&file, &scratch, &mut there)?;
    restore(&file, &mut there, RestoreOptions::default())?;
    let copy = there.expect_all_checks()?;
    ensure!(
        copy.sequence >= before.sequence && copy.uptime_ms >= before.uptime_ms,
        "the copy's time went from {before:?} to {copy:?}"
    );

    // A board that has run a guest, and its time set forward.
    there.client()?.pause(ANSWER)?;
    there.client()?.discard()?;
    there.wait_for_phase(Phase::Empty)?;
    let hour = std::time::Duration::from_secs(3600);
    let options = RestoreOptions {
        paused: true,
        advance: Advance::By(hour),
        ..RestoreOptions::default()
    };
    restore(&file, &mut there, options)?;
    there.client()?.resume(ANSWER)?;
    let later = there.report()?;
    ensure!(
        later.uptime_ms >= before.uptime_ms + 3_600_000,
        "the guest's time did not advance: {later:?}"
    );

    paused_guests_can_be_kept_too(&mut here, &scratch)
}

fn paused_guests_can_be_kept_too(board: &mut Board, scratch: &Scratch) -> anyhow::Result<()> {
    board.client()?.pause(ANSWER)?;
    let path = scratch.path().join("paused.snapshot");
    keep(board, &path)?;
    ensure!(board.phase()? == Phase::Stopped);
    let again = scratch.path().join("again.snapshot");
    keep(board, &again)?;
    // Nothing has run between them: they are the same to the last bit.
    let (a, b) = (SnapshotFile::open(&path)?, SnapshotFile::open(&again)?);
    let diff = godwit::inspect::diff::compare(&a, &b)?;
    ensure!(
        diff.is_empty(),
        "a paused guest has changed:\n{}",
        diff.text()
    );
    let identity = access::get(a.state(), 1, Register::MPIDR_EL1)?;
    ensure!(identity & 0xff == 1, "vCPU 1 is {identity:#x}");
    board.client()?.resume(ANSWER)?;
    board.expect_all_checks()?;
    Ok(())
}

pub(crate) fn keep(board: &mut Board, path: &std::path::Path) -> anyhow::Result<()> {
    let taken = snapshot::take(board.client()?, &Options::default(), &mut |_| {})?;
    snapshot::write(path, &taken.state, &taken.memory)?;
    Ok(())
}

fn restore(file: &SnapshotFile, board: &mut Board, options: RestoreOptions) -> anyhow::Result<()> {
    let restored = snapshot::restore(file, board.client()?, &options, &mut |_| {})?;
    println!("{} pages in {:?}", restored.pages, restored.total);
    Ok(())
}
