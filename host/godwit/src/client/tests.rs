// SPDX-License-Identifier: BSD-2-Clause
//! A client of a board that does not mean well.

use std::os::unix::net::UnixListener;

use protocol::kind;

use super::*;
use crate::link::peer::{Peer, status};
use crate::session::Scratch;

/// A board that answers a greeting, and then tells `event` until nobody listens.
fn talk(listener: &UnixListener, event: &Event) {
    let mut payload = [0; 256];
    let (stream, _) = listener.accept().unwrap();
    let mut peer = Peer::new(stream);
    let (kind, tag, _) = peer.receive().unwrap();
    assert_eq!(kind, kind::HELLO);
    let welcome = Answer::Welcome(Welcome {
        ram_bytes: 1 << 27,
        counter_frequency: 62_500_000,
        uptime_us: 0,
        pace: Pace::UNLIMITED,
    });
    let length = welcome.encode(&mut payload).unwrap();
    peer.send(welcome.kind(), tag, &payload[..length]);
    let length = event.encode(&mut payload).unwrap();
    while peer.send_if_heard(event.kind(), 0, &payload[..length]) {}
}

#[test]
fn a_board_that_tells_events_without_end_and_answers_nothing_is_silent() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("link");
    let listener = UnixListener::bind(&path).unwrap();
    let event = Event::PhaseChanged(status(Phase::Running));
    let board = std::thread::spawn(move || talk(&listener, &event));
    let mut client = Client::connect(&Address::Unix(path), Duration::from_secs(20)).unwrap();
    let Err(ClientError::Silent { step, .. }) = client.status() else {
        panic!("an answer?");
    };
    assert_eq!(step, Step::Status);
    assert_eq!(client.events.len(), MOST_EVENTS);
    drop(client);
    board.join().unwrap();
}
