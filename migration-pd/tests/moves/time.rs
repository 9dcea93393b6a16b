// SPDX-License-Identifier: BSD-2-Clause
//! What the guest's clock does while the guest is paused. A tick of the models' clocks is a microsecond.

use super::AFTER_ALL_TIMEOUTS;
use super::hardware::COUNT;
use super::world::{Action, Side, World};
use channel::vmm::Phase;
use protocol::management::{Stage, Verdict};
use protocol::{Domain, Event, MoveFailure, Request, kind};
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

/// Moves the guest and lets its time run meanwhile; how it ended at the source.
fn move_on(world: &mut World) -> (Stage, Option<MoveFailure>) {
    let id = world
        .start_with(Side::A, |start| {
            start.advance = true;
            // Longer than a source in doubt waits before it asks again.
            start.timeout_ms = 1000;
        })
        .unwrap();
    let report = world.ended(Side::A, id);
    world.run_for(10_000);
    (report.stage, report.failure)
}

/// How long the guest had been paused when the source handed it over, as the source told.
fn paused(world: &mut World) -> u64 {
    let told = |event: &Event| match event {
        Event::Progress(report) if report.stage == Stage::InDoubt => {
            Some(report.figures.downtime_us)
        }
        _ => None,
    };
    world.board(Side::A).events.iter().find_map(told).unwrap()
}

/// The time of the guest on board B has advanced by so much. The models' clock advances a little whenever it is read.
fn advanced_by(world: &mut World, expected: Range<u64>) {
    went_on_at(world, Side::B, expected);
}

fn went_on_at(world: &mut World, side: Side, expected: Range<u64>) {
    let timers = world.board(side).hardware.timer.as_ref();
    let by = timers.unwrap().count - COUNT;
    assert!(expected.contains(&by), "{by}, not {expected:?}");
}

#[test]
fn time_is_frozen_unless_it_is_to_advance() {
    let mut world = World::new();
    world.run_for(50_000);
    world.succeed(Side::A);
    assert!(paused(&mut world) > 0);
    advanced_by(&mut world, 0..1);
}

#[test]
fn time_advances_by_as_long_as_the_guest_was_paused() {
    let mut world = World::new();
    world.run_for(50_000);
    assert_eq!(move_on(&mut world), (Stage::Gone, None));
    assert_eq!(world.b.hardware.phase, Phase::Running);
    let paused = paused(&mut world);
    assert!(paused > 0);
    advanced_by(&mut world, paused..paused + 10);
}

#[test]
fn a_doubt_counts_as_well() {
    const LOST: u64 = 1;
    let mut world = World::new();
    let lost = Rc::new(Cell::new(0));
    let counter = Rc::clone(&lost);
    world.link = Box::new(move |_, _, kind| match kind {
        kind::COMMIT if counter.get() < LOST => {
            counter.set(counter.get() + 1);
            Action::IsLost
        }
        _ => Action::Arrives,
    });
    assert_eq!(move_on(&mut world), (Stage::Gone, None));
    assert_eq!(lost.get(), LOST);
    // A source in doubt asks again after a second.
    let least = paused(&mut world) + LOST * 1_000_000;
    advanced_by(&mut world, least..least + 100_000);
}

#[test]
fn a_commit_that_arrives_twice_lets_time_continue_once() {
    let mut world = World::new();
    world.link = Box::new(|_, _, kind| match kind {
        kind::COMMIT => Action::ArrivesTwice,
        _ => Action::Arrives,
    });
    assert_eq!(move_on(&mut world), (Stage::Gone, None));
    let paused = paused(&mut world);
    advanced_by(&mut world, paused..paused + 10);
}

#[test]
fn the_time_of_a_paused_guest_is_frozen_in_any_case() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    assert_eq!(move_on(&mut world), (Stage::Gone, None));
    assert_eq!(world.b.hardware.phase, Phase::Imported);
    advanced_by(&mut world, 0..1);
}

#[test]
fn a_clock_that_cannot_be_set_leaves_the_guest_at_its_source() {
    let mut world = World::new();
    world.b.hardware.faults.advance = true;
    let (stage, failure) = move_on(&mut world);
    assert_eq!(stage, Stage::Failed);
    let domain = Domain::Timer;
    assert!(
        matches!(failure, Some(MoveFailure::Record { domain: found, .. }) if found == domain),
        "{failure:?}"
    );
    world.run_for(AFTER_ALL_TIMEOUTS);
    world.runs_but_for_its_time(Side::A);
    assert_eq!(world.b.hardware.phase, Phase::Empty);
}

/// A world in which the guest, once prepared at B, is never heard of again.
fn without(lost: &'static [u8]) -> World {
    let mut world = World::new();
    world.link = Box::new(move |_, _, kind| match kind {
        kind if lost.contains(&kind) => Action::IsLost,
        _ => Action::Arrives,
    });
    world
}

#[test]
fn time_advances_too_if_the_guest_continues_at_its_source() {
    let mut world = without(&[kind::PREPARED]);
    assert_eq!(
        move_on(&mut world),
        (Stage::Failed, Some(MoveFailure::Silence))
    );
    world.runs_but_for_its_time(Side::A);
    // The source's timeout.
    went_on_at(&mut world, Side::A, 1_000_000..1_010_000);
}

#[test]
fn time_advances_at_the_source_for_as_long_as_a_doubt_was_not_resolved() {
    const HOUR: u64 = 3_600_000_000;
    let mut world = without(&[kind::COMMIT]);
    let id = world
        .start_with(Side::A, |start| start.advance = true)
        .unwrap();
    world.run_for(50_000);
    // What happens in that hour, the source asking again and again, is not what this is about.
    world.clock.set(world.clock.get() + HOUR);
    let resolve = Request::Resolve(id, Verdict::Keep);
    world.act(Side::A, &resolve).unwrap();
    world.run_for(10_000);
    assert_eq!(world.a.hardware.phase, Phase::Running);
    went_on_at(&mut world, Side::A, HOUR..HOUR + 100_000);
}

#[test]
fn time_advances_for_a_guest_that_was_not_even_captured_when_the_move_was_called_off() {
    let mut world = World::new();
    let id = world
        .start_with(Side::A, |start| start.advance = true)
        .unwrap();
    let end = world.clock.get() + 1_000_000;
    assert!(world.run_until(end, |world| world.a.hardware.phase == Phase::Stopping));
    world.act(Side::A, &Request::Cancel(id)).unwrap();
    world.run_for(10_000);
    world.runs_but_for_its_time(Side::A);
    went_on_at(&mut world, Side::A, 100..1000);
}

#[test]
fn a_guest_whose_clock_cannot_be_set_continues_at_its_source_all_the_same() {
    let mut world = without(&[kind::PREPARED]);
    world.a.hardware.faults.advance = true;
    assert_eq!(move_on(&mut world).0, Stage::Failed);
    world.runs_at(Side::A);
}
