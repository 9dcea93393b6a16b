// SPDX-License-Identifier: BSD-2-Clause
//! Two ends over a line that drops, flips, duplicates and delays bytes.

mod harm;

use harm::{Harm, NO_HARM, Way};
use line::{Board, Host, Millis, Sink, stall};
use proptest::prelude::*;

/// A sink that takes so many bytes until it is emptied.
#[derive(Debug, Default)]
struct Vessel {
    bytes: Vec<u8>,
    room: usize,
}

impl Sink for Vessel {
    fn room(&mut self) -> usize {
        self.room
    }

    fn put(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room);
        self.room -= bytes.len();
        self.bytes.extend(bytes);
    }
}

/// Everything.
struct World {
    now: Millis,
    host: Host,
    board: Board,
    to_board: Way,
    to_host: Way,
    at_board: Vessel,
    at_host: Vessel,
    /// Bytes a millisecond over the line, each way.
    speed: usize,
}

impl World {
    fn new(harm: Harm, seed: u64) -> Self {
        Self {
            now: 1000,
            host: Host::new(7, 921_600, 1000),
            board: Board::new(0),
            to_board: Way::new(harm, seed),
            to_host: Way::new(harm, seed.rotate_left(32) ^ 0x5555),
            at_board: Vessel::default(),
            at_host: Vessel::default(),
            speed: 92,
        }
    }

    /// A millisecond passes; each end sends of its stream, and each sink is emptied to `room`.
    fn step(&mut self, from_host: &mut &[u8], from_board: &mut &[u8], room: usize) {
        self.now += 1;
        (self.at_host.room, self.at_board.room) = (room, room);
        let arrived = self.to_board.take(self.now);
        self.board.input(&arrived, &mut self.at_board);
        let arrived = self.to_host.take(self.now);
        self.host.input(&arrived, self.now, &mut self.at_host);
        let fill = |stream: &mut &[u8], place: &mut [u8]| {
            let count = stream.len().min(place.len());
            let (now, later) = stream.split_at(count);
            place[..count].copy_from_slice(now);
            *stream = later;
            count
        };
        while self.host.accept(|place| fill(from_host, place)) > 0 {}
        while self.board.accept(|place| fill(from_board, place)) > 0 {}
        let mut left = self.speed;
        while left > 0 {
            let bytes = self.host.output(self.now, &mut self.at_host);
            let count = bytes.len().min(left);
            if count == 0 {
                break;
            }
            self.to_board.put(&bytes[..count], self.now);
            self.host.sent(count);
            left -= count;
        }
        let mut left = self.speed;
        while left > 0 {
            let bytes = self.board.output(&mut self.at_board);
            let count = bytes.len().min(left);
            if count == 0 {
                break;
            }
            self.to_host.put(&bytes[..count], self.now);
            self.board.sent(count);
            left -= count;
        }
    }

    /// Sends both streams, and returns how long that took.
    fn exchange(&mut self, host: &[u8], board: &[u8], room: usize) -> Millis {
        let begun = self.now;
        let (mut from_host, mut from_board) = (host, board);
        while self.at_board.bytes.len() < host.len() || self.at_host.bytes.len() < board.len() {
            self.step(&mut from_host, &mut from_board, room);
            assert!(self.now - begun < 1_000_000, "it does not get on");
        }
        assert!(self.at_board.bytes == host && self.at_host.bytes == board);
        self.now - begun
    }
}

fn pattern(length: usize, factor: u8) -> Vec<u8> {
    (0..length)
        .map(|index| {
            let [low, middle, ..] = index.to_le_bytes();
            low.wrapping_mul(factor) ^ middle
        })
        .collect()
}

#[test]
fn a_line_that_does_no_harm_is_used_well() {
    let mut world = World::new(NO_HARM, 1);
    let (host, board) = (pattern(100_000, 3), pattern(400_000, 7));
    let took = world.exchange(&host, &board, 1 << 20);
    // 92 bytes a millisecond: all but a tenth of the time is spent on the stream itself.
    let ideal = 400_000 / 92;
    assert!(took * 9 < ideal * 10, "{took} ms instead of {ideal} ms");
}

