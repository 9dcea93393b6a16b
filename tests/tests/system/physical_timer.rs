// SPDX-License-Identifier: BSD-2-Clause
//! The physical timer is not a guest's: one that takes it harms nobody, and one that looks for it is not offered it.

use anyhow::ensure;
use godwit::relay::Options;
use godwit::session::Scratch;
use godwit::snapshot;
use image::Kernel;
use protocol::management::Phase;
use tests::ANSWER;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};

use crate::on_both_kernels;

on_both_kernels! {
    fn a_guest_that_takes_the_physical_timer_is_paused_kept_in_a_file_and_moved(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::probe("mode=physical_timer", 1);
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut here = Board::start("a", &guests::image(kernel, &guest)?, &scratch)?;
        let mut there = Board::start("b", &empty, &scratch)?;
        let answer = here.session.expect_line("probe: the physical timer is ", ANSWER)?;
        let expected = match kernel {
            Kernel::Embedded => "undefined",
            // Its kernel opens the timer to EL1 and EL0 alike.
            Kernel::Sel4 => "there",
        };
        ensure!(answer.contains(expected), "{answer}");
        let mut round = here.expect_probe_round(0)?;

        here.client()?.pause(ANSWER)?;
        here.client()?.resume(ANSWER)?;
        round = here.expect_probe_round(round)?;

        // While it runs: what waits for its share of the time waits for a clock that the guest cannot stop.
        let taken = snapshot::take(here.client()?, &Options::default(), &mut |_| {})?;
        ensure!(taken.state.running);
        round = here.expect_probe_round(round)?;

        for _ in 0..2 {
            move_guest(&mut here, &mut there)?;
            std::mem::swap(&mut here, &mut there);
            round = here.expect_probe_round(round)?;
        }
        here.session.send(b"q")?;
        here.expect_probe_done()?;
        here.wait_for_phase(Phase::Off)
    }
}
