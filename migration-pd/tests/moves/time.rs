//! What the guest's clock does while the guest stands still. A tick of the models' clocks is a microsecond.

use super::AFTER_ALL_PATIENCE;
use super::hardware::COUNT;
use super::world::{Fate, Side, World};
use channel::vmm::Phase;
use migration_pd::protocol::management::Stage;
use migration_pd::protocol::{Domain, Event, MoveFailure, Request, kind};
use std::cell::Cell;
use std::rc::Rc;

/// Moves the guest and lets its time go on meanwhile; how it ended at the source.
fn move_on(world: &mut World) -> (Stage, Option<MoveFailure>) {
    let id = world
        .start_with(Side::A, |start| {
            start.advance = true;
            // Longer than a source in doubt waits before it asks again.
            start.patience_ms = 1000;
        })
        .unwrap();
    let report = world.ended(Side::A, id);
    world.run_for(10_000);
    (report.stage, report.failure)
}

/// How long the guest had stood still when the source handed it over, as the source told.
fn stood_still(world: &mut World) -> u64 {
    let told = |event: &Event| match event {
        Event::Progress(report) if report.stage == Stage::InDoubt => {
            Some(report.figures.downtime_us)
        }
        _ => None,
    };
    world.board(Side::A).events.iter().find_map(told).unwrap()
}

/// The time of the guest on board B has gone on by so much. The models' clock goes on a little whenever it is read.
fn went_on_by(world: &World, expected: std::ops::Range<u64>) {
    let by = world.b.hardware.timer - COUNT;
    assert!(expected.contains(&by), "{by}, not {expected:?}");
}

#[test]
fn time_stands_still_unless_it_is_to_go_on() {
    let mut world = World::new();
    world.run_for(50_000);
    world.succeed(Side::A);
    assert!(stood_still(&mut world) > 0);
    assert_eq!(world.b.hardware.timer, COUNT);
}

#[test]
fn time_goes_on_by_as_long_as_the_guest_stood_still() {
    let mut world = World::new();
    world.run_for(50_000);
    assert_eq!(move_on(&mut world), (Stage::Gone, None));
    assert_eq!(world.b.hardware.phase, Phase::Running);
    let stood_still = stood_still(&mut world);
    assert!(stood_still > 0);
    went_on_by(&world, stood_still..stood_still + 10);
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
            Fate::IsLost
        }
        _ => Fate::Arrives,
    });
    assert_eq!(move_on(&mut world), (Stage::Gone, None));
    assert_eq!(lost.get(), LOST);
    // A source in doubt asks again after a second.
    let least = stood_still(&mut world) + LOST * 1_000_000;
    went_on_by(&world, least..least + 100_000);
}

#[test]
fn a_commit_that_arrives_twice_lets_time_go_on_once() {
    let mut world = World::new();
    world.link = Box::new(|_, _, kind| match kind {
        kind::COMMIT => Fate::ArrivesTwice,
        _ => Fate::Arrives,
    });
    assert_eq!(move_on(&mut world), (Stage::Gone, None));
    let stood_still = stood_still(&mut world);
    went_on_by(&world, stood_still..stood_still + 10);
}

#[test]
fn the_time_of_a_paused_guest_stands_still_in_any_case() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    assert_eq!(move_on(&mut world), (Stage::Gone, None));
    assert_eq!(world.b.hardware.phase, Phase::Imported);
    assert_eq!(world.b.hardware.timer, COUNT);
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
    world.run_for(AFTER_ALL_PATIENCE);
    world.runs_at(Side::A);
    assert_eq!(world.b.hardware.phase, Phase::Empty);
}
