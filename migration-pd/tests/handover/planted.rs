// SPDX-License-Identifier: BSD-2-Clause
//! Boards with planted faults, which the model must catch: a check that finds nothing proves nothing until then.

use super::{FAILURE, Guest, HandOver, REAL, State, Step};
use migration_pd::handover::Actions;
use migration_pd::handover::destination::{self, Destination};
use migration_pd::handover::source::{self, Source};
use protocol::management::Verdict;
use stateright::{Checker, Model};

/// A source that continues by itself after the commit, since it has heard nothing.
fn impatient(source: Source, event: source::Event) -> (Source, Actions<source::Action>) {
    if source.in_doubt() && event == source::Event::Silence {
        let mut actions = Actions::new();
        actions.extend([source::Action::ResumeGuest]);
        return (Source::Idle, actions);
    }
    source.step(event)
}

/// A source that takes a destination's word from before its restart.
fn credulous(source: Source, event: source::Event) -> (Source, Actions<source::Action>) {
    let event = match (event, source.destination()) {
        (source::Event::Aborted { id, failure, .. }, Some(by)) => {
            source::Event::Aborted { id, by, failure }
        }
        (event, _) => event,
    };
    source.step(event)
}

/// A source that continues whatever the operator says.
fn stubborn(source: Source, event: source::Event) -> (Source, Actions<source::Action>) {
    let event = match event {
        source::Event::Resolved { id, .. } => source::Event::Resolved {
            id,
            verdict: Verdict::Keep,
        },
        event => event,
    };
    source.step(event)
}

/// A destination that runs the guest as soon as it could.
fn hasty(destination: &mut Destination, event: destination::Event) -> Actions<destination::Action> {
    let mut actions = destination.step(event);
    if event == destination::Event::Checked(Ok(())) {
        actions.extend([destination::Action::RunGuest]);
    }
    actions
}

/// A destination that answers for another one, or for itself before a restart.
fn presumptuous(
    destination: &mut Destination,
    event: destination::Event,
) -> Actions<destination::Action> {
    destination
        .step(event)
        .into_iter()
        .map(|action| match (action, event) {
            (destination::Action::Unknown { id }, destination::Event::Commit { to, .. }) => {
                destination::Action::Aborted {
                    id,
                    incarnation: to,
                    failure: FAILURE,
                }
            }
            (action, _) => action,
        })
        .collect()
}

#[test]
fn the_model_catches_planted_faults() {
    let faulty = [
        HandOver {
            source: impatient,
            ..REAL
        },
        HandOver {
            source: credulous,
            ..REAL
        },
        HandOver {
            source: stubborn,
            ..REAL
        },
        HandOver {
            destination: hasty,
            ..REAL
        },
    ];
    for model in faulty {
        let checker = model.checker().threads(2).spawn_bfs().join();
        assert!(checker.discovery("the guest never runs twice").is_some());
    }
    // What a restarted destination does not know, it must not deny: its guest has been running.
    let model = HandOver {
        destination: presumptuous,
        ..REAL
    };
    let denied =
        |state: &State| state.restarts > 0 && state.at_a == Guest::Running && state.version_a > 0;
    let reaches = |model: &HandOver| {
        let mut seen = std::collections::HashSet::new();
        // Each entry: a state, and whether B has run the guest at some time before.
        let mut work: Vec<(State, bool)> = model
            .init_states()
            .into_iter()
            .map(|it| (it, false))
            .collect();
        while let Some((state, ran)) = work.pop() {
            let ran = ran || state.at_b == Guest::Running;
            if ran && denied(&state) && state.moves == 1 {
                return true;
            }
            if state.moves > 1 || !seen.insert((state.clone(), ran)) {
                continue;
            }
            let mut steps = Vec::new();
            model.actions(&state, &mut steps);
            work.extend(
                steps
                    .into_iter()
                    // The operator may do what the boards must not.
                    .filter(|step| !matches!(step, Step::Resolve(_)))
                    .filter_map(|step| model.next_state(&state, step))
                    .map(|next| (next, ran)),
            );
        }
        false
    };
    assert!(reaches(&model));
    assert!(!reaches(&REAL));
}
