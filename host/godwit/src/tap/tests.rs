// SPDX-License-Identifier: BSD-2-Clause
//! A tapped link between a board and clients, all of them this test.

use protocol::management::{Figures, Phase, Stage};
use protocol::{MoveId, Request, Transfer};

use super::*;
use crate::link::peer::{Peer, frame, status};
use crate::session::Scratch;

/// Everything around a tap.
struct Setting {
    tap: Tap,
    board: Peer,
    path: std::path::PathBuf,
    _scratch: Scratch,
}

fn setting() -> Setting {
    let scratch = Scratch::new().unwrap();
    let path = scratch.path().join("link");
    let (board, link) = UnixStream::pair().unwrap();
    let tap = Tap::start(link, UnixListener::bind(&path).unwrap()).unwrap();
    let mut board = Peer::new(board);
    let own = board.receive().unwrap();
    assert_eq!(own, (kind::STATUS, OWN_TAG, Vec::new()), "it asks once");
    Setting {
        tap,
        board,
        path,
        _scratch: scratch,
    }
}

impl Setting {
    fn client(&self) -> Peer {
        Peer::new(UnixStream::connect(&self.path).unwrap())
    }

    /// A client that the tap has taken notice of.
    fn heard_client(&mut self) -> Peer {
        let mut client = self.client();
        client.send(kind::HELLO, 1, &[]);
        let (asked, tag, _) = self.board.receive().unwrap();
        assert_eq!(asked, kind::HELLO);
        self.board.send(kind::WELCOME, tag, &[]);
        assert_eq!(client.receive(), Some((kind::WELCOME, 1, Vec::new())));
        client
    }

    fn say(&mut self, event: Event) {
        let mut payload = [0; 256];
        let length = event.encode(&mut payload).unwrap();
        self.board.send(event.kind(), 0, &payload[..length]);
    }