#[test]
fn little_room_slows_it_down_and_loses_nothing() {
    let mut world = World::new(NO_HARM, 2);
    world.exchange(&pattern(20_000, 3), &pattern(20_000, 5), 600);
}

#[test]
fn a_host_that_attaches_later_begins_a_new_session() {
    let mut world = World::new(NO_HARM, 3);
    world.exchange(&pattern(5000, 3), &pattern(5000, 5), 1 << 16);
    // The host goes in the middle of what both say.
    let lost = pattern(30_000, 9);
    let (mut from_host, mut from_board) = (&lost[..], &lost[..]);
    for _ in 0..20 {
        world.step(&mut from_host, &mut from_board, 1 << 16);
    }
    world.host = Host::new(8, 921_600, world.now);
    for _ in 0..200 {
        world.step(&mut &[][..], &mut &[][..], 1 << 16);
    }
    assert!(world.host.is_attached());
    (world.at_board.bytes, world.at_host.bytes) = (Vec::new(), Vec::new());
    world.exchange(&pattern(5000, 11), &pattern(5000, 13), 1 << 16);
}

#[test]
fn a_board_that_was_started_anew_is_attached_again() {
    let mut world = World::new(NO_HARM, 4);
    world.exchange(&pattern(5000, 3), &pattern(5000, 5), 1 << 16);
    world.board = Board::new(0);
    // As long as a host waits for a board that may only be slow.
    for _ in 0..6000 + stall(921_600) {
        world.step(&mut &[][..], &mut &[][..], 1 << 16);
    }
    (world.at_board.bytes, world.at_host.bytes) = (Vec::new(), Vec::new());
    world.exchange(&pattern(5000, 11), &pattern(5000, 13), 1 << 16);
}

#[test]
fn a_new_session_first_ends_what_an_earlier_one_left_half_said() {
    const LONGEST: usize = 3000;
    let mut world = World::new(NO_HARM, 5);
    world.board = Board::new(LONGEST);
    let message = pattern(5000, 3);
    let mut rest = message.as_slice();
    for _ in 0..2000 {
        // Too little room for all zeros at once.
        world.step(&mut rest, &mut &[][..], 700);
    }
    let (zeros, received) = world.at_board.bytes.split_at(LONGEST);
    assert!(zeros.iter().all(|byte| *byte == 0));
    assert!(received == message, "{} bytes", received.len());
}

#[test]
fn a_board_says_nothing_before_a_host_is_there() {
    let mut board = Board::new(0);
    let mut vessel = Vessel {
        room: 1 << 16,
        ..Vessel::default()
    };
    board.input(&pattern(10_000, 7), &mut vessel);
    assert_eq!(board.accept(|place| place.len()), 0);
    assert!(board.output(&mut vessel).is_empty() && vessel.bytes.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_harmful_line_loses_doubles_and_swaps_nothing(
        (drop, flip, duplicate) in (0..40_u16, 0..40_u16, 0..40_u16),
        delay in 1..40_u64,
        seed in any::<u64>(),
        (host, board) in (0..60_000_usize, 0..60_000_usize),
        room in 512..20_000_usize,
    ) {
        let mut world = World::new(Harm { drop, flip, duplicate, delay }, seed);
        world.exchange(&pattern(host, 3), &pattern(board, 7), room);
    }

    #[test]
    fn garbage_from_the_line_is_no_panic(garbage in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut vessel = Vessel { room: 1 << 16, ..Vessel::default() };
        Board::new(0).input(&garbage, &mut vessel);
        Host::new(1, 9600, 0).input(&garbage, 1, &mut vessel);
        prop_assert!(vessel.bytes.is_empty());
    }
}
