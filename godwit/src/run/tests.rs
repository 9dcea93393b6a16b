//! A board in the foreground, with this test in place of QEMU, the guest and the user.

use std::os::unix::net::UnixStream;

use migration_pd::protocol::frame::finish;
use migration_pd::protocol::management::Figures;
use migration_pd::protocol::{Event, HEADER_LENGTH, MoveFailure, MoveId};

use super::*;
use crate::link::peer::status;
use crate::session::Scratch;

/// Runs a board that says `events` while its guest says `console`; returns how it ended, what was shown, and the
/// notices.
fn foreground(events: &[Event], console: &str) -> (Option<RunEnd>, String, Vec<String>) {
    let scratch = Scratch::new().unwrap();
    let listener = UnixListener::bind(scratch.path().join("link")).unwrap();
    let [(mut board, link), (mut guest, seen), (_typist, input)] =
        [(); 3].map(|()| UnixStream::pair().unwrap());
    for event in events {
        let mut frame = vec![0; HEADER_LENGTH + 256];
        let length = event.encode(&mut frame[HEADER_LENGTH..]).unwrap();
        let length = finish(&mut frame, event.kind(), 0, length).unwrap();
        board.write_all(&frame[..length]).unwrap();
    }
    guest.write_all(console.as_bytes()).unwrap();
    let mut notices = Vec::new();
    let mut notice = |text: &str| notices.push(text.to_owned());
    let mut output = Vec::new();
    let mut foreground = Foreground {
        name: "a",
        bridge: Bridge::new(input, &mut output, seen, None).unwrap(),
        tap: Tap::start(link, listener).unwrap(),
        notice: &mut notice,
        phase: None,
        known_empty: false,
    };
    let end = foreground.carry().unwrap();
    drop(foreground);
    (end, String::from_utf8(output).unwrap(), notices)
}

fn phase(phase: Phase) -> Event {
    Event::PhaseChanged(status(phase))
}

fn moved(stage: Stage, failure: Option<MoveFailure>) -> MoveReport {
    MoveReport {
        id: MoveId(5),
        stage,
        failure,
        figures: Figures::default(),
    }
}

#[test]
fn a_guest_that_switches_itself_off_ends_it_after_its_last_words() {
    let (end, shown, _) = foreground(&[phase(Phase::Running), phase(Phase::Off)], "Power down");
    assert_eq!(end, Some(RunEnd::PoweredOff));
    assert_eq!(shown, "Power down\n");
}

#[test]
fn a_guest_that_is_stopped_for_a_fault_ends_it_and_says_why() {
    let failed = StatusReport {
        failure: GuestFailure::UnexpectedFault,
        detail: 0x96,
        program_counter: 0x4400_0000,
        ..status(Phase::Failed)
    };
    let (end, ..) = foreground(&[Event::PhaseChanged(failed)], "");
    let Some(RunEnd::Failed(fault)) = end else {
        panic!("{end:?}");
    };
    let text = fault.to_string();
    assert!(
        text.contains("no guest should be able")
            && text.contains("0x96, at program counter 0x44000000"),
        "{text}"
    );
}

#[test]
fn moves_are_told_and_end_nothing() {
    let refused = Some(MoveFailure::Silence);
    let under_way = StatusReport {
        last_move: Some(moved(Stage::Finishing, None)),
        ..status(Phase::Stopped)
    };
    let (end, shown, notices) = foreground(
        &[
            phase(Phase::Running),
            Event::MoveEnded(moved(Stage::Failed, refused)),
            Event::MoveEnded(moved(Stage::Failed, Some(MoveFailure::Copied))),
            Event::PhaseChanged(under_way),
            Event::MoveEnded(moved(Stage::Gone, None)),
            phase(Phase::Starting),
            phase(Phase::Empty),
            Event::MoveEnded(moved(Stage::Taken, None)),
            phase(Phase::Imported),
            phase(Phase::Running),
            phase(Phase::Off),
        ],
        "in mid-sent",
    );
    assert_eq!(end, Some(RunEnd::PoweredOff));
    assert_eq!(shown, "in mid-sent\n", "a notice has a line of its own");
    let notices: Vec<_> = notices.iter().map(String::as_str).collect();
    assert_eq!(
        notices,
        [
            "board a: a move did not take place: nothing was heard from the other board",
            "board a: a copy of its guest was taken, and it goes on as it was",
            "board a: its guest has moved to the other board; this one is empty and can take a guest again",
            "board a: a guest has arrived",
            "board a: its guest runs",
        ]
    );
}

#[test]
fn an_empty_board_says_how_to_fill_it_and_a_paused_guest_how_to_go_on() {
    let (_, _, notices) = foreground(
        &[
            phase(Phase::Empty),
            phase(Phase::Imported),
            phase(Phase::Running),
            phase(Phase::Stopped),
            phase(Phase::Off),
        ],
        "",
    );
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert!(notices[0].contains("godwit migrate BOARD a"), "{notices:?}");
    assert!(notices[2].contains("godwit resume a"), "{notices:?}");
}