    fn heard(&self) -> Vec<LinkEvent> {
        let mut polled = [PollFd::new(self.tap.news(), PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(poll(&mut polled, Some(&timeout)), Ok(1), "there are news");
        self.tap.take()
    }
}

#[test]
fn frames_pass_in_both_directions() {
    let mut setting = setting();
    let mut client = setting.client();
    client.send(kind::PAUSE, 7, &[]);
    let (asked, tag, _) = setting.board.receive().unwrap();
    assert_eq!(asked, kind::PAUSE);
    let pages = vec![0x5a; 60_000];
    setting.board.send(kind::PAGES, 0, &pages);
    setting.board.send(kind::ACCEPTED, tag, &[]);
    assert_eq!(client.receive(), Some((kind::PAGES, 0, pages)));
    assert_eq!(client.receive(), Some((kind::ACCEPTED, 7, Vec::new())));
}

#[test]
fn what_becomes_of_the_guest_is_heard_with_and_without_a_client() {
    let mut setting = setting();
    let off = status(Phase::Off);
    setting.say(Event::PhaseChanged(off));
    assert_eq!(setting.heard(), [LinkEvent::Status(off)]);
    let _client = setting.heard_client();
    let ended = MoveReport {
        id: MoveId(3),
        stage: Stage::Gone,
        failure: None,
        figures: Figures::default(),
    };
    setting.say(Event::MoveEnded(ended));
    assert_eq!(setting.heard(), [LinkEvent::MoveEnded(ended)]);
    assert_eq!(setting.tap.take(), []);
}

#[test]
fn the_answer_to_its_own_question_is_for_nobody_else() {
    let mut setting = setting();
    let mut client = setting.heard_client();
    client.send(kind::HELLO, 1, &[]);
    let (_, tag, _) = setting.board.receive().unwrap();
    let report = Answer::Status(status(Phase::Empty));
    let mut payload = [0; 256];
    let length = report.encode(&mut payload).unwrap();
    setting
        .board
        .send(kind::STATUS_REPORT, OWN_TAG, &payload[..length]);
    setting.board.send(kind::WELCOME, tag, &[]);
    assert_eq!(client.receive().unwrap().0, kind::WELCOME);
    assert_eq!(setting.heard(), [LinkEvent::Status(status(Phase::Empty))]);
}

#[test]
fn a_client_that_dies_in_the_middle_of_a_frame_leaves_nothing_of_it() {
    let mut setting = setting();
    let mut client = setting.heard_client();
    let whole = frame(kind::PAGES, 0, &[1; 1000]);
    client.stream.write_all(&whole[..500]).unwrap();
    drop(client);
    let mut next = setting.client();
    next.send(kind::RESUME, 9, &[]);
    let (asked, tag, _) = setting.board.receive().unwrap();
    assert_eq!(asked, kind::RESUME);
    setting.board.send(kind::ACCEPTED, tag, &[]);
    assert_eq!(next.receive().unwrap().1, 9);
}

#[test]
fn an_answer_goes_to_whoever_asked_also_if_two_ask_with_the_same_tag() {
    let mut setting = setting();
    let mut clients = [setting.heard_client(), setting.heard_client()];
    let tags = clients.each_mut().map(|client| {
        client.send(kind::RESUME, 2, &[]);
        setting.board.receive().unwrap().1
    });
    assert_ne!(tags[0], tags[1]);
    setting.board.send(kind::REFUSED, tags[1], &[1]);
    setting.board.send(kind::ACCEPTED, tags[0], &[]);
    let [first, second] = clients.each_mut().map(|client| client.receive().unwrap());
    assert_eq!(first, (kind::ACCEPTED, 2, Vec::new()));
    assert_eq!(second, (kind::REFUSED, 2, vec![1]));
}

#[test]
fn while_one_client_relays_a_move_others_ask_and_hear_nothing_of_it() {
    let mut setting = setting();
    let (mut relay, mut other) = (setting.heard_client(), setting.heard_client());
    relay.send(kind::START, 3, &[]);
    let (_, started, _) = setting.board.receive().unwrap();
    setting.board.send(kind::OFFER, 0, &[9]);
    setting.board.send(kind::ACCEPTED, started, &[]);
    other.send(kind::STATUS, 3, &[]);
    let (_, asked, _) = setting.board.receive().unwrap();
    setting.board.send(kind::PAGES, 0, &[8]);
    setting.board.send(kind::STATUS_REPORT, asked, &[7]);
    setting.say(Event::PhaseChanged(status(Phase::Stopping)));
    let heard = |client: &mut Peer| client.receive().unwrap().0;
    let relayed = [(); 4].map(|()| heard(&mut relay));
    let expected = [
        kind::OFFER,
        kind::ACCEPTED,
        kind::PAGES,
        kind::PHASE_CHANGED,
    ];
    assert_eq!(relayed, expected);
    let asked = [(); 2].map(|()| heard(&mut other));
    assert_eq!(asked, [kind::STATUS_REPORT, kind::PHASE_CHANGED]);
    // What the relay says is for the other board, as it came.
    relay.send(kind::ACCEPT, 0, &[6]);
    assert_eq!(setting.board.receive(), Some((kind::ACCEPT, 0, vec![6])));
}

#[test]
fn a_move_whose_relay_has_gone_is_called_off() {
    let mut setting = setting();
    let [mut relay, other] = [(); 2].map(|()| setting.heard_client());
    let id = MoveId(0x77);
    let accept = Transfer::Accept {
        id,
        incarnation: protocol::Incarnation(5),
        send_bundle: false,
    };
    let mut payload = [0; 64];
    let length = accept.encode(&mut payload).unwrap();
    relay.send(accept.kind(), 0, &payload[..length]);
    assert_eq!(setting.board.receive().unwrap().0, accept.kind());
    // Of those who take no part it does not matter.
    drop(other);
    drop(relay);
    let (kind, tag, payload) = setting.board.receive().unwrap();
    assert_eq!(Request::decode(kind, &payload), Ok(Request::Cancel(id)));
    assert_eq!(tag, OWN_TAG, "nobody waits for an answer");
}

#[test]
fn a_client_that_does_not_listen_holds_up_no_request() {
    let mut setting = setting();
    let mut client = setting.heard_client();
    client.send(kind::ACCEPT, 0, &[]);
    assert_eq!(setting.board.receive().unwrap().0, kind::ACCEPT);
    let mut board = setting.board.stream.try_clone().unwrap();
    let much = std::thread::spawn(move || {
        let pages = frame(kind::PAGES, 0, &[7; 60_000]);
        (0..40).try_for_each(|_| board.write_all(&pages)).unwrap();
    });
    let request = Request::Pause;
    client.send(request.kind(), 5, &[]);
    assert_eq!(setting.board.receive().unwrap().0, request.kind());
    for _ in 0..40 {
        assert_eq!(client.receive().unwrap().2.len(), 60_000);
    }
    much.join().unwrap();
}

#[test]
fn a_lost_link_is_told() {
    let mut setting = setting();
    let (gone, _) = UnixStream::pair().unwrap();
    setting.board = Peer::new(gone);
    assert_eq!(setting.heard(), [LinkEvent::Lost]);
}
