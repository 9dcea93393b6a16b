// SPDX-License-Identifier: BSD-2-Clause
//! What a guest is started from goes where the guest goes, once, whole or not at all.

use crate::hardware::{Hardware, STORE};
use crate::world::{Action, PAGES, Side, World};
use guest_bundle::{Bundle, Contents, RAM_BASE, SegmentContents, encode};
use protocol::fingerprint::{PAGE_SIZE, Page};
use protocol::management::{MoveReport, Stage};
use protocol::{MoveFailure, kind};
use std::cell::Cell;
use std::rc::Rc;

/// Bytes of guest RAM.
const RAM: u64 = (PAGES * PAGE_SIZE) as u64;
/// Pages of each bundle but its first one: some that do not compress, some that are zero.
const DATA_PAGES: usize = 20;

fn bytes_of(seed: u64) -> Vec<u8> {
    let mut word = seed;
    let data: Vec<u8> = (0..DATA_PAGES * PAGE_SIZE / 8)
        .flat_map(|index| {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1442);
            if index > 4000 && index < 6000 {
                0
            } else {
                word
            }
            .to_le_bytes()
        })
        .collect();
    let contents = Contents {
        vcpus: 1,
        ram_size: RAM,
        entry: RAM_BASE,
        device_tree: RAM_BASE,
        segments: vec![SegmentContents {
            ipa: RAM_BASE,
            data: &data[..data.len() - 100],
            mem_size: data.len() as u64,
        }],
    };
    encode(&contents).unwrap()
}

/// The pages of a bundle that differs from others by its seed.
pub(crate) fn pages_of(seed: u64) -> Vec<Page> {
    let mut bytes = bytes_of(seed);
    bytes.resize(bytes.len().next_multiple_of(PAGE_SIZE), 0);
    let (pages, _) = bytes.as_chunks();
    pages.to_vec()
}

/// Its identity.
pub(crate) fn identity_of(seed: u64) -> u64 {
    Bundle::parse(&bytes_of(seed), RAM).unwrap().identity()
}

/// Whether all of it is on a board.
pub(crate) fn is_at(hardware: &Hardware, seed: u64) -> bool {
    let pages = pages_of(seed);
    [&hardware.image, &hardware.store]
        .into_iter()
        .any(|place| place.starts_with(&pages))
}

/// Whether a board's store has something that can be taken for a bundle.
fn has_one_in_store(hardware: &Hardware) -> bool {
    Bundle::parse(hardware.store.as_flattened(), RAM).is_ok()
}

/// How many pages came with a move.
fn pages_sent(report: &MoveReport) -> u32 {
    report.figures.pages_sent
}

#[test]
fn a_bundle_goes_once_and_is_counted() {
    let mut world = World::new();
    let mut without = World::new();
    without.b.hardware.image = pages_of(1);
    let (with, without) = (world.succeed(Side::A), without.succeed(Side::A));
    let bundle = pages_of(1).len() as u32;
    let more = pages_sent(&with) - pages_sent(&without);
    // The guest continues meanwhile, and changes a page or two more.
    assert!((bundle..bundle + 10).contains(&more), "{more} pages more");
    assert!(with.figures.bytes > without.figures.bytes);
    assert!(is_at(&world.b.hardware, 1));
}

#[test]
fn a_board_that_had_it_does_not_get_it_again() {
    let mut world = World::new();
    world.succeed(Side::A);
    let store = world.b.hardware.store.clone();
    world.succeed(Side::B);
    assert!(
        world
            .a
            .hardware
            .store
            .iter()
            .all(|page| *page == [0; PAGE_SIZE])
    );
    // What comes now would break.
    world.b.hardware.broken_store = Some(3);
    world.succeed(Side::A);
    assert!(world.b.hardware.store == store);
}

#[test]
fn it_continues_from_where_it_came_to() {
    let mut world = World::new();
    world.succeed(Side::A);
    // A third board in place of the first.
    world.a.hardware.image = pages_of(3);
    world.succeed(Side::B);
    assert!(world.a.hardware.store.starts_with(&pages_of(1)));
    // And one that has kept another guest's.
    world.b.hardware.store[..pages_of(2).len()].copy_from_slice(&pages_of(2));
    world.succeed(Side::A);
    assert!(is_at(&world.b.hardware, 1) && !is_at(&world.b.hardware, 2));
}

#[test]
fn what_breaks_on_the_way_ends_the_move_and_is_never_started_from() {
    for page in 1..pages_of(1).len() as u32 {
        let mut world = World::new();
        world.b.hardware.broken_store = Some(page);
        let id = world.start(Side::A).unwrap();
        let report = world.ended(Side::A, id);
        let failure = MoveFailure::Bundle {
            identity: identity_of(1),
        };
        assert_eq!(
            (report.stage, report.failure),
            (Stage::Failed, Some(failure)),
            "page {page}"
        );
        assert!(!has_one_in_store(&world.b.hardware), "page {page}");
        world.b.hardware.broken_store = None;
        world.run_for(10_000);
        world.runs_at(Side::A);
        world.succeed(Side::A);
    }
}

#[test]
fn a_link_that_is_cut_leaves_no_half_bundle_and_the_next_move_sends_all_of_it() {
    let bundle_frames = 6;
    for cut in 2..2 + bundle_frames {
        let mut world = World::new();
        world.b.hardware.store[..pages_of(2).len()].copy_from_slice(&pages_of(2));
        world.link = Box::new(move |number, _, _| match number {
            number if number >= cut => Action::IsLost,
            _ => Action::Arrives,
        });
        let id = world.start(Side::A).unwrap();
        assert_eq!(world.ended(Side::A, id).stage, Stage::Failed);
        world.run_for(crate::AFTER_ALL_TIMEOUTS);
        let [before, after] = [2, 1].map(|seed| is_at(&world.b.hardware, seed));
        let there = has_one_in_store(&world.b.hardware);
        assert_eq!(there, before || after, "cut at {cut}");
        world.link = Box::new(|_, _, _| Action::Arrives);
        world.runs_at(Side::A);
        world.succeed(Side::A);
    }
}

#[test]
fn one_that_is_too_large_is_refused_before_anything_is_sent() {
    let mut world = World::new();
    world.b.hardware.store.truncate(pages_of(1).len() - 1);
    let pages = Rc::new(Cell::new(0));
    let count = pages.clone();
    world.link = Box::new(move |_, _, kind| {
        count.set(count.get() + u32::from(kind == kind::PAGES));
        Action::Arrives
    });
    let id = world.start(Side::A).unwrap();
    let report = world.ended(Side::A, id);
    let needed = (pages_of(1).len() * PAGE_SIZE) as u64;
    assert_eq!(
        report.failure,
        Some(MoveFailure::BundleRoom {
            needed,
            available: needed - PAGE_SIZE as u64,
        })
    );
    assert_eq!(pages.get(), 0);
    world.runs_at(Side::A);
    // Where it is already, the store does not matter.
    world.b.hardware.image = pages_of(1);
    world.succeed(Side::A);
}

#[test]
fn a_guest_whose_bundle_is_nowhere_moves_without_it() {
    for known in [0, identity_of(9)] {
        let mut world = World::new();
        world.a.hardware.bundle = known;
        let id = world.start(Side::A).unwrap();
        assert_eq!(world.ended(Side::A, id).stage, Stage::Gone);
        world.run_for(10_000);
        assert_eq!(world.b.hardware.bundle, known);
        assert_eq!(world.b.hardware.store, vec![[0; PAGE_SIZE]; STORE]);
    }
}
