// SPDX-License-Identifier: BSD-2-Clause
//! What people are told, by what a board says.

use protocol::MoveId;
use protocol::management::{Failure, Figures};

use super::*;
use crate::link::peer::status;

/// What is told of a board that says this.
fn told(heard: &[LinkEvent]) -> Vec<Item> {
    let mut news = News::new("a".to_owned());
    heard.iter().flat_map(|heard| news.hear(heard)).collect()
}

fn notices(items: &[Item]) -> Vec<&str> {
    let mut notices = Vec::new();
    for item in items {
        if let Item::Notice(text) = item {
            notices.push(text.as_str());
        }
    }
    notices
}

fn phase(phase: Phase) -> LinkEvent {
    LinkEvent::Status(status(phase))
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
fn a_guest_that_ends_says_how() {
    let failed = StatusReport {
        failure: Failure::UnexpectedFault,
        detail: 0x96,
        program_counter: 0x4400_0000,
        ..status(Phase::Failed)
    };
    let off = told(&[phase(Phase::Running), phase(Phase::Off)]);
    assert_eq!(off, [Item::Ended(End::PoweredOff)]);
    let items = told(&[LinkEvent::Status(failed)]);
    let [Item::Ended(End::Failed(text))] = items.as_slice() else {
        panic!("{items:?}");
    };
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
    let items = told(&[
        phase(Phase::Running),
        LinkEvent::MoveEnded(moved(Stage::Failed, refused)),
        LinkEvent::MoveEnded(moved(Stage::Failed, Some(MoveFailure::Copied))),
        LinkEvent::Status(under_way),
        LinkEvent::MoveEnded(moved(Stage::Gone, None)),
        phase(Phase::Starting),
        phase(Phase::Empty),
        LinkEvent::MoveEnded(moved(Stage::Taken, None)),
        phase(Phase::Imported),
        phase(Phase::Running),
    ]);
    assert_eq!(
        notices(&items),
        [
            "board a: a move did not take place: nothing was heard from the other board",
            "board a: a copy of its guest was taken, and it continues as it was",
            "board a: its guest has moved to the other board; this one is empty and can take a guest again",
            "board a: a guest has arrived",
            "board a: its guest runs",
        ]
    );
    assert!(items.contains(&Item::Arrives));
    assert!(!items.iter().any(|item| matches!(item, Item::Ended(_))));
}

#[test]
fn an_empty_board_says_how_to_fill_it_and_a_paused_guest_how_to_resume() {
    let phases = [
        Phase::Empty,
        Phase::Imported,
        Phase::Running,
        Phase::Stopped,
    ];
    let items = told(&phases.map(phase));
    let notices = notices(&items);
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert!(notices[0].contains("godwit migrate BOARD a"), "{notices:?}");
    assert!(notices[2].contains("godwit resume a"), "{notices:?}");
}
