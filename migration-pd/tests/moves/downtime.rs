// SPDX-License-Identifier: BSD-2-Clause
//! How long the guest may be paused. A tick of the models' clocks is a microsecond.

use crate::AFTER_ALL_TIMEOUTS;
use crate::harm::NO_HARM;
use crate::serial::{BAUD, Serial};
use crate::world::{Action, PAGES, Side, World};
use protocol::management::{MoveReport, Stage};
use protocol::pages::ENTRY_LENGTH;
use protocol::{Domain, MoveFailure, Pace, kind};
use vm::PAGE_SIZE;

/// What a page takes in a message as it is.
const PAGE_BYTES: u64 = (PAGE_SIZE + ENTRY_LENGTH) as u64;

/// Moves the guest, which may be paused for so many ms.
fn move_within(world: &mut World, limit: u32, timeout_ms: u32) -> MoveReport {
    let id = world
        .start_with(Side::A, |start| {
            start.downtime_limit_ms = limit;
            start.timeout_ms = start.timeout_ms.max(timeout_ms);
        })
        .unwrap();
    world.ended(Side::A, id)
}

/// The move was called off as soon as the guest had been paused for `limit` ms, and it runs where it was.
fn called_off_at_the_limit(world: &mut World, limit: u32, report: &MoveReport) {
    assert!(
        matches!(report.failure, Some(MoveFailure::Downtime { expected_ms, allowed_ms, .. })
            if allowed_ms == limit && expected_ms >= limit),
        "{report:?}"
    );
    let limit = u64::from(limit) * 1000;
    let stood = report.figures.downtime_us;
    assert!((limit..limit + 2000).contains(&stood), "{report:?}");
    world.run_for(AFTER_ALL_TIMEOUTS);
    world.runs_at(Side::A);
}

#[test]
fn a_destination_that_does_not_say_that_it_is_prepared_is_waited_for_only_that_long() {
    let mut world = World::new();
    world.link = Box::new(|_, _, kind| match kind {
        kind::PREPARED => Action::IsLost,
        _ => Action::Arrives,
    });
    let report = move_within(&mut world, 50, 1000);
    called_off_at_the_limit(&mut world, 50, &report);
    // And the next one, of which nothing is lost, succeeds.
    world.link = Box::new(|_, _, _| Action::Arrives);
    let report = move_within(&mut world, 50, 1000);
    assert_eq!(report.stage, Stage::Gone, "{report:?}");
}

#[test]
fn a_line_that_is_cut_is_waited_for_only_that_long() {
    let mut world = World::over(Serial::new(NO_HARM, 1));
    world.link = Box::new(|_, _, kind| match kind {
        kind::RECORD | kind::PREPARE => Action::IsLost,
        _ => Action::Arrives,
    });
    let report = move_within(&mut world, 20_000, 60_000);
    called_off_at_the_limit(&mut world, 20_000, &report);
}

#[test]
fn nobody_waits_longer_for_a_guest_that_does_not_come_to_a_stop() {
    let mut world = World::new();
    world.a.hardware.faults.never_stops = true;
    let report = move_within(&mut world, 50, 1000);
    assert!(
        matches!(report.failure, Some(MoveFailure::Downtime { .. })),
        "{report:?}"
    );
}

#[test]
fn without_a_limit_the_timeout_decides() {
    let mut world = World::new();
    world.a.hardware.faults.never_stops = true;
    let report = move_within(&mut world, 0, 1000);
    let domain = Domain::Vmm;
    assert!(
        matches!(report.failure, Some(MoveFailure::Export { domain: of, .. }) if of == domain),
        "{report:?}"
    );
}

#[test]
fn the_last_look_at_all_of_ram_is_expected_too() {
    let mut world = World::over(Serial::new(NO_HARM, 1));
    let look = 100;
    world.a.hardware.ram.look = look;
    let report = move_within(&mut world, 1, 0);
    let Some(MoveFailure::Downtime {
        pages, expected_ms, ..
    }) = report.failure
    else {
        panic!("{report:?}");
    };
    assert_eq!(report.figures.downtime_us, 0, "it was never stopped");
    let line = Pace::line(BAUD).milliseconds_for(u64::from(pages) * PAGE_BYTES);
    let looking = PAGES as u64 * look / 1000;
    let expected = u64::from(expected_ms);
    assert!(expected >= line + looking, "{report:?}: {line}, {looking}");
    assert!(expected < line + 4 * looking, "{report:?}: {line}");
}

#[test]
fn a_move_that_holds_itself_back_is_not_refused_for_that() {
    for (share, bandwidth) in [(2, 0), (100, 2_000_000)] {
        let mut world = World::new();
        let id = world
            .start_with(Side::A, |start| {
                start.downtime_limit_ms = 10;
                (start.share, start.bandwidth) = (share, bandwidth);
            })
            .unwrap();
        let report = world.ended(Side::A, id);
        assert_eq!(report.stage, Stage::Gone, "{share} %: {report:?}");
        assert!(report.figures.elapsed_us > 40_000, "{report:?}");
        assert!(report.figures.downtime_us < 10_000, "{report:?}");
    }
}

#[test]
fn a_line_is_busy_while_the_last_look_continues() {
    let mut world = World::over(Serial::new(NO_HARM, 1));
    // Longer, and the guest would change all pages meanwhile.
    let look = 20;
    world.a.hardware.ram.look = look;
    world.succeed(Side::A);
    let hardware = &world.a.hardware;
    let after = hardware.page_left_at.unwrap() - hardware.stopped_at;
    assert!(after < PAGES as u64 * look / 2, "{after}");
}
