// SPDX-License-Identifier: BSD-2-Clause
//! Moves between two boards in this process, over sockets, and what they say when they fail.

mod board;
mod doubt;

use super::*;
use crate::link::Link;
use board::{Board, Trouble, Writer};
use estimate::Estimate;
use protocol::{MoveFailure, Pace, Request, RequestError};

const TIMEOUT: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options {
        timeout: Duration::from_secs(10),
        reconnect: Duration::from_secs(5),
        ..Options::default()
    }
}

fn connect(board: &Board) -> Client {
    Client::connect(&board.address, TIMEOUT).unwrap()
}

/// Moves a guest and collects the progress.
fn move_guest(
    source: &mut Client,
    destination: &mut Client,
) -> (Result<Summary, MoveError>, Vec<Progress>) {
    let mut reports = Vec::new();
    let result = migrate(source, destination, &options(), &mut |progress| {
        reports.push(progress);
    });
    (result, reports)
}

fn error(cause: Cause, location: GuestLocation) -> String {
    MoveError {
        cause: Box::new(cause),
        location,
        source_board: "unix:/run/a".parse().unwrap(),
        destination_board: "unix:/run/b".parse().unwrap(),
    }
    .to_string()
}

#[test]
fn every_failure_says_where_the_guest_is() {
    let called_off = || Cause::CalledOff(MoveFailure::Silence);
    let message = error(called_off(), GuestLocation::Source(Phase::Running));
    assert_eq!(
        message,
        "the move was called off: nothing was heard from the other board. \
         The guest is still on board unix:/run/a: running"
    );
    let message = error(Cause::TimedOut, GuestLocation::InDoubt);
    assert!(
        message.contains("is paused on board unix:/run/a"),
        "{message}"
    );
    let command = "`godwit resolve unix:/run/a unix:/run/b`";
    assert!(message.contains(command), "{message}");
    let message = error(Cause::TimedOut, GuestLocation::Unknown);
    assert!(message.contains("never on both"), "{message}");
    assert!(message.contains(command), "{message}");
    let message = error(Cause::TimedOut, GuestLocation::HandedOver);
    assert!(message.contains("`godwit status unix:/run/b`"), "{message}");
    let message = error(Cause::TimedOut, GuestLocation::Source(Phase::Empty));
    assert!(
        message.ends_with("Board unix:/run/a has no guest"),
        "{message}"
    );
}

#[test]
fn a_guest_goes_there_and_back() {
    let (a, b) = (Board::with_guest(), Board::empty());
    let (mut source, mut destination) = (connect(&a), connect(&b));
    let (summary, reports) = move_guest(&mut source, &mut destination);
    let summary = summary.unwrap();
    assert!(summary.figures.pages_sent > 0);
    assert!(
        summary
            .downtime
            .is_some_and(|downtime| downtime <= summary.total)
    );
    let stages: Vec<Stage> = reports
        .iter()
        .map(|progress| progress.report.stage)
        .collect();
    for stage in [Stage::Offering, Stage::Copying, Stage::Finishing] {
        assert!(stages.contains(&stage), "{stages:?}");
    }
    assert_eq!(source.status().unwrap().phase, Phase::Empty);
    assert_eq!(destination.status().unwrap().phase, Phase::Running);
    let back = move_guest(&mut destination, &mut source).0.unwrap();
    assert!(back.id > summary.id);
    assert_eq!(source.status().unwrap().phase, Phase::Running);
}

#[test]
fn a_paused_guest_stays_paused() {
    let (a, b) = (Board::with_guest(), Board::empty());
    let (mut source, mut destination) = (connect(&a), connect(&b));
    source.pause(TIMEOUT).unwrap();
    let summary = move_guest(&mut source, &mut destination).0.unwrap();
    assert_eq!(summary.downtime, None);
    assert_eq!(destination.status().unwrap().phase, Phase::Imported);
    // It is paused, which is what a pause asks for.
    let paused = destination.pause(TIMEOUT).unwrap();
    assert_eq!(paused.phase, Phase::Imported);
    destination.resume(TIMEOUT).unwrap();
}

