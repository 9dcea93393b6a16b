//! What a move that failed says to the operator.

use super::*;

fn error(cause: Cause, whereabouts: Whereabouts) -> String {
    MoveError {
        cause: Box::new(cause),
        whereabouts,
        source_board: "unix:/run/a".parse().unwrap(),
        destination_board: "unix:/run/b".parse().unwrap(),
    }
    .to_string()
}

#[test]
fn every_failure_says_where_the_guest_is() {
    let called_off = || Cause::CalledOff(MoveFailure::Silence);
    let message = error(called_off(), Whereabouts::Source(Phase::Running));
    assert_eq!(
        message,
        "the move was called off: nothing was heard from the other board. \
         The guest is still on board unix:/run/a: running"
    );
    let message = error(Cause::TimedOut, Whereabouts::InDoubt);
    assert!(
        message.contains("stands still on board unix:/run/a"),
        "{message}"
    );
    let message = error(Cause::TimedOut, Whereabouts::Unknown);
    assert!(message.contains("never on both"), "{message}");
}

#[test]
fn random_bits_differ() {
    assert_ne!(random_bits(), random_bits());
}
