// SPDX-License-Identifier: BSD-2-Clause
//! What a person should know of what a board says of itself.

use protocol::MoveFailure;
use protocol::management::{MoveReport, Phase, Stage, StatusReport};

use super::messages::End;
use crate::run::Fault;
use crate::tap::LinkEvent;

/// What is known of a board, and of what people know of it.
#[derive(Debug)]
pub(super) struct News {
    name: String,
    /// What its machine was last heard to do.
    phase: Option<Phase>,
    /// Whether a person knows already that it is empty.
    known_empty: bool,
}

/// Something to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// What a person should know.
    Notice(String),
    /// A guest has arrived, or is about to.
    Arrives,
    /// The guest has ended.
    Ended(End),
}

impl News {
    /// Of a board of which nothing is known yet.
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            phase: None,
            known_empty: false,
        }
    }

    /// Whether a guest is there that runs or is about to.
    pub(super) const fn has_guest(&self) -> bool {
        let phase = self.phase;
        matches!(
            phase,
            Some(Phase::Imported | Phase::Resuming | Phase::Running)
        )
    }

    /// Takes in what the board says of itself.
    pub(super) fn hear(&mut self, heard: &LinkEvent) -> Vec<Item> {
        let notice = match heard {
            LinkEvent::Status(status) => {
                let before = self.phase.replace(status.phase);
                match status.phase {
                    Phase::Off => return vec![Item::Ended(End::PoweredOff)],
                    Phase::Failed => {
                        let fault = Fault::from(status).to_string();
                        return vec![Item::Ended(End::Failed(fault))];
                    }
                    phase => {
                        let arrives = phase == Phase::Imported && before != Some(phase);
                        let notice = self.changed(before, status);
                        return arrives
                            .then_some(Item::Arrives)
                            .into_iter()
                            .chain(notice.map(|text| self.notice(&text)))
                            .collect();
                    }
                }
            }
            LinkEvent::MoveEnded(report) => self.moved(report),
            // QEMU ends, which the console will say, or nobody can manage the board any more.
            LinkEvent::Lost => Some("its link is lost".to_owned()),
        };
        notice.map(|text| self.notice(&text)).into_iter().collect()
    }

    fn notice(&self, text: &str) -> Item {
        Item::Notice(format!("board {}: {text}", self.name))
    }

    /// What a person should know of a change of phase.
    fn changed(&mut self, before: Option<Phase>, status: &StatusReport) -> Option<String> {
        let moving = status
            .last_move
            .is_some_and(|report| !report.stage.is_end());
        let name = &self.name;
        match (before, status.phase) {
            (before, now) if before == Some(now) || moving => None,
            (_, Phase::Empty) if !std::mem::replace(&mut self.known_empty, true) => Some(format!(
                "waits for a guest; from another terminal: godwit migrate BOARD {name}"
            )),
            (Some(Phase::Imported | Phase::Resuming), Phase::Running) => {
                Some("its guest runs".to_owned())
            }
            (_, Phase::Stopped) => Some(format!(
                "its guest is paused; godwit resume {name} resumes it"
            )),
            _ => None,
        }
    }

    /// What a person should know of the end of a move.
    fn moved(&mut self, report: &MoveReport) -> Option<String> {
        match (report.stage, &report.failure) {
            (Stage::Gone, _) => {
                self.known_empty = true;
                Some("its guest has moved to the other board; this one is empty and can take a guest again".to_owned())
            }
            (Stage::Taken, _) => {
                self.known_empty = false;
                Some("a guest has arrived".to_owned())
            }
            (Stage::Failed, Some(MoveFailure::Copied)) => {
                Some("a copy of its guest was taken, and it continues as it was".to_owned())
            }
            (Stage::Failed, Some(failure)) => Some(format!("a move did not take place: {failure}")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
