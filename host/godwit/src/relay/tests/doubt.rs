// SPDX-License-Identifier: BSD-2-Clause
//! Doubts about a move, and who ends them.

use protocol::RequestError;
use protocol::management::Verdict;

use super::board::{Board, Trouble};
use super::*;
use crate::relay::doubt::{DestinationReport, Doubt, Named, ResolveError, decide};

/// For links that break: no second attempt, so that the relay is gone when the board can be reached again. The boards
/// wait for as long as a test may take.
fn at_once() -> Options {
    Options {
        timeout: TIMEOUT * 3,
        reconnect: Duration::ZERO,
        ..options()
    }
}

/// A source in doubt about a move to a board with this trouble, that board, and what the relay said.
fn in_doubt(trouble: Trouble) -> (Board, Board, Client, MoveError) {
    let (a, b) = (Board::with_guest(), Board::with(None, trouble));
    let (mut source, mut destination) = (connect(&a), connect(&b));
    let result = migrate(&mut source, &mut destination, &at_once(), &mut |_| {});
    let error = result.unwrap_err();
    assert_eq!(stage(&mut source), Stage::InDoubt);
    (a, b, source, error)
}

fn stage(board: &mut Client) -> Stage {
    board.status().unwrap().last_move.unwrap().stage
}

/// `godwit resolve a [b] [--verdict …]`, with boards of these names.
fn resolve_a(
    source: &mut Client,
    destination: Option<Named<'_>>,
    verdict: Option<Verdict>,
) -> Result<MoveReport, ResolveError> {
    let options = Options {
        reconnect: TIMEOUT,
        ..options()
    };
    decide(("a", source), destination, verdict, &options)
}

#[track_caller]
fn says(error: &ResolveError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{part}: {message}");
    }
}

const HERE: &str = "`godwit resolve a --keep`";
const GONE: &str = "`godwit resolve a --drop`";

#[test]
fn a_doubt_is_named_with_the_command_that_ends_it() {
    let (a, b, mut source, error) = in_doubt(Trouble::DiesAtCommit);
    assert_eq!(error.location, GuestLocation::InDoubt);
    let message = error.to_string();
    let command = format!("`godwit resolve {} {}`", a.address, b.address);
    for part in ["runs there or nowhere", &command] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let c = Board::empty();
    let error = move_guest(&mut source, &mut connect(&c)).0.unwrap_err();
    assert!(matches!(*error.cause, Cause::InDoubt { .. }), "{error}");
    let command = format!("`godwit resolve {} DESTINATION`", a.address);
    assert!(error.to_string().contains(&command), "{error}");
    for refused in [source.discard(), source.resume(TIMEOUT).map(|_| ())] {
        let error = refused.unwrap_err();
        let reason = matches!(
            error,
            ClientError::Refused {
                error: RequestError::InDoubt { .. },
                ..
            }
        );
        assert!(reason, "{error}");
        assert!(error.to_string().contains("`godwit resolve`"), "{error}");
    }
}

#[test]
fn without_a_destination_or_a_verdict_it_is_said_what_each_verdict_would_do() {
    let (_a, _b, mut source, _) = in_doubt(Trouble::DiesAtCommit);
    let error = resolve_a(&mut source, None, None).unwrap_err();
    assert!(matches!(error, ResolveError::Open(_)), "{error}");
    let id = source.status().unwrap().newest_move.to_string();
    let parts = [&id, HERE, GONE, "was not asked", "twice", "is lost"];
    says(&error, &parts);
    assert_eq!(stage(&mut source), Stage::InDoubt);
}

#[test]
fn how_long_a_board_has_been_on_says_what_it_can_know() {
    let said = |uptime| {
        let doubt = Doubt {
            id: MoveId(7),
            source: "a".to_owned(),
            paused_for: Duration::from_secs(60),
            destination: DestinationReport::Unknown {
                board: "b".to_owned(),
                uptime: Duration::from_secs(uptime),
            },
        };
        doubt.to_string()
    };
    let younger = said(59);
    assert!(
        younger.contains("started after the guest was stopped"),
        "{younger}"
    );
    let older = said(61);
    assert!(older.contains("may be another board"), "{older}");
}

#[test]
fn the_operator_alone_can_resume_the_guest() {
    let (_a, _b, mut source, _) = in_doubt(Trouble::DiesAtCommit);
    let report = resolve_a(&mut source, None, Some(Verdict::Keep)).unwrap();
    assert_eq!(report.failure, Some(MoveFailure::Operator));
    source.wait_for(Phase::Running, TIMEOUT).unwrap();
    // Said twice, it is still so; the opposite is not.
    resolve_a(&mut source, None, Some(Verdict::Keep)).unwrap();
    let error = resolve_a(&mut source, None, Some(Verdict::Drop)).unwrap_err();
    says(&error, &["did not take place", "on board a"]);
    let c = Board::empty();
    move_guest(&mut source, &mut connect(&c)).0.unwrap();
}

