// SPDX-License-Identifier: BSD-2-Clause
//! Moves between two boards whose agents are real and whose peer domains are models.
#![allow(
    clippy::cast_possible_truncation,
    reason = "a test that goes wrong should stop at once"
)]

mod bundles;
mod downtime;
mod hardware;
#[path = "../../../wire/line/tests/harm/mod.rs"]
mod harm;
mod lines;
mod link;
mod refused;
mod registers;
mod serial;
mod time;
mod world;

use channel::vmm::Phase as VmmPhase;
use protocol::heap;
use protocol::management::{Phase, Stage, Verdict};
use protocol::{Answer, Domain, Event, MoveFailure, MoveId, Pace, Request, RequestError, kind};
use state::Register;
use std::cell::Cell;
use std::rc::Rc;
use vm::PAGE_SIZE;
use world::{Action, GUEST, PAGES, Side, TIMEOUT_MS, World, options};

/// Long enough for every timeout.
const AFTER_ALL_TIMEOUTS: u64 = 20 * 1000 * TIMEOUT_MS as u64;

#[test]
fn a_busy_guest_arrives_whole() {
    let mut world = World::new();
    world.run_for(50_000);
    let report = world.succeed(Side::A);
    let figures = report.figures;
    assert!(figures.rounds >= 3, "{figures:?}");
    assert_eq!(figures.pages_total as usize, PAGES);
    // Zero pages never travel, and busy pages travel once.
    assert!(figures.pages_zero > 200, "{figures:?}");
    assert!(
        figures.pages_sent < GUEST.used + 2 * GUEST.busy + 60,
        "{figures:?}"
    );
    assert!(figures.bytes < 4096 * u64::from(GUEST.used), "{figures:?}");
    assert!(
        figures.downtime_us > 0 && figures.downtime_us < 5000,
        "{figures:?}"
    );
    assert!(figures.elapsed_us > figures.downtime_us);
    let taken = world.status(Side::B).last_move.unwrap();
    assert_eq!((taken.id, taken.stage), (report.id, Stage::Taken));
}

#[test]
fn a_guest_goes_back_and_forth() {
    let mut world = World::new();
    for turn in 0..6 {
        world.run_for(10_000);
        let from = if turn % 2 == 0 { Side::A } else { Side::B };
        world.succeed(from);
    }
}

#[test]
fn a_paused_guest_arrives_paused() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    let id = world.start(Side::A).unwrap();
    let report = world.ended(Side::A, id);
    assert_eq!(report.stage, Stage::Gone);
    world.run_for(10_000);
    assert_eq!(world.status(Side::B).phase, Phase::Imported);
    world.act(Side::B, &Request::Resume).unwrap();
    world.run_for(10_000);
    world.runs_at(Side::B);
}

#[test]
fn wherever_the_link_is_cut_the_guest_continues_and_a_second_attempt_succeeds() {
    let frames = {
        let mut world = World::new();
        world.succeed(Side::A);
        world.frames
    };
    let mut cut_in = std::collections::BTreeSet::new();
    for cut in 0..frames {
        let mut world = World::new();
        world.link = Box::new(move |number, _, _| match number {
            number if number >= cut => Action::IsLost,
            _ => Action::Arrives,
        });
        let id = world.start(Side::A).unwrap();
        world.run_for(AFTER_ALL_TIMEOUTS);
        let stage = world.status(Side::A).last_move.unwrap().stage;
        cut_in.insert(u8::from(stage));
        match stage {
            Stage::Failed => world.runs_at(Side::A),
            Stage::InDoubt => {}
            stage => panic!("cut at {cut}: {stage:?}"),
        }
        // The link comes back, and nobody has to do anything.
        world.link = Box::new(|_, _, _| Action::Arrives);
        let report = world.ended(Side::A, id);
        world.run_for(AFTER_ALL_TIMEOUTS);
        if report.stage == Stage::Gone {
            world.runs_at(Side::B);
        } else {
            world.runs_at(Side::A);
            world.succeed(Side::A);
        }
    }
    assert!(cut_in.contains(&u8::from(Stage::InDoubt)));
    assert!(cut_in.contains(&u8::from(Stage::Failed)));
}

