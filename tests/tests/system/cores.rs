// SPDX-License-Identifier: BSD-2-Clause
//! A guest goes to boards with other processors and back, relies on what it was started on, and stays where that is.
//!
//! The boards are QEMU's `virt` with other cores than its own.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use godwit::qemu::Core;
use godwit::relay::{self, GuestLocation, Options};
use godwit::session::{Scratch, SessionOptions};
use image::processor::{Cores, promise};
use image::{self, Image, ImageRequest, Kernel, workspace};
use protocol::management::Phase;
use state::Register;
use state::admission::{self, OtherCore};
use tests::board::{Board, move_guest, move_guest_with};
use tests::guests::{self, TestGuest};
use tests::{ANSWER, BOOT};

use crate::on_both_kernels;

on_both_kernels! {
    /// Every move away and back is one that a guest could notice: it reads its processor's registers, and Linux's
    /// programs compute with all that they have.
    fn a_linux_guest_goes_to_other_cores_and_comes_back(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::linux("workload", 1);
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut a53 = Board::start("a53", &guests::image(kernel, &guest)?, &scratch)?;
        let mut others = [
            with_core("cortex-a72", &empty, &scratch)?,
            with_core("cortex-a76", &empty, &scratch)?,
        ];
        a53.expect_workload()?;
        for other in &mut others {
            is_refused(&mut a53, other, OtherCore::Refused, "MIDR_EL1")?;
            move_guest_with(&mut a53, other, &accepting(), &mut |_| {})?;
            other.expect_all_checks()?;
            // It was started there.
            move_guest(other, &mut a53)?;
            a53.expect_all_checks()?;
        }
        Ok(())
    }

    // Pitfall: Linux sets PSTATE.SSBS for every program that it starts, and the core before had no such bit.
    fn a_program_that_was_started_on_another_core_comes_back_from_it(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::linux("shell", 1);
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut a53 = Board::start("a53", &guests::image(kernel, &guest)?, &scratch)?;
        let mut a76 = with_core("cortex-a76", &empty, &scratch)?;
        a53.expect_linux()?;
        a53.session.expect("/ # ", BOOT)?;
        move_guest_with(&mut a53, &mut a76, &accepting(), &mut |_| {})?;
        // It neither sleeps nor calls the kernel, so that it is running when the guest is paused.
        a76.shell("sh -c 'while :; do :; done' & echo $! > /spins")?;
        move_guest(&mut a76, &mut a53)?;
        let alive = a53.shell("kill $(cat /spins) && echo kill''ed")?;
        ensure!(alive.contains("killed"), "{alive}");
        Ok(())
    }

    /// Whoever looks later sees the board that it is on: no kernel here can hide that. What it was started on is there
    /// wherever it goes, and going back needs nobody's word.
    fn a_guest_that_looks_late_finds_what_it_was_started_on_wherever_it_is(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::probe("mode=cores", 1);
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut a53 = Board::start("a53", &guests::image(kernel, &guest)?, &scratch)?;
        let mut a72 = with_core("cortex-a72", &empty, &scratch)?;
        let mut a76 = with_core("cortex-a76", &empty, &scratch)?;
        let started_on = seen(&mut a53)?;
        move_guest_with(&mut a53, &mut a72, &accepting(), &mut |_| {})?;
        let on_a72 = looks(&mut a72)?;
        // Not what the board before had, but what the guest was started on, is asked for.
        move_guest_with(&mut a72, &mut a76, &accepting(), &mut |_| {})?;
        let on_a76 = looks(&mut a76)?;
        move_guest(&mut a76, &mut a53)?;
        ensure!(looks(&mut a53)? == started_on);
        is_in_the_table("cortex-a53", &started_on)?;
        is_in_the_table("cortex-a72", &on_a72)?;
        is_in_the_table("cortex-a76", &on_a76)?;
        ensure!(started_on["midr_el1"] != on_a72["midr_el1"]);
        ensure!(on_a72["midr_el1"] != on_a76["midr_el1"]);
        // LSE atomics, which only the last has.
        let atomics = |seen: &Seen| seen["id_aa64isar0_el1"] >> 20 & 0xf;
        ensure!([&started_on, &on_a72, &on_a76].map(atomics) == [0, 0, 2]);
        a53.session.send(b"q")?;
        a53.expect_probe_done()
    }

    /// As Linux 6.15 and later ask: what it has been told of, it goes to without anybody's word, and nowhere else.
    fn a_guest_that_has_asked_where_it_may_run_goes_there_by_itself(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::probe("mode=cores discover=1", 1);
        let full = promised_image(kernel, &guest, &["cortex-a76"])?;
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut a53 = Board::start("a53", &full, &scratch)?;
        let mut a72 = with_core("cortex-a72", &empty, &scratch)?;
        let mut a76 = with_core("cortex-a76", &empty, &scratch)?;
        let told = a53.session.expect("probe: 2 implementations", ANSWER)?;
        ensure!(told.contains("implementation 0 midr=0x410fd034"), "{told}");
        ensure!(told.contains("implementation 1 midr=0x414fd0b1"), "{told}");
        seen(&mut a53)?;
        is_refused(&mut a53, &mut a72, OtherCore::Refused, "MIDR_EL1")?;
        move_guest(&mut a53, &mut a76)?;
        looks(&mut a76)?;
        move_guest(&mut a76, &mut a53)?;
        looks(&mut a53)?;
        a53.session.send(b"q")?;
        a53.expect_probe_done()
    }

    fn a_guest_stays_on_a_core_that_has_more(kernel) {
        let scratch = Scratch::new()?;
        let guest = TestGuest::probe("mode=cores", 1);
        let full = guests::image(kernel, &guest)?;
        let mut a76 = with_core("cortex-a76", &full, &scratch)?;
        let empty = guests::empty_image(kernel, guest.ram_mib())?;
        let mut a53 = Board::start("a53", &empty, &scratch)?;
        seen(&mut a76)?;
        // CTR_EL0: this one's instruction cache has no aliases.
        is_refused(&mut a76, &mut a53, OtherCore::Accepted, "is 0x2 here, the guest has seen 0x3")?;
        looks(&mut a76)?;
        a76.session.send(b"q")?;
        a76.expect_probe_done()
    }
}

