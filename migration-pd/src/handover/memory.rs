// SPDX-License-Identifier: BSD-2-Clause
//! What a board remembers of moves, for ever, in bounded space.

use protocol::MoveId;

/// How many moves that a board took over it remembers singly.
///
/// One is enough while sources ask at once; more are kept for one that stays in doubt while its
/// guest has long moved on.
pub const TAKEN_REMEMBERED: usize = 16;

/// Which moves took place, as far as this board has a say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Memory {
    newest: MoveId,
    taken: [MoveId; TAKEN_REMEMBERED],
    forgotten: MoveId,
}

/// What a board can say of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Past {
    /// It took the guest over.
    Taken,
    /// It did not, and never will.
    NotTaken,
    /// Too long ago to say.
    Forgotten,
    /// It has not come up yet.
    Ahead,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// Of no moves. Move 0 does not exist.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            newest: MoveId(0),
            taken: [MoveId(0); TAKEN_REMEMBERED],
            forgotten: MoveId(0),
        }
    }

    /// The greatest number seen.
    #[must_use]
    pub const fn newest(&self) -> MoveId {
        self.newest
    }

    /// A move came up: neither it nor any with a smaller number will be taken part in again.
    pub fn note(&mut self, id: MoveId) {
        self.newest = self.newest.max(id);
    }

    /// This board took a move's guest over.
    pub fn take(&mut self, id: MoveId) {
        self.note(id);
        let [oldest, ..] = self.taken;
        self.forgotten = self.forgotten.max(oldest);
        self.taken.rotate_left(1);
        if let Some(last) = self.taken.last_mut() {
            *last = id;
        }
    }

    /// What became of a move.
    #[must_use]
    pub fn past(&self, id: MoveId) -> Past {
        if self.taken.contains(&id) && id != MoveId(0) {
            Past::Taken
        } else if id > self.newest {
            Past::Ahead
        } else if id <= self.forgotten {
            Past::Forgotten
        } else {
            Past::NotTaken
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_that_was_taken_is_never_said_not_to_have_been() {
        let mut memory = Memory::new();
        for id in 1..=100 {
            assert_eq!(memory.past(MoveId(2 * id)), Past::Ahead);
            memory.take(MoveId(2 * id));
            assert_eq!(memory.past(MoveId(2 * id)), Past::Taken);
            for earlier in 1..id {
                assert_ne!(memory.past(MoveId(2 * earlier)), Past::NotTaken);
            }
        }
        assert_eq!(memory.past(MoveId(199)), Past::NotTaken);
        assert_eq!(memory.past(MoveId(3)), Past::Forgotten);
        assert_eq!(memory.past(MoveId(0)), Past::Forgotten);
        assert_eq!(memory.newest(), MoveId(200));
    }
}
