// SPDX-License-Identifier: BSD-2-Clause
//! Messages that no honest peer domain sends, in an order that never changes.
//!
//! Responsible for: every label around those that mean something, with every number of words around those that belong to
//! it, filled in ways that no decoder should trust; and what whoever is called must say to each. Must never: depend on
//! what a domain does with them, only on what a message is ([`channel`]).

use channel::{Message, timer, vgic, vmm};

/// Labels of requests and answers lie below this; those above it stand for all that are none.
const LABELS: [u64; 34] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    0x7f,
    0xfef,
    0xff0,
    0xffd,
    0xffe,
    0xfff,
    0x1000,
    1 << 20,
    // All bits that seL4 carries of a label.
    (1 << 52) - 1,
];

/// Numbers of words: all up to one more than a message of ours has at most, and the most that seL4 carries.
const LENGTHS: [usize; 19] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 120,
];

/// What the words are, by their position.
const FILLINGS: [fn(usize) -> u64; 7] = [
    |_| 0,
    |_| u64::MAX,
    |position| position as u64,
    // One too many: vCPUs, list registers.
    |_| 4,
    // Just beyond 32 bits, and beyond the sign.
    |_| 1 << 32,
    |_| 1 << 63,
    |position| 0x1000 - position as u64,
];

/// How many messages there are.
pub const MESSAGES: usize = LABELS.len() * LENGTHS.len() * FILLINGS.len();

/// A message as it goes into the message registers.
#[derive(Clone, Copy)]
pub struct Raw {
    /// Its label.
    pub label: u64,
    /// How many words.
    pub length: usize,
    filling: fn(usize) -> u64,
}

/// The message of a number, counted around.
#[must_use]
pub const fn message(number: usize) -> Raw {
    let number = number % MESSAGES;
    Raw {
        label: LABELS[number % LABELS.len()],
        length: LENGTHS[number / LABELS.len() % LENGTHS.len()],
        filling: FILLINGS[number / LABELS.len() / LENGTHS.len()],
    }
}

impl Raw {
    /// One of its words.
    #[must_use]
    pub fn word(&self, position: usize) -> u64 {
        (self.filling)(position)
    }

    /// As who is called takes it, unless it has more words than any message of ours.
    fn taken(&self) -> Option<Message> {
        let mut words = [0; channel::MAX_WORDS];
        let words = words.get_mut(..self.length)?;
        for (position, word) in words.iter_mut().enumerate() {
            *word = self.word(position);
        }
        Message::received(self.label, words).ok()
    }
}

/// Who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callee {
    /// `vmm-pd`, by `migration-pd`.
    Vmm,
    /// `vgic-pd`.
    Vgic,
    /// `timer-pd`.
    Timer,
}

/// What an honest domain must say to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// That it is none.
    NotUnderstood,
    /// That it is not for this caller, or not now.
    Refused,
    /// An answer.
    Answered,
    /// Whatever is right: it is a request that this caller may make.
    Anything,
    /// Nothing, because the request does what it says, and the test is about something else.
    NotSent,
}

/// What a domain must say to `migration-pd` while a guest runs.
#[must_use]
pub fn due_to_migration(callee: Callee, raw: &Raw) -> Due {
    let Some(message) = raw.taken() else {
        return Due::NotUnderstood;
    };
    match callee {
        Callee::Vmm => match vmm::Request::decode(&message) {
            Err(_) => Due::NotUnderstood,
            Ok(vmm::Request::Stop) => Due::NotSent,
            Ok(
                vmm::Request::Status
                | vmm::Request::Statistics
                | vmm::Request::Describe
                | vmm::Request::Look { .. },
            ) => Due::Answered,
            Ok(_) => Due::Refused,
        },
        Callee::Vgic => match vgic::Request::decode(&message) {
            Err(_) => Due::NotUnderstood,
            // Whether there is something to be captured first depends on the moment.
            Ok(vgic::Request::Export) => Due::Anything,
            Ok(_) => Due::Refused,
        },
        Callee::Timer => match timer::Request::decode(&message) {
            Err(_) => Due::NotUnderstood,
            Ok(_) => Due::Refused,
        },
    }
}

