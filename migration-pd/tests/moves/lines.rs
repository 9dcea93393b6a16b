// SPDX-License-Identifier: BSD-2-Clause
//! Whole moves over a serial line that drops, flips, duplicates and delays bytes.

use crate::harm::{Harm, NO_HARM};
use crate::serial::{BAUD, Serial};
use crate::world::{Action, Side, World, options};
use protocol::management::Stage;
use protocol::{MoveFailure, MoveId, Pace, Request};

/// Harm of every kind: of a hundred segments some four do not arrive as they were sent.
const HARM: Harm = Harm {
    drop: 2,
    flip: 2,
    duplicate: 2,
    delay: 3,
};
/// A line that carries nothing any more.
const CUT: Harm = Harm {
    drop: u16::MAX,
    flip: 0,
    duplicate: 0,
    delay: 1,
};
/// Longer than everybody waits.
const AFTER_ALL_TIMEOUTS: u64 = 60_000_000;

#[test]
fn a_guest_goes_there_and_back_over_a_harmful_line_and_loses_nothing() {
    for seed in [3, 0x5eed, 0xdead_beef_0bad_cafe] {
        let mut world = World::over(Serial::new(HARM, seed));
        world.run_for(50_000);
        for from in [Side::A, Side::B] {
            let report = world.succeed(from);
            assert!(report.figures.pages_sent > 300, "{report:?}");
        }
        let (carried, frames) = (carried(&mut world), transferred(&world));
        assert!(carried > frames, "what was harmed was sent again");
    }
}

#[test]
fn a_harmless_line_is_used_well() {
    let mut world = World::over(Serial::new(NO_HARM, 1));
    let report = world.succeed(Side::A);
    let figures = report.figures;
    let ideal = Pace::line(BAUD).milliseconds_for(figures.bytes) * 1000;
    assert!(figures.elapsed_us * 3 < ideal * 4, "{figures:?}");
    // Compressed also at the end: the busy pages would take longer as they are.
    let plain = Pace::line(BAUD).milliseconds_for(40 * 4096) * 1000;
    assert!(figures.downtime_us < plain, "{figures:?}");
}

#[test]
fn little_is_under_way_on_a_line_so_that_questions_are_answered() {
    let mut world = World::over(Serial::new(NO_HARM, 1));
    let id = world.start(Side::A).unwrap();
    let begun = world.clock.get();
    while world.b.hardware.received.is_empty() && transferred(&world) < 100_000 {
        world.run_for(1000);
        assert!(world.clock.get() - begun < AFTER_ALL_TIMEOUTS);
    }
    let asked = world.clock.get();
    world.status(Side::B);
    let waited = (world.clock.get() - asked) / 1000;
    assert!(waited < Pace::line(BAUD).silence_ms(), "{waited} ms");
    assert_eq!(world.ended(Side::A, id).stage, Stage::Gone);
}

#[test]
fn a_guest_that_would_be_paused_for_longer_than_allowed_stays_and_runs() {
    let mut world = World::over(Serial::new(NO_HARM, 1));
    let start = |world: &mut World, id, limit| {
        let mut options = options(MoveId(id), Serial::pace());
        options.downtime_limit_ms = limit;
        world.act(Side::A, &Request::Start(options)).unwrap();
        world.ended(Side::A, MoveId(id))
    };
    // The 40 pages that the guest keeps changing take more than a second and a half.
    let report = start(&mut world, 1, 1500);
    let Some(MoveFailure::Downtime {
        pages, expected_ms, ..
    }) = report.failure
    else {
        panic!("{report:?}");
    };
    assert!(pages >= 30 && expected_ms > 1500, "{report:?}");
    assert_eq!(report.figures.downtime_us, 0, "it was never stopped");
    world.run_for(AFTER_ALL_TIMEOUTS);
    world.runs_at(Side::A);
    let report = start(&mut world, 2, 4000);
    assert_eq!(report.stage, Stage::Gone, "{report:?}");
    world.run_for(50_000);
    world.runs_at(Side::B);
}

#[test]
fn wherever_a_line_is_cut_the_guest_continues_and_a_later_attempt_succeeds() {
    // By how much of the move has passed, in messages.
    for cut in [1, 20, 60] {
        let mut world = World::over(Serial::new(HARM, 5));
        let id = world.start(Side::A).unwrap();
        let end = world.clock.get() + AFTER_ALL_TIMEOUTS;
        assert!(world.run_until(end, |world| world.frames > cut));
        set_harm(&mut world, CUT);
        let report = world.ended(Side::A, id);
        assert_eq!(report.stage, Stage::Failed, "cut after {cut}: {report:?}");
        world.run_for(AFTER_ALL_TIMEOUTS);
        set_harm(&mut world, HARM);
        world.link = Box::new(|_, _, _| Action::Arrives);
        world.succeed(Side::A);
    }
}

fn set_harm(world: &mut World, harm: Harm) {
    if let Some(serial) = &mut world.b.serial {
        serial.set_harm(harm);
    }
}

/// Bytes that went over the line, both ways.
fn carried(world: &mut World) -> u64 {
    let serial = world.b.serial.as_ref();
    serial.map_or(0, |serial| u64::try_from(serial.carried).unwrap())
}

/// Bytes of frames that the boards have sent each other.
fn transferred(world: &World) -> u64 {
    world.a.transferred + world.b.transferred
}