#[test]
fn what_cannot_be_begun_is_said_before_it_is() {
    let (a, b) = (Board::with_guest(), Board::empty());
    let (mut source, mut destination) = (connect(&a), connect(&b));
    let error = move_guest(&mut destination, &mut source).0.unwrap_err();
    assert!(matches!(*error.cause, Cause::NoGuest { .. }), "{error}");

    let c = Board::with_guest();
    let mut occupied = connect(&c);
    let error = move_guest(&mut source, &mut occupied).0.unwrap_err();
    assert!(matches!(*error.cause, Cause::Occupied { .. }), "{error}");
    assert_eq!(error.location, GuestLocation::Source(Phase::Running));

    let d = Board::with(None, Trouble::OtherMachine);
    let mut other = connect(&d);
    let error = move_guest(&mut source, &mut other).0.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("CNTFRQ_EL0"), "{message}");
    assert!(message.contains(&d.address.to_string()), "{message}");
    assert!(message.contains("The guest is still on board"), "{message}");
}

// Pitfall: somebody was asked whether a move is to begin that could not.
#[test]
fn a_move_that_cannot_be_begun_has_no_estimate() {
    let writer = Writer {
        busy: 20,
        used: 150,
    };
    let (a, b) = (
        Board::with(Some(writer), Trouble::Line),
        Board::with(None, Trouble::Line),
    );
    let (mut source, mut destination) = (connect(&a), connect(&b));
    let before = |from: &mut Client, to: &mut Client| Estimate::before(from, to, &options());
    let error = before(&mut destination, &mut source).unwrap_err();
    assert!(matches!(*error.cause, Cause::NoGuest { .. }), "{error}");

    let c = Board::with_guest();
    let error = before(&mut source, &mut connect(&c)).unwrap_err();
    assert!(matches!(*error.cause, Cause::Occupied { .. }), "{error}");

    let d = Board::with(None, Trouble::OtherMachine);
    let error = before(&mut source, &mut connect(&d)).unwrap_err();
    assert!(error.to_string().contains("CNTFRQ_EL0"), "{error}");

    assert!(before(&mut source, &mut destination).unwrap().is_some());
    assert_eq!(source.status().unwrap().phase, Phase::Running);
    assert_eq!(destination.status().unwrap().phase, Phase::Empty);
    // Over any other link nobody is asked, and the move itself says what is wrong.
    let (e, f) = (Board::with_guest(), Board::with_guest());
    let none = before(&mut connect(&e), &mut connect(&f)).unwrap();
    assert_eq!(none, None);
}

#[test]
fn a_destination_that_refuses_in_the_end_leaves_the_guest_where_it_was() {
    let (a, b) = (
        Board::with_guest(),
        Board::with(None, Trouble::RefusesRecord),
    );
    let (mut source, mut destination) = (connect(&a), connect(&b));
    let error = move_guest(&mut source, &mut destination).0.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("vgic-pd refused its record"), "{message}");
    assert_eq!(error.location, GuestLocation::Source(Phase::Running));
}

#[test]
fn a_guest_that_powers_off_in_the_middle_is_said_to_have_done_that() {
    let guest = Writer {
        busy: 20,
        used: 150,
    };
    let a = Board::with(Some(guest), Trouble::PowersOff);
    let b = Board::empty();
    let (mut source, mut destination) = (connect(&a), connect(&b));
    let error = move_guest(&mut source, &mut destination).0.unwrap_err();
    let ended = MoveFailure::GuestEnded { phase: Phase::Off };
    assert!(
        matches!(*error.cause, Cause::CalledOff(failure) if failure == ended),
        "{error}"
    );
    assert_eq!(error.location, GuestLocation::Ended(Phase::Off));
    let message = error.to_string();
    assert!(message.contains("nothing to move"), "{message}");
    assert!(!message.contains("resolve"), "{message}");
    assert_eq!(destination.status().unwrap().phase, Phase::Empty);
}

