// SPDX-License-Identifier: BSD-2-Clause
//! What a link may do to an agent: stop in the middle of a frame, lose, repeat, reorder, and say anything.

use crate::AFTER_ALL_TIMEOUTS;
use crate::world::{Action, Side, World};
use proptest::prelude::*;
use protocol::management::{Phase, Stage};
use protocol::{HEADER_LENGTH, MAX_FRAME, Request, kind};

fn half_a_frame() -> Vec<u8> {
    let mut frame = vec![0xc7; 5000];
    let length = protocol::frame::finish(&mut frame, kind::PAGES, 0, 4000).unwrap();
    frame.truncate(length / 2);
    frame
}

#[test]
fn half_a_frame_of_a_host_that_died_is_ended_by_the_zeros_of_the_next_host() {
    let mut world = World::new();
    world.a.hardware.received.extend(half_a_frame());
    world.run_for(1000);
    world.a.hardware.received.extend([0; MAX_FRAME]);
    assert_eq!(world.status(Side::A).phase, Phase::Running);
}

#[test]
fn half_a_frame_is_given_up_in_the_end() {
    let mut world = World::new();
    world.a.hardware.received.extend(half_a_frame());
    world.run_for(21_000_000);
    assert_eq!(world.status(Side::A).phase, Phase::Running);
}

#[test]
fn a_host_may_pause_in_the_middle_of_a_frame() {
    let mut world = World::new();
    let tag = world.send(Side::A, &Request::Status);
    let rest = world.a.hardware.received.split_off(HEADER_LENGTH - 3);
    world.run_for(5_000_000);
    world.a.hardware.received.extend(rest);
    world.run_for(1000);
    let answered = world.a.answers.iter().any(|(found, ..)| *found == tag);
    assert!(answered);
}

#[test]
fn an_idle_board_asks_for_no_heartbeat() {
    let mut world = World::new();
    world.status(Side::A);
    assert_eq!(world.a.hardware.heartbeat, None);
    world.succeed(Side::A);
    world.run_for(AFTER_ALL_TIMEOUTS);
    assert_eq!(
        (world.a.hardware.heartbeat, world.b.hardware.heartbeat),
        (None, None)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn a_link_that_loses_repeats_and_reorders_does_no_harm(
        seed in any::<u64>(), loss in 0..20_u64, repeats in 0..10_u64, delays in 0..10_u64,
    ) {
        let mut world = World::new();
        let mut random = seed | 1;
        world.link = Box::new(move |_, _, _| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match (random >> 20) % 1000 {
                draw if draw < loss => Action::IsLost,
                draw if draw < loss + repeats => Action::ArrivesTwice,
                draw if draw < loss + repeats + delays => Action::ArrivesLate,
                _ => Action::Arrives,
            }
        });
        let mut at = Side::A;
        for _ in 0..3 {
            let id = world.start(at).unwrap();
            let report = world.ended(at, id);
            world.run_for(AFTER_ALL_TIMEOUTS);
            if report.stage == Stage::Gone {
                at = at.other();
            }
            world.runs_at(at);
        }
        world.link = Box::new(|_, _, _| Action::Arrives);
        world.succeed(at);
    }

    #[test]
    fn arbitrary_bytes_on_the_link_do_no_harm(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10),
        frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
    ) {
        let mut world = World::new();
        for bytes in chunks {
            world.a.hardware.received.extend(&bytes);
            world.b.hardware.received.extend(&bytes);
            world.run_for(1000);
        }
        for (kind, payload) in frames {
            let mut frame = vec![0; 100];
            frame[24..24 + payload.len()].copy_from_slice(&payload);
            let length =
                protocol::frame::finish(&mut frame, kind, 0, payload.len()).unwrap();
            world.b.hardware.received.extend(&frame[..length]);
            world.run_for(1000);
        }
        world.run_for(AFTER_ALL_TIMEOUTS);
        world.runs_at(Side::A);
        world.succeed(Side::A);
    }
}