/// An image of a guest that is started on a `virt` board and promised what these have in common with it.
fn promised_image(kernel: Kernel, guest: &TestGuest, others: &[&str]) -> anyhow::Result<Image> {
    let root = workspace()?;
    let cores = Cores::load(&root)?;
    let own = cores.of_board(&image::Board::load(&root, guests::VIRT)?)?;
    let others = others
        .iter()
        .map(|name| cores.named(&root, name, 62_500_000));
    let others = others.collect::<Result<Vec<_>, _>>()?;
    let promise = promise::promise(&own, &others, promise::Guest::default())?;
    guests::build(&ImageRequest {
        name: format!("test-{kernel}-promised"),
        kernel,
        guest: Some(guest.build()?),
        ram_mib: guest.ram_mib(),
        promise: Some(promise.record()?),
        ..ImageRequest::default()
    })
}

/// What the probe has seen is what board/processors.toml says of this core.
fn is_in_the_table(core: &str, seen: &Seen) -> anyhow::Result<()> {
    let table = Cores::load(&workspace()?)?.core(core, 62_500_000)?;
    let mut found = table.clone();
    for (name, value) in seen {
        let register = Register::from_name(name).context("a register")?;
        ensure!(found.constants.set_word(register, *value), "{name}");
    }
    for (one, other) in [(&table, &found), (&found, &table)] {
        let difference = admission::differences(one, other, OtherCore::Refused).next();
        ensure!(difference.is_none(), "{core}: {difference:?}");
    }
    Ok(())
}

/// A board with another core than its own.
fn with_core(model: &str, image: &Image, scratch: &Scratch) -> anyhow::Result<Board> {
    let core = Core {
        model: Some(model.to_owned()),
        counter_frequency: None,
    };
    let options = SessionOptions {
        extra: core.arguments(&image.board)?,
        ..SessionOptions::new(model, image.clone())
    };
    Board::start_with(options, scratch)
}

fn accepting() -> Options {
    Options {
        other_core: OtherCore::Accepted,
        ..Options::default()
    }
}

/// The guest is not moved, for this reason, and continues.
fn is_refused(
    source: &mut Board,
    destination: &mut Board,
    other_core: OtherCore,
    reason: &str,
) -> anyhow::Result<()> {
    let options = Options {
        other_core,
        ..Options::default()
    };
    let refused = relay::migrate(
        source.client()?,
        destination.client()?,
        &options,
        &mut |_| {},
    );
    let error = refused.err().context("the guest was moved")?;
    println!("{error}");
    ensure!(error.to_string().contains(reason), "{error}");
    ensure!(error.location == GuestLocation::Source(Phase::Running));
    ensure!(destination.phase()? == Phase::Empty);
    Ok(())
}

/// What the probe reads of its processor, by register.
type Seen = BTreeMap<String, u64>;

/// Has the probe look again.
fn looks(board: &mut Board) -> anyhow::Result<Seen> {
    board.session.send(b"l")?;
    seen(board)
}

/// What the probe has read, up to the end of the round.
fn seen(board: &mut Board) -> anyhow::Result<Seen> {
    let text = board.session.expect(" ok", ANSWER)?;
    let values = text.lines().filter_map(|line| {
        let (name, value) = line.trim().strip_prefix("probe: ")?.split_once("=0x")?;
        Some((name.to_owned(), u64::from_str_radix(value, 16).ok()?))
    });
    let seen = Seen::from_iter(values);
    ensure!(seen.contains_key("midr_el1"), "{text}");
    Ok(seen)
}