#[test]
fn the_operator_alone_can_have_the_guest_discarded() {
    let (_a, _b, mut source, _) = in_doubt(Trouble::DiesAtCommit);
    let report = resolve_a(&mut source, None, Some(Verdict::Drop)).unwrap();
    assert_eq!(report.stage, Stage::Gone);
    assert_eq!(source.status().unwrap().phase, Phase::Empty);
}

#[test]
fn a_destination_that_was_named_and_cannot_be_asked_is_not_passed_over() {
    let (_a, _b, mut source, _) = in_doubt(Trouble::DiesAtCommit);
    let reason = || Some(("b", Err("nobody at home".to_owned())));
    let error = resolve_a(&mut source, reason(), None).unwrap_err();
    says(&error, &["nobody at home", HERE, GONE]);
    for (verdict, command) in [(Verdict::Keep, HERE), (Verdict::Drop, GONE)] {
        let error = resolve_a(&mut source, reason(), Some(verdict)).unwrap_err();
        assert!(matches!(error, ResolveError::Unasked { .. }), "{error}");
        says(&error, &["board b", "nobody at home", command]);
    }
    assert_eq!(stage(&mut source), Stage::InDoubt);
}

#[test]
fn a_destination_that_was_started_again_resumes_the_guest_and_never_vouches_for_it() {
    let (_a, _b, mut source, _) = in_doubt(Trouble::DiesAtCommit);
    let again = Board::empty();
    let mut again = connect(&again);
    let error = resolve_a(&mut source, Some(("b", Ok(&mut again))), None).unwrap_err();
    let here = "`godwit resolve a b --keep`";
    says(&error, &["Board b knows of no such move", here, GONE]);
    let verdict = Some(Verdict::Drop);
    let error = resolve_a(&mut source, Some(("b", Ok(&mut again))), verdict).unwrap_err();
    assert!(
        matches!(error, ResolveError::NotVouchedFor { .. }),
        "{error}"
    );
    says(&error, &["would lose it", GONE]);
    assert_eq!(stage(&mut source), Stage::InDoubt);
    let verdict = Some(Verdict::Keep);
    resolve_a(&mut source, Some(("b", Ok(&mut again))), verdict).unwrap();
    source.wait_for(Phase::Running, TIMEOUT).unwrap();
}

#[test]
fn a_destination_that_has_the_guest_outdoes_the_operator() {
    let (_a, b, mut source, error) = in_doubt(Trouble::CannotAnswerCommit);
    let there = matches!(error.location, GuestLocation::Destination(_));
    assert!(there, "{error}");
    let mut destination = connect(&b);
    let here = Some(Verdict::Keep);
    let error = resolve_a(&mut source, Some(("b", Ok(&mut destination))), here).unwrap_err();
    assert!(
        matches!(error, ResolveError::Contradicted { .. }),
        "{error}"
    );
    says(&error, &["refused", "took place"]);
    assert_eq!(source.status().unwrap().phase, Phase::Empty);
    destination.wait_for(Phase::Running, TIMEOUT).unwrap();
    // Named the other way round, it is told so.
    let error = resolve_a(&mut destination, None, None).unwrap_err();
    says(&error, &["Name the source first"]);
}

#[test]
fn a_destination_that_called_the_move_off_outdoes_the_operator() {
    let (_a, b, mut source, _) = in_doubt(Trouble::MissesCommit);
    let mut destination = connect(&b);
    let id = source.status().unwrap().newest_move;
    destination.cancel_move(id).unwrap();
    let gone = Some(Verdict::Drop);
    let error = resolve_a(&mut source, Some(("b", Ok(&mut destination))), gone).unwrap_err();
    assert!(
        matches!(error, ResolveError::Contradicted { .. }),
        "{error}"
    );
    says(&error, &["refused", "did not take place"]);
    source.wait_for(Phase::Running, TIMEOUT).unwrap();
    assert_eq!(destination.status().unwrap().phase, Phase::Empty);
}

#[test]
fn two_boards_that_hear_each_other_need_no_verdict() {
    let (_a, b, mut source, _) = in_doubt(Trouble::MissesCommit);
    let mut destination = connect(&b);
    let report = resolve_a(&mut source, Some(("b", Ok(&mut destination))), None).unwrap();
    assert_eq!(report.stage, Stage::Gone);
    destination.wait_for(Phase::Running, TIMEOUT).unwrap();
}

#[test]
fn a_board_that_has_moved_nothing_has_nothing_to_resolve() {
    let a = Board::with_guest();
    let mut source = connect(&a);
    let error = resolve_a(&mut source, None, Some(Verdict::Keep)).unwrap_err();
    assert!(matches!(error, ResolveError::NoMove { .. }), "{error}");
}
