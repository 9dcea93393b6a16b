// SPDX-License-Identifier: BSD-2-Clause
//! The probe guest finds every register, interrupt and count as it left it, bit by bit, on whichever board it wakes up.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use godwit::session::Scratch;
use image::{Image, Kernel};
use protocol::management::Phase;
use tests::board::{Board, move_guest};
use tests::guests::{self, TestGuest};
use tests::random::Random;

use crate::on_both_kernels;

/// Moves of each run.
const MOVES: u32 = 10;
/// The longest time between two of them: several of the probe's rounds, each of which goes through everything it does.
const LONGEST_WAIT: Duration = Duration::from_millis(300);

#[test]
fn debug_registers_of_each_of_2_cpus_of_a_trusted_guest_are_its_own_and_survive_moves()
-> anyhow::Result<()> {
    let guest = TestGuest::probe("mode=registers mmu=0 switched=1", 2);
    let full = guests::trusted_image(&guest)?;
    let empty = guests::trusted_empty_image(guest.ram_mib())?;
    move_it(&full, &empty, 2)
}

on_both_kernels! {
    fn registers_and_interrupts_survive_moves_with_the_mmu_off(kernel) {
        run_while_moving(kernel, "mode=registers mmu=0", 1)
    }

    fn registers_and_interrupts_survive_moves_with_the_mmu_on(kernel) {
        run_while_moving(kernel, "mode=registers mmu=1", 1)
    }

    fn registers_and_interrupts_of_each_of_2_cpus_survive_moves(kernel) {
        run_while_moving(kernel, "mode=registers mmu=0", 2)
    }

    fn registers_and_interrupts_of_each_of_4_cpus_survive_moves(kernel) {
        run_while_moving(kernel, "mode=registers mmu=1", 4)
    }

    fn the_count_goes_only_forwards_on_every_cpu_when_it_is_moved(kernel) {
        run_while_moving(kernel, "mode=clock", 4)
    }

    fn exceptions_reach_the_guest_as_the_architecture_says(kernel) {
        let scratch = Scratch::new()?;
        let image = guests::image(kernel, &TestGuest::probe("mode=exceptions", 2))?;
        let mut board = Board::start("a", &image, &scratch)?;
        board.expect_probe_done()?;
        ensure!(!board.said().contains(" skipped"), "cases were skipped");
        board.wait_for_phase(Phase::Off)
    }
}

/// Runs the probe until it has been moved often enough, then lets it come to its verdict.
fn run_while_moving(kernel: Kernel, arguments: &str, vcpus: u32) -> anyhow::Result<()> {
    let guest = TestGuest::probe(arguments, vcpus);
    let full = guests::image(kernel, &guest)?;
    let empty = guests::empty_image(kernel, guest.ram_mib())?;
    move_it(&full, &empty, vcpus)
}

fn move_it(full: &Image, empty: &Image, vcpus: u32) -> anyhow::Result<()> {
    let scratch = Scratch::new()?;
    let mut random = Random::seeded(0x7072_6f62_6500 + u64::from(vcpus));
    let mut here = Board::start("a", full, &scratch)?;
    let mut there = Board::start("b", empty, &scratch)?;
    let mut round = here.expect_probe_round(0)?;
    for number in 1..=MOVES {
        let wait = random.moment(LONGEST_WAIT);
        println!("move {number} of {MOVES}, after {wait:?}");
        thread::sleep(wait);
        move_guest(&mut here, &mut there)?;
        std::mem::swap(&mut here, &mut there);
        round = here.expect_probe_round(round)?;
    }
    // The key that ends the probe.
    here.session.send(b"q")?;
    here.expect_probe_done()?;
    here.wait_for_phase(Phase::Off)
}