/// What a domain must say to `vmm-pd`, which may ask for anything.
#[must_use]
pub fn due_to_vmm(callee: Callee, raw: &Raw) -> Due {
    match due_to_migration(callee, raw) {
        Due::NotUnderstood => Due::NotUnderstood,
        _ => Due::Anything,
    }
}

/// What was said to all messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many were not understood.
    pub not_understood: u32,
    /// How many were refused.
    pub refused: u32,
    /// How many were answered.
    pub answered: u32,
    /// How many were not met with what is due.
    pub wrong: u32,
}

/// The labels of the answers that say no, as [`channel`] has them.
const NOT_UNDERSTOOD: u64 = 0xfff;
const REFUSED: u64 = 0xffe;

impl Tally {
    /// Counts an answer by its label.
    pub const fn count(&mut self, due: Due, label: u64) {
        let said = match label {
            NOT_UNDERSTOOD => Due::NotUnderstood,
            REFUSED => Due::Refused,
            _ => Due::Answered,
        };
        match said {
            Due::NotUnderstood => self.not_understood += 1,
            Due::Refused => self.refused += 1,
            _ => self.answered += 1,
        }
        let right = match due {
            // A request that this caller may make is understood.
            Due::Anything => !matches!(said, Due::NotUnderstood),
            due => due as u8 == said as u8,
        };
        if !right {
            self.wrong += 1;
        }
    }

    /// What is due to all messages, with requests that the caller may make as if they were answered.
    #[must_use]
    pub fn due(due: impl Fn(&Raw) -> Due) -> Self {
        let mut tally = Self::default();
        for number in 0..MESSAGES {
            match due(&message(number)) {
                Due::NotUnderstood => tally.not_understood += 1,
                Due::Refused => tally.refused += 1,
                Due::Answered | Due::Anything => tally.answered += 1,
                Due::NotSent => {}
            }
        }
        tally
    }
}

/// Counts that no honest peer domain has in the header of its ring, four words each: sent, taken, and how far the other
/// one must get.
pub const HEADERS: [[u64; 4]; 8] = [
    [u64::MAX, 0, 0, 0],
    [0, u64::MAX, 0, 0],
    [1 << 63, 1 << 63, 1 << 63, 1 << 63],
    [0x4000, 1, u64::MAX, u64::MAX],
    [0x10_0000, 0x10_0000, 0, 0],
    [u64::MAX - 1, u64::MAX - 1, u64::MAX, u64::MAX],
    [1, 0, 0, 0],
    [0, 0, u64::MAX, u64::MAX],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_messages_are_none_and_every_request_is_among_the_others() {
        let all = [
            (Callee::Vmm, vmm::Request::ALL),
            (Callee::Vgic, vgic::Request::ALL),
            (Callee::Timer, timer::Request::ALL),
        ];
        for (callee, requests) in all {
            let none = Tally::due(|raw| due_to_vmm(callee, raw));
            assert!(none.not_understood > 4000, "{callee:?}: {none:?}");
            let mut labels: Vec<u64> = (0..MESSAGES)
                .map(message)
                .filter(|raw| due_to_vmm(callee, raw) == Due::Anything)
                .map(|raw| raw.label)
                .collect();
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), requests.len(), "{callee:?}: {labels:?}");
        }
    }

    #[test]
    fn an_answer_that_is_not_due_is_counted() {
        let mut tally = Tally::default();
        tally.count(Due::NotUnderstood, NOT_UNDERSTOOD);
        tally.count(Due::Anything, REFUSED);
        tally.count(Due::Refused, REFUSED);
        assert_eq!(tally.wrong, 0);
        tally.count(Due::Refused, 0);
        tally.count(Due::Anything, NOT_UNDERSTOOD);
        assert_eq!(tally.wrong, 2);
        assert_eq!(
            (tally.not_understood, tally.refused, tally.answered),
            (2, 2, 1)
        );
    }
}