#[test]
fn a_commit_that_comes_after_the_destination_gave_up_is_answered_so() {
    let mut world = World::new();
    world.link = Box::new(|_, _, kind| match kind {
        kind::COMMIT | kind::ABORTED => Action::IsLost,
        _ => Action::Arrives,
    });
    let id = world.start(Side::A).unwrap();
    world.run_for(3000 * u64::from(TIMEOUT_MS));
    assert_eq!(
        world.status(Side::A).last_move.unwrap().stage,
        Stage::InDoubt
    );
    // Who waits for a word must not be told what to do, but by the operator's verdict.
    for request in [Request::Resume, Request::Discard, Request::Cancel(id)] {
        assert_eq!(
            world.act(Side::A, &request),
            Err(RequestError::InDoubt { id }),
            "{request:?}"
        );
    }
    world.run_for(AFTER_ALL_TIMEOUTS);
    assert_eq!(world.status(Side::B).phase, Phase::Empty);
    assert_eq!(
        world.status(Side::A).last_move.unwrap().stage,
        Stage::InDoubt
    );
    world.link = Box::new(|_, _, _| Action::Arrives);
    let report = world.ended(Side::A, id);
    assert_eq!(report.failure, Some(MoveFailure::NotKnown));
    world.run_for(10_000);
    world.runs_at(Side::A);
}

#[test]
fn an_answer_to_the_commit_that_is_lost_is_given_again() {
    let mut world = World::new();
    let lost = Rc::new(Cell::new(0));
    let count = lost.clone();
    world.link = Box::new(move |_, _, kind| match kind {
        kind::COMMITTED if count.get() < 3 => {
            count.set(count.get() + 1);
            Action::IsLost
        }
        _ => Action::Arrives,
    });
    world.succeed(Side::A);
    assert_eq!(lost.get(), 3);
}

#[test]
fn the_operator_resolves_a_doubt_that_no_board_can() {
    let stuck = || {
        let mut world = World::new();
        world.link = Box::new(|_, _, kind| match kind {
            kind::COMMIT | kind::ABORTED => Action::IsLost,
            _ => Action::Arrives,
        });
        let id = world.start(Side::A).unwrap();
        world.run_for(AFTER_ALL_TIMEOUTS);
        (world, id)
    };
    let (mut world, id) = stuck();
    let wrong = Request::Resolve(MoveId(id.0 + 1), Verdict::Keep);
    assert_eq!(world.act(Side::A, &wrong), Err(RequestError::NoSuchMove));
    world
        .act(Side::A, &Request::Resolve(id, Verdict::Keep))
        .unwrap();
    world.run_for(10_000);
    world.runs_at(Side::A);
    let (mut world, id) = stuck();
    world
        .act(Side::A, &Request::Resolve(id, Verdict::Drop))
        .unwrap();
    world.run_for(10_000);
    assert_eq!(world.status(Side::A).phase, Phase::Empty);
}

// Pitfall: A board answered nothing while its last guest's memory was gone through in one call.
#[test]
fn what_a_guest_leaves_in_ram_is_cleared_and_the_link_looked_at_meanwhile() {
    let mut world = World::with(2000, 1 << 20);
    world.b.hardware.ram.pages.fill([7; PAGE_SIZE]);
    world.b.hardware.ram.most_cleared = 0;
    world.b.hardware.power_off();
    world.run_for(10_000);
    world.act(Side::B, &Request::Discard).unwrap();
    world.run_for(10_000);
    let ram = &world.b.hardware.ram;
    assert!(ram.pages.iter().all(|page| *page == [0; PAGE_SIZE]));
    // A slice is 256 pages at most; a page is cleared in eight parts here, which take no time.
    assert!(
        (1..=256 * 8).contains(&ram.most_cleared),
        "{}",
        ram.most_cleared
    );
}