#[test]
fn a_link_that_breaks_in_the_middle_is_connected_again() {
    let (a, b) = (Board::with_guest(), Board::empty());
    let (mut source, mut destination) = (connect(&a), connect(&b));
    let mut broken = false;
    let result = migrate(&mut source, &mut destination, &options(), &mut |progress| {
        if progress.report.stage == Stage::Copying && !broken {
            broken = true;
            b.hang_up();
        }
    });
    assert!(broken);
    // Unless nothing was under way at that moment, something got lost.
    if let Err(error) = result {
        assert!(matches!(*error.cause, Cause::CalledOff(_)), "{error}");
        assert_eq!(error.location, GuestLocation::Source(Phase::Running));
        move_guest(&mut source, &mut destination).0.unwrap();
    }
    assert_eq!(destination.status().unwrap().phase, Phase::Running);
}

#[test]
fn a_board_that_is_gone_is_named_and_the_guest_continues() {
    let (a, mut b) = (Board::with_guest(), Board::empty());
    let (mut source, mut destination) = (connect(&a), connect(&b));
    let address = b.address.to_string();
    let mut ended = false;
    let mut options = options();
    options.reconnect = Duration::from_secs(1);
    let result = migrate(&mut source, &mut destination, &options, &mut |progress| {
        if progress.report.stage == Stage::Copying && !ended {
            ended = true;
            b.end();
        }
    });
    let error = result.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
    assert_eq!(error.location, GuestLocation::Source(Phase::Running));
}

#[test]
fn a_guest_is_not_said_to_be_where_it_was_not_handed_over() {
    let (mut a, b) = (
        Board::with_guest(),
        Board::with(None, Trouble::MissesCommit),
    );
    let (mut source, mut destination) = (connect(&a), connect(&b));
    // The destination waits for the commit for as long as a test may take.
    let options = Options {
        timeout: TIMEOUT * 3,
        reconnect: Duration::ZERO,
        ..options()
    };
    let result = migrate(&mut source, &mut destination, &options, &mut |progress| {
        if progress.report.stage == Stage::InDoubt {
            a.end();
        }
    });
    let error = result.unwrap_err();
    let status = destination.status().unwrap();
    assert_eq!(status.phase, Phase::Imported);
    assert_eq!(status.last_move.unwrap().stage, Stage::Prepared);
    assert_eq!(error.location, GuestLocation::Unknown, "{error}");
}

#[test]
fn a_relay_that_died_leaves_nothing_that_the_next_one_cannot_clear() {
    let (a, b) = (Board::with_guest(), Board::empty());
    let start = StartMove {
        id: MoveId(77),
        seed: [1, 2],
        downtime_target_us: 1000,
        downtime_limit_ms: 0,
        max_rounds: 10,
        share: 60,
        bandwidth: 0,
        timeout_ms: 60_000,
        pace: Pace::UNLIMITED,
        advance: false,
        accept_core: false,
    };
    let request = Request::Start(start);
    let mut link = Link::open(&a.address, TIMEOUT).unwrap();
    link.writer
        .send(request.kind(), 5, |payload| request.encode(payload))
        .unwrap();
    // It has heard the source's offer, and passed it on to nobody.
    while link
        .reader
        .read(Instant::now() + TIMEOUT)
        .unwrap()
        .unwrap()
        .kind
        != protocol::kind::OFFER
    {}
    drop(link);
    let (mut source, mut destination) = (connect(&a), connect(&b));
    assert_eq!(source.status().unwrap().newest_move, MoveId(77));
    move_guest(&mut source, &mut destination).0.unwrap();
}

#[test]
fn requests_say_what_was_attempted_and_what_to_do() {
    let board = Board::empty();
    let mut client = connect(&board);
    let error = client.pause(TIMEOUT).unwrap_err();
    assert!(matches!(
        error,
        ClientError::Refused {
            error: RequestError::WrongPhase { .. },
            ..
        }
    ));
    let message = error.to_string();
    assert!(message.contains(&board.address.to_string()), "{message}");
    assert!(message.contains("pausing its guest"), "{message}");
    assert_eq!(client.statistics().unwrap().smc, 7);
    assert!(client.welcome().unwrap().ram_bytes > 0);
    assert_eq!(client.describe().unwrap().gic_version, 2);
    client.discard().unwrap();
    client.cancel_move(MoveId(5)).unwrap();
    assert_eq!(client.query_move(MoveId(5)).unwrap().stage, Stage::Unknown);
}
