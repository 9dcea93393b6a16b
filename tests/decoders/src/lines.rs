// SPDX-License-Identifier: BSD-2-Clause
//! Segments of a serial line (`wire/line`), as a board and a host read them from a line that carries anything.
//!
//! A segment is made and read within that crate, so there is no canonical form to hold against. What is checked is that
//! neither end panics, asks for memory or gives out more than there is room for; and that what was said before does not
//! keep a host and a board from finding each other once the line is quiet.

use line::{Board, Host, LONGEST_MESSAGE, Sink};

use crate::allocation::without_heap;
use crate::samples::CHECKSUM;

/// The most bytes of noise at a time.
const PIECE: usize = 40;
/// How many times each end speaks on the quiet line: a host gives a session up after 5 s.
const ROUNDS: u64 = 200;
/// Time between.
const ROUND_MS: u64 = 60;

/// A sink that takes all that there is room for.
struct Counted {
    room: usize,
}

impl Sink for Counted {
    fn room(&mut self) -> usize {
        self.room
    }

    fn put(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room, "more than there was room for");
    }
}

/// What the input describes comes from the line, to both ends; then it is quiet, and they talk.
pub(crate) fn run(data: &[u8]) {
    let Some((room, data)) = data.split_first() else {
        return;
    };
    let noise = noise_of(data);
    let mut sink = Counted {
        room: usize::from(*room) * 64,
    };
    let mut board = Board::new(LONGEST_MESSAGE);
    let mut host = Host::new(7, 115_200, 0);
    without_heap(|| {
        board.input(&noise, &mut sink);
        host.input(&noise, 1, &mut sink);
        for round in 0..ROUNDS {
            let now = 1 + round * ROUND_MS;
            // A zero first, which ends what the noise left unfinished.
            board.input(&[0], &mut sink);
            let said = host.output(now, &mut sink);
            board.input(said, &mut sink);
            let count = said.len();
            host.sent(count);
            let said = board.output(&mut sink);
            host.input(said, now, &mut sink);
            let count = said.len();
            board.sent(count);
        }
    });
    assert!(host.is_attached(), "a quiet line brings a session about");
}

/// Garbage, and segments with a good checksum and nonsense in them.
fn noise_of(data: &[u8]) -> Vec<u8> {
    let mut noise = Vec::new();
    let mut rest = data;
    while let Some(([operation, length], tail)) = rest.split_first_chunk() {
        let (piece, tail) = tail.split_at(usize::from(*length).min(PIECE).min(tail.len()));
        rest = tail;
        if operation & 1 == 1 {
            noise.extend(piece);
            continue;
        }
        let mut plain = piece.to_vec();
        plain.extend(CHECKSUM.checksum(piece).to_le_bytes());
        let mut line = [0; 2 * PIECE];
        let length = corncobs::encode_buf(&plain, &mut line);
        noise.extend(line.iter().take(length));
    }
    noise
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    // Kind, room, session, number, next, expected; and data.
    let segment = |kind: u8, session: u8, number: u8| {
        let mut bytes = vec![0, 14, kind, 16, session, 0, 0, 0, number, 0, 0, 0, 0, 0];
        bytes.extend([number, 0]);
        bytes
    };
    let talk = [
        segment(1, 7, 1),
        segment(2, 7, 0),
        segment(3, 7, 2),
        segment(4, 7, 3),
    ]
    .concat();
    let answers = [segment(5, 7, 1), segment(2, 7, 0), segment(5, 7, 2)].concat();
    let noise = vec![1, 6, 0, 0xff, 3, 0, 1, 0];
    let with_room =
        |room: u8, rest: &[u8]| std::iter::once(room).chain(rest.iter().copied()).collect();
    vec![
        with_room(255, &talk),
        with_room(0, &talk),
        with_room(255, &answers),
        with_room(16, &noise),
    ]
}