// Pitfall: Under QEMU, pages with a guest's programs took so long that a slice of them was longer than anybody waits.
#[test]
fn a_board_looks_at_its_link_and_shows_life_however_long_clearing_takes() {
    let mut world = World::new();
    let ram = &mut world.b.hardware.ram;
    ram.pages.fill([7; PAGE_SIZE]);
    (ram.clear, ram.most_cleared) = (4000, 0);
    world.b.hardware.power_off();
    world.run_for(10_000);
    let (signs, accepted) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    world.link = Box::new({
        let (signs, accepted) = (Rc::clone(&signs), Rc::clone(&accepted));
        move |_, side, kind| {
            accepted.set(accepted.get() || kind == kind::ACCEPT);
            if side == Side::B && kind == kind::ACKNOWLEDGE && !accepted.get() {
                signs.set(signs.get() + 1);
            }
            Action::Arrives
        }
    });
    let before = world.clock.get();
    // The guest is on its way before any page is cleared.
    world.send(Side::B, &Request::Discard);
    let id = MoveId(1);
    let start = Request::Start(options(id, Pace::UNLIMITED));
    world.act(Side::A, &start).unwrap();
    let report = world.ended(Side::A, id);
    assert_eq!(report.stage, Stage::Gone, "{report:?}");
    let timeouts = (world.clock.get() - before) / (1000 * u64::from(TIMEOUT_MS));
    assert!(
        timeouts > 10 && signs.get() > 3 * timeouts,
        "{timeouts}, {signs:?}"
    );
    assert_eq!(world.b.hardware.ram.most_cleared, 2);
    world.run_for(10_000);
    world.runs_at(Side::B);
}

#[test]
fn requests_are_answered_at_once_while_pages_are_copied() {
    let mut world = World::new();
    let id = world.start(Side::A).unwrap();
    world.run_for(1000);
    let before = world.clock.get();
    let status = world.status(Side::A);
    assert!(world.clock.get() - before < 2000);
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(status.last_move.unwrap().stage, Stage::Copying);
    assert_eq!(
        world.act(Side::A, &Request::Pause),
        Err(RequestError::Moving { id })
    );
    assert_eq!(
        world.act(Side::B, &Request::Discard),
        Err(RequestError::Moving { id })
    );
    let again = options(id, Pace::UNLIMITED);
    assert_eq!(world.act(Side::A, &Request::Start(again)), Ok(()));
    let before = world.clock.get();
    world.act(Side::A, &Request::Cancel(id)).unwrap();
    assert!(world.clock.get() - before < 2000);
    assert_eq!(
        world.ended(Side::A, id).failure,
        Some(MoveFailure::Operator)
    );
    world.run_for(10_000);
    world.runs_at(Side::A);
    assert_eq!(
        world.act(Side::A, &Request::Cancel(id)),
        Err(RequestError::NoSuchMove)
    );
    world.succeed(Side::A);
}

#[test]
fn the_destination_can_call_it_off_too() {
    let mut world = World::new();
    let id = world.start(Side::A).unwrap();
    world.run_for(2000);
    world.act(Side::B, &Request::Cancel(id)).unwrap();
    assert_eq!(
        world.ended(Side::A, id).failure,
        Some(MoveFailure::Operator)
    );
    world.run_for(10_000);
    world.runs_at(Side::A);
}

#[test]
fn memory_that_is_not_what_was_sent_is_noticed_before_the_guest_runs() {
    let mut world = World::new();
    world.b.hardware.ram.broken = Some(GUEST.used - 1);
    let id = world.start(Side::A).unwrap();
    assert_eq!(world.ended(Side::A, id).failure, Some(MoveFailure::Digest));
    world.run_for(10_000);
    world.runs_at(Side::A);
    world.b.hardware.ram.broken = None;
    world.succeed(Side::A);
}

#[test]
fn the_share_of_the_boards_time_is_kept_to() {
    let run = |share| {
        let mut world = World::new();
        let mut options = options(MoveId(9), Pace::UNLIMITED);
        options.share = share;
        world.act(Side::A, &Request::Start(options)).unwrap();
        world.ended(Side::A, MoveId(9)).figures.elapsed_us
    };
    assert!(run(2) > 5 * run(100));
}

