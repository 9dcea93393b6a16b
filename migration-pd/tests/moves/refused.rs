// SPDX-License-Identifier: BSD-2-Clause
//! Moves that are refused, or called off before the guest has gone: it stays where it was, and somebody says why.

use super::*;

#[test]
fn a_destination_that_does_not_fit_refuses_with_the_reason() {
    let mut world = World::with(PAGES + 10, 1 << 20);
    let id = world.start(Side::A).unwrap();
    let refused = world.ended(Side::A, id).failure;
    let bytes = |pages: usize| (pages * 4096) as u64;
    assert_eq!(
        refused,
        Some(MoveFailure::RamSize {
            source_bytes: bytes(PAGES),
            destination_bytes: bytes(PAGES + 10),
        })
    );
    world.runs_at(Side::A);

    let mut world = World::new();
    let machine = &mut world.b.hardware.machine;
    assert!(
        machine
            .baseline
            .constants
            .set(Register::CNTFRQ_EL0, 24_000_000)
    );
    let id = world.start(Side::A).unwrap();
    assert_eq!(
        world.ended(Side::A, id).failure,
        Some(MoveFailure::Machine {
            item: Register::CNTFRQ_EL0.identifier().value(),
            needed: 0,
            found: 24_000_000,
        })
    );
    world.runs_at(Side::A);
    assert!(
        world
            .b
            .hardware
            .machine
            .baseline
            .constants
            .set(Register::CNTFRQ_EL0, 0)
    );
    world.succeed(Side::A);
}

#[test]
fn a_processor_with_state_that_no_record_carries_neither_sends_nor_takes_a_guest() {
    let sve = Register::ID_AA64PFR0_EL1;
    for side in [Side::A, Side::B] {
        let mut world = World::new();
        let board = match side {
            Side::A => &mut world.a,
            Side::B => &mut world.b,
        };
        let constants = &mut board.hardware.machine.baseline.constants;
        assert!(constants.set(sve, 1 << 32));
        let id = world.start(Side::A).unwrap();
        match world.ended(Side::A, id).failure {
            Some(MoveFailure::State(feature)) => assert_eq!(feature.name, "SVE"),
            other => panic!("{side:?}: {other:?}"),
        }
        world.runs_at(Side::A);
    }
}

#[test]
fn another_core_is_taken_only_at_the_operators_word() {
    let mut world = World::new();
    let machine = &mut world.b.hardware.machine;
    assert!(machine.baseline.constants.set(Register::MIDR_EL1, 7));
    let id = world.start(Side::A).unwrap();
    let refused = world.ended(Side::A, id).failure;
    assert!(
        matches!(refused, Some(MoveFailure::Machine { found: 7, .. })),
        "{refused:?}"
    );
    world.runs_at(Side::A);
    let accept = world.start_with(Side::A, |start| start.accept_core = true);
    let report = world.ended(Side::A, accept.unwrap());
    assert_eq!(report.stage, Stage::Gone, "{report:?}");
    world.run_for(10_000);
    world.runs_at(Side::B);
}

#[test]
fn a_board_with_a_guest_takes_no_other() {
    let mut world = World::new();
    world.succeed(Side::A);
    // A guest of its own for A, and B's tries to come back.
    world.a.hardware.phase = VmmPhase::Running;
    world.b.hardware.phase = VmmPhase::Stopped;
    let id = world.start(Side::B).unwrap();
    let failure = world.ended(Side::B, id).failure;
    let phase = Phase::Running;
    assert_eq!(failure, Some(MoveFailure::Occupied { phase }));
}

#[test]
fn whoever_refuses_in_the_last_moment_leaves_the_guest_where_it_was() {
    for domain in [Domain::Vmm, Domain::Vgic, Domain::Timer] {
        let mut world = World::new();
        world.a.hardware.faults.export = Some(domain);
        let id = world.start(Side::A).unwrap();
        let failure = world.ended(Side::A, id).failure.unwrap();
        assert!(matches!(failure, MoveFailure::Export { domain: of, .. } if of == domain));
        world.run_for(AFTER_ALL_TIMEOUTS);
        world.runs_at(Side::A);
        world.a.hardware.faults.export = None;

        world.b.hardware.faults.import = Some(domain);
        let id = world.start(Side::A).unwrap();
        let failure = world.ended(Side::A, id).failure.unwrap();
        assert!(matches!(failure, MoveFailure::Record { domain: of, .. } if of == domain));
        world.run_for(10_000);
        world.b.hardware.vgic = 0;
        world.b.hardware.timer = None;
        world.runs_at(Side::A);
        world.b.hardware.faults.import = None;
        world.succeed(Side::A);
    }
}

#[test]
fn a_guest_that_cannot_be_stopped_is_not_moved() {
    let mut world = World::new();
    world.a.hardware.faults.never_stops = true;
    let id = world.start(Side::A).unwrap();
    let failure = world.ended(Side::A, id).failure.unwrap();
    assert!(matches!(
        failure,
        MoveFailure::Export {
            domain: Domain::Vmm,
            ..
        }
    ));
}

/// A move is called off while its guest is on the way to being paused.
fn called_off_while_stopping() -> World {
    let mut world = World::new();
    let id = world.start(Side::A).unwrap();
    let end = world.clock.get() + 1_000_000;
    assert!(world.run_until(end, |world| world.a.hardware.phase == VmmPhase::Stopping));
    world.act(Side::A, &Request::Cancel(id)).unwrap();
    assert_eq!(world.a.hardware.phase, VmmPhase::Stopping);
    world
}

#[test]
fn a_pause_counts_even_if_a_move_that_was_called_off_let_the_guest_continue() {
    let mut world = called_off_while_stopping();
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    assert_eq!(world.status(Side::A).phase, Phase::Stopped);
    world.act(Side::A, &Request::Resume).unwrap();
    world.run_for(10_000);
    world.runs_at(Side::A);
}

#[test]
fn that_a_guest_was_to_continue_is_forgotten_with_the_guest() {
    let mut world = called_off_while_stopping();
    world.a.hardware.power_off();
    world.run_for(10_000);
    world.act(Side::A, &Request::Discard).unwrap();
    // Another guest on this board, paused by its operator.
    world.a.hardware.phase = VmmPhase::Running;
    world.act(Side::A, &Request::Pause).unwrap();
    world.run_for(10_000);
    assert_eq!(world.status(Side::A).phase, Phase::Stopped);
}

#[test]
fn a_guest_that_ends_meanwhile_is_not_moved() {
    let mut world = World::new();
    let id = MoveId(1);
    let mut slowly = options(id, Pace::UNLIMITED);
    slowly.bandwidth = 1_000_000;
    world.act(Side::A, &Request::Start(slowly)).unwrap();
    world.run_for(20_000);
    assert_eq!(
        world.status(Side::A).last_move.unwrap().stage,
        Stage::Copying
    );
    world.a.hardware.power_off();
    let failure = world.ended(Side::A, id).failure;
    let phase = Phase::Off;
    assert_eq!(failure, Some(MoveFailure::GuestEnded { phase }));
    world.run_for(10_000);
    assert_eq!(world.status(Side::B).phase, Phase::Empty);
    assert_eq!(world.status(Side::A).phase, Phase::Off);
    world.act(Side::A, &Request::Discard).unwrap();
    assert_eq!(world.status(Side::A).phase, Phase::Empty);
}
