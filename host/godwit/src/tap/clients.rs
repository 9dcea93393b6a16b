// SPDX-License-Identifier: BSD-2-Clause
//! Those who share a board's link.
//!
//! Responsible for: which frame from the board goes to whom, and tags that two clients may have chosen alike. Never: lets
//! one client that takes nothing keep the others from being served for ever.

use std::collections::VecDeque;

use protocol::{Frame, MoveId, Request, Transfer, kind};
use rustix::event::{PollFd, PollFlags};

use super::{OWN_TAG, Side, WAITING};

/// How many there may be at the same time.
const MOST: usize = 16;
/// How many questions may be open; the oldest are forgotten.
const QUESTIONS: usize = 256;

/// All clients, and what they have asked.
#[derive(Debug, Default)]
pub(super) struct Clients {
    list: Vec<Client>,
    next: u64,
    questions: VecDeque<Question>,
    last_tag: u32,
}

/// One of them.
#[derive(Debug)]
struct Client {
    number: u64,
    side: Side,
    /// It plays the other board of a move, or relays to it.
    takes_part: bool,
    /// The move that it has last said something of.
    moves: Option<MoveId>,
    gone: bool,
}

/// A request under way.
#[derive(Debug)]
struct Question {
    /// The tag that the board knows.
    tag: u32,
    /// Who asked, and with which tag.
    client: u64,
    own: u32,
}

impl Clients {
    /// Takes one more, unless there are too many.
    pub(super) fn admit(&mut self, side: Side) {
        if self.list.len() < MOST {
            self.next += 1;
            self.list.push(Client {
                number: self.next,
                side,
                takes_part: false,
                moves: None,
                gone: false,
            });
        }
    }

    /// Their connections, in order.
    pub(super) fn polled(&self, listen: bool) -> impl Iterator<Item = PollFd<'_>> {
        self.list.iter().map(move |client| {
            let mut flags = client.side.interest();
            flags.set(PollFlags::IN, listen);
            PollFd::new(&client.side.stream, flags)
        })
    }

    /// Whether all those have taken enough that more can be sent to them for whom the board would have to wait.
    pub(super) fn keep_up(&self) -> bool {
        let mut list = self.list.iter();
        !list.any(|client| client.takes_part && client.side.waiting() > WAITING)
    }

    /// Reads from those that are ready, for the board.
    pub(super) fn read(&mut self, ready: &[bool], link: &mut Side) {
        let (questions, last_tag) = (&mut self.questions, &mut self.last_tag);
        for (client, _) in self.list.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            let Client {
                number,
                side,
                takes_part,
                moves,
                ..
            } = client;
            let open = side.receive(|frame| {
                let transfer = kind::is_transfer(frame.kind);
                *takes_part |= transfer || frame.kind == kind::START;
                *moves = move_of(frame).or(*moves);
                let tag = if transfer {
                    frame.tag
                } else {
                    *last_tag = last_tag.wrapping_add(1) % OWN_TAG;
                    questions.push_back(Question {
                        tag: *last_tag,
                        client: *number,
                        own: frame.tag,
                    });
                    *last_tag
                };
                link.put(frame.kind, tag, frame.payload);
            });
            client.gone = !matches!(open, Ok(true));
        }
        let excess = self.questions.len().saturating_sub(QUESTIONS);
        self.questions.drain(..excess);
        self.let_go(link);
    }

    /// Parts with those who have gone. A move that one of them relayed is called off, if it still can be: what it had
    /// said has been passed on, nothing more will come, and a guest may be paused for it.
    fn let_go(&mut self, link: &mut Side) {
        for id in self
            .list
            .extract_if(.., |client| client.gone)
            .filter_map(|client| client.moves)
        {
            let request = Request::Cancel(id);
            let mut payload = [0; 64];
            if let Ok(length) = request.encode(&mut payload) {
                let payload = payload.get(..length).unwrap_or_default();
                link.put(request.kind(), OWN_TAG, payload);
            }
        }
    }

    /// Queues a frame for whom it concerns.
    pub(super) fn put(&mut self, frame: &Frame<'_>) {
        if is_answer(frame.kind) {
            let asked = |question: &Question| question.tag == frame.tag;
            let Some(index) = self.questions.iter().position(asked) else {
                return;
            };
            let question = self.questions.remove(index);
            let client = question.and_then(|question| {
                let mut list = self.list.iter_mut();
                let client = list.find(|client| client.number == question.client)?;
                Some((client, question.own))
            });
            if let Some((client, own)) = client {
                client.side.put(frame.kind, own, frame.payload);
            }
            return;
        }
        let transfer = kind::is_transfer(frame.kind);
        let anybody = self.list.iter().any(|client| client.takes_part);
        for client in &mut self.list {
            let concerned = !transfer || client.takes_part || !anybody;
            // Who takes part is waited for; who only looks on, and does not even do that, has missed something.
            if concerned && (client.takes_part || client.side.waiting() <= WAITING) {
                client.side.put(frame.kind, frame.tag, frame.payload);
            }
        }
    }

    /// Sends to each what it takes; those that take nothing for too long are disconnected.
    pub(super) fn send(&mut self, link: &mut Side) {
        for client in &mut self.list {
            client.gone |= client.side.send().is_err() || client.side.is_stuck();
        }
        self.let_go(link);
    }
}

/// The move that a frame from a client is about.
fn move_of(frame: &Frame<'_>) -> Option<MoveId> {
    if frame.kind == kind::PAGES {
        // Never the first word, and there are many.
        return None;
    }
    if kind::is_transfer(frame.kind) {
        return Transfer::decode(frame.kind, frame.payload)
            .ok()
            .map(|message| message.id());
    }
    match Request::decode(frame.kind, frame.payload) {
        Ok(Request::Start(start)) => Some(start.id),
        _ => None,
    }
}

/// Answers carry the tag of a request (see [`kind`]).
const fn is_answer(kind: u8) -> bool {
    matches!(kind, kind::WELCOME..=kind::REFUSED)
}