#[test]
fn bandwidth_is_kept_to() {
    let mut world = World::new();
    let mut options = options(MoveId(9), Pace::UNLIMITED);
    options.bandwidth = 1_000_000;
    world.act(Side::A, &Request::Start(options)).unwrap();
    world.ended(Side::A, MoveId(9));
    let mut reports = world.a.events.iter().filter_map(|event| match event {
        Event::Progress(report) if report.stage == Stage::Copying => Some(report.figures),
        _ => None,
    });
    let figures = reports.next_back().unwrap();
    // A byte a tick, but for the message that is being filled.
    assert!(figures.bytes > 200_000, "{figures:?}");
    assert!(figures.elapsed_us + 70_000 > figures.bytes, "{figures:?}");
}

#[test]
fn a_heap_that_is_too_small_is_refused_with_the_size_needed() {
    let needed = heap::needed(PAGES as u32);
    let mut world = World::with(PAGES, needed as usize / 8 * 8 - 64);
    let error = world.start(Side::A).unwrap_err();
    assert_eq!(
        error,
        RequestError::HeapTooSmall {
            needed,
            available: needed / 8 * 8 - 64,
        }
    );
    let mut world = World::with(PAGES, needed.next_multiple_of(8) as usize);
    world.succeed(Side::A);
    // The demo's guest, and the largest that four MiB serve.
    assert!(heap::needed(32_768) < 1 << 20);
    assert!(heap::needed(896 * 256) <= 4 << 20);
}

#[test]
fn numbers_of_moves_only_grow() {
    let mut world = World::new();
    world
        .act(
            Side::A,
            &Request::Start(options(MoveId(50), Pace::UNLIMITED)),
        )
        .unwrap();
    world.ended(Side::A, MoveId(50));
    world.run_for(10_000);
    let newest = MoveId(50);
    let start = Request::Start(options(MoveId(50), Pace::UNLIMITED));
    assert_eq!(
        world.act(Side::B, &start),
        Err(RequestError::StaleMove { newest })
    );
    let query = |world: &mut World, side, id| {
        world.ask(side, &Request::Query(MoveId(id)), |answer| match answer {
            Answer::Move(report) => report.stage,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(query(&mut world, Side::A, 50), Stage::Gone);
    assert_eq!(query(&mut world, Side::B, 50), Stage::Taken);
    assert_eq!(query(&mut world, Side::B, 49), Stage::Unknown);
    world.succeed(Side::B);
    assert_eq!(query(&mut world, Side::B, 50), Stage::Taken);
}

#[test]
fn pausing_and_resuming_are_told() {
    let mut world = World::new();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    world.act(Side::A, &Request::Pause).unwrap();
    world.act(Side::A, &Request::Resume).unwrap();
    world.run_for(10_000);
    let phases: Vec<Phase> = world
        .a
        .events
        .iter()
        .filter_map(|event| match event {
            Event::PhaseChanged(status) => Some(status.phase),
            _ => None,
        })
        .collect();
    let expected = [
        Phase::Running,
        Phase::Stopping,
        Phase::Stopped,
        Phase::Resuming,
        Phase::Running,
    ];
    assert_eq!(phases, expected);
    let statistics = world.ask(Side::A, &Request::Statistics, |answer| match answer {
        Answer::Statistics(statistics) => statistics,
        other => panic!("{other:?}"),
    });
    assert_eq!(statistics.smc, 7);
    let looked = world.ask(Side::A, &Request::Look, |answer| match answer {
        Answer::Looked(looked) => looked,
        other => panic!("{other:?}"),
    });
    assert_eq!(looked, [Some(hardware::HANG), None, None, None]);
    let phase = Phase::Empty;
    assert_eq!(
        world.act(Side::B, &Request::Pause),
        Err(RequestError::WrongPhase { phase })
    );
    let start = Request::Start(options(MoveId(1), Pace::UNLIMITED));
    assert_eq!(
        world.act(Side::B, &start),
        Err(RequestError::WrongPhase { phase })
    );
}
