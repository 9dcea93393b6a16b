// SPDX-License-Identifier: BSD-2-Clause
//! A guest with much RAM is moved and kept like any other.

use anyhow::ensure;
use godwit::relay::Options;
use godwit::session::Scratch;
use godwit::snapshot::{self, SnapshotFile};
use image::{ImageRequest, Kernel};
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};

use crate::on_both_kernels;

on_both_kernels! {
    fn a_guest_with_much_ram_is_moved_and_kept(kernel) {
        // What seL4 can use of QEMU's board is part of that kernel: no more than this fits there.
        let ram_mib = match kernel {
            Kernel::Embedded => 2048,
            Kernel::Sel4 => 1024,
        };
        let request = |guest| ImageRequest {
            name: format!("test-{kernel}-large-{}", if guest { "full" } else { "empty" }),
            kernel,
            ram_mib,
            ..ImageRequest::default()
        };
        let guest = TestGuest::linux("workload", 1).build()?;
        let full = guests::build(&ImageRequest { guest: Some(guest), ..request(true) })?;
        let empty = guests::build(&request(false))?;
        let scratch = Scratch::new()?;
        let mut source = Board::start("a", &full, &scratch)?;
        let mut destination = Board::start("b", &empty, &scratch)?;
        source.expect_workload()?;
        let summary = move_guest(&mut source, &mut destination)?;
        let pages = u64::from(summary.figures.pages_total);
        ensure!(pages == ram_mib << 8, "{pages} pages");
        destination.expect_all_checks()?;

        let path = scratch.path().join("guest.snapshot");
        let taken = snapshot::take(destination.client()?, &Options::default(), &mut |_| {})?;
        snapshot::write(&path, &taken.state, &taken.memory)?;
        let kept = SnapshotFile::open(&path)?;
        ensure!(kept.state().machine.ram_size == ram_mib << 20);
        destination.expect_all_checks()?;
        Ok(())
    }
}
