// SPDX-License-Identifier: BSD-2-Clause
//! Ending the doubt about a move: by the boards' own word where they have one, else by the operator's.
//!
//! Responsible for: saying what is known, and handing the operator's verdict to the source. Must never: decide by itself,
//! or hand on a verdict that a board contradicts.
//!
//! # What can be known
//!
//! A source in doubt repeats its commit, and the incarnation that prepared the move answers it: then the boards have
//! resolved it, and a verdict can only agree. Every other answer is *Unknown*, and it proves nothing. A destination that
//! was started again has lost what it ran, but that guest may have moved on before; and the board that was asked may be
//! another one. So a board that says *Unknown* never vouches for a guest: next to its name the verdict to drop the
//! guest is refused. That the guest may continue it does not rule out. Who knows more than the boards says so without
//! naming a destination.

use std::fmt;
use std::time::Duration;

use protocol::management::{MoveReport, Stage, Verdict};
use protocol::{MoveId, RequestError};
use thiserror::Error;

use super::{Cause, Options};
use crate::client::{Client, ClientError};

/// A board by the name with which it is given to `godwit resolve`, and the connection to it, or why there is none.
pub type Named<'a> = (&'a str, Result<&'a mut Client, String>);

/// What the board that is said to be the destination has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationReport {
    /// None was named.
    NotAsked,
    /// It could not be asked, or the two boards could not hear each other.
    Silent {
        /// Its name.
        board: String,
        /// Why.
        reason: String,
    },
    /// It is not the incarnation that the guest was handed over to.
    Unknown {
        /// Its name.
        board: String,
        /// How long its counter has run.
        uptime: Duration,
    },
}

/// What is known of a move that no board can resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The move.
    pub id: MoveId,
    /// The source's name.
    pub source: String,
    /// For how long its guest has been paused.
    pub paused_for: Duration,
    /// What the destination says.
    pub destination: DestinationReport,
}

/// Why a doubt is not ended.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The source.
    #[error(transparent)]
    Board(#[from] ClientError),
    /// There is none.
    #[error(
        "board {source_board} has not moved a guest away since it was started: nothing is to be resolved"
    )]
    NoMove {
        /// The board that was named as the source.
        source_board: String,
    },
    /// The boards were named the other way round.
    #[error(
        "board {source_board} took the guest of move {id} over: it is that move's destination, and nothing is in doubt \
         there. Name the source first"
    )]
    NotItsSource {
        /// The board that was named as the source.
        source_board: String,
        /// Its last move.
        id: MoveId,
    },
    /// The guest has not been handed over.
    #[error(
        "move {id} of board {source_board} is under way and not in doubt: the board calls it off by itself unless it \
         hears from the destination. See `godwit status {source_board}`"
    )]
    UnderWay {
        /// The source.
        source_board: String,
        /// The move.
        id: MoveId,
    },
    /// Only the operator can end it.
    #[error("{0}")]
    Open(Box<Doubt>),
    /// The boards know better.
    #[error("refused: move {id} {}", contradiction(*.verdict, .source_board))]
    Contradicted {
        /// The source.
        source_board: String,
        /// The move.
        id: MoveId,
        /// What the operator said.
        verdict: Verdict,
    },
    /// A verdict about what a board knows that was not asked.
    #[error(
        "refused: board {board} might know what became of move {} and could not be asked: {reason}. If it is gone for \
         good, say so without it: {}", .doubt.id, .doubt.command(*.verdict)
    )]
    Unasked {
        /// What is known.
        doubt: Box<Doubt>,
        /// The destination.
        board: String,
        /// Why it could not be asked.
        reason: String,
        /// What the operator said.
        verdict: Verdict,
    },
    /// The guest is said to be where it is not known.
    #[error(
        "refused: board {board} does not know move {} and so does not have its guest; to discard the guest on {} as well \
         would lose it. If you know that it moved on to a third board, say so without {board}: {}",
        .doubt.id, .doubt.source, .doubt.command(Verdict::Drop)
    )]
    NotVouchedFor {
        /// What is known.
        doubt: Box<Doubt>,
        /// Who was named as the destination.
        board: String,
    },
}

/// What became of a move about which the operator said otherwise.
fn contradiction(verdict: Verdict, source: &str) -> String {
    match verdict {
        Verdict::Keep => {
            format!(
                "took place, as the destination said: the guest is there, and discarded on board {source}"
            )
        }
        Verdict::Drop => {
            format!("did not take place: the guest is on board {source}, and nowhere else")
        }
    }
}

/// The word for a verdict on the command line.
#[must_use]
pub const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Keep => "--keep",
        Verdict::Drop => "--drop",
    }
}

impl Doubt {
    /// What the operator types to give this verdict without naming a destination.
    fn command(&self, verdict: Verdict) -> String {
        format!("`godwit resolve {} {}`", self.source, word(verdict))
    }

    /// What to type to resume the guest: with a destination that has answered, so that it is asked once more.
    fn keep(&self) -> String {
        let board = match &self.destination {
            DestinationReport::Unknown { board, .. } => format!(" {board}"),
            _ => String::new(),
        };
        let word = word(Verdict::Keep);
        format!("`godwit resolve {}{board} {word}`", self.source)
    }

    /// What the destination says, in sentences.
    fn destination(&self) -> String {
        match &self.destination {
            DestinationReport::NotAsked => {
                "The destination was not asked. If it is there, name it: it may know".to_owned()
            }
            DestinationReport::Silent { board, reason } => {
                format!("Board {board} could not be asked: {reason}")
            }
            DestinationReport::Unknown { board, uptime } => {
                let since = seconds(*uptime);
                let meaning = if *uptime < self.paused_for {
                    "it was started after the guest was stopped, and has lost whatever it ran before"
                } else {
                    "it has been on for longer than the guest has been paused, so it may be another board than the destination"
                };
                format!(
                    "Board {board} knows of no such move. It has been on for {since}: {meaning}"
                )
            }
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

impl fmt::Display for Doubt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, source, .. } = self;
        write!(
            formatter,
            "move {id} is in doubt. Board {source} has handed its guest over and not heard that it was taken; the guest \
             has been paused there for {} and runs at the destination or nowhere.\n\
             {}.\n\
             It is for you to say which:\n\
             * {} if the destination does not have the guest and never will: it resumes on {source}. Switch the \
             destination off first, or start it again. If it has the guest all the same, or takes it later, the guest \
             runs twice.\n\
             * {} if the destination has the guest, or had it and sent it on: {source} drops its copy. If that is \
             not so, the guest is lost.",
            seconds(self.paused_for),
            self.destination(),
            self.keep(),
            self.command(Verdict::Drop),
        )
    }
}

/// Ends the doubt about the last move from `source`: lets the boards resolve it if `destination` can be asked, else by the
/// operator's verdict. Returns how the move ended on the source.
///
/// # Errors
///
/// [`ResolveError`]; [`ResolveError::Open`] if there is no verdict and the boards cannot resolve it.
pub fn decide(
    (name, source): (&str, &mut Client),
    destination: Option<Named<'_>>,
    verdict: Option<Verdict>,
    options: &Options,
) -> Result<MoveReport, ResolveError> {
    let report = last_move(name, source)?;
    if report.stage.is_end() {
        return agree(name, report, verdict);
    }
    let destination = match destination {
        None => DestinationReport::NotAsked,
        Some((board, Err(reason))) => DestinationReport::Silent {
            board: board.to_owned(),
            reason,
        },
        Some((board, Ok(client))) => match ask(source, (board, client), options) {
            Ok(report) => return agree(name, report, verdict),
            Err(said) => said,
        },
    };
    // It may have come to an end meanwhile.
    let report = last_move(name, source)?;
    if report.stage.is_end() {
        return agree(name, report, verdict);
    }
    if report.stage != Stage::InDoubt {
        return Err(ResolveError::UnderWay {
            source_board: name.to_owned(),
            id: report.id,
        });
    }
    let doubt = Box::new(Doubt {
        id: report.id,
        source: name.to_owned(),
        paused_for: Duration::from_micros(report.figures.downtime_us),
        destination,
    });
    match verdict {
        Some(verdict) => give(source, doubt, verdict),
        None => Err(ResolveError::Open(doubt)),
    }
}

/// The last move that the board took part in.
fn last_move(name: &str, source: &mut Client) -> Result<MoveReport, ResolveError> {
    let report = source.status()?.last_move;
    report.ok_or_else(|| ResolveError::NoMove {
        source_board: name.to_owned(),
    })
}

/// Lets the two boards hear each other.
fn ask(
    source: &mut Client,
    (name, destination): (&str, &mut Client),
    options: &Options,
) -> Result<MoveReport, DestinationReport> {
    let board = name.to_owned();
    let cause = match super::resolve(source, destination, options) {
        Ok(report) => return Ok(report),
        Err(error) => error.cause,
    };
    Err(match (*cause, destination.welcome()) {
        (Cause::NotKnown { .. }, Ok(welcome)) => DestinationReport::Unknown {
            board,
            uptime: Duration::from_micros(welcome.uptime_us),
        },
        (cause, _) => DestinationReport::Silent {
            board,
            reason: cause.to_string(),
        },
    })
}

/// A move that is over, unless the operator says that it ended otherwise.
fn agree(
    name: &str,
    report: MoveReport,
    verdict: Option<Verdict>,
) -> Result<MoveReport, ResolveError> {
    let (source_board, id) = (name.to_owned(), report.id);
    match (report.stage, verdict) {
        (Stage::Gone, Some(verdict @ Verdict::Keep))
        | (Stage::Failed, Some(verdict @ Verdict::Drop)) => Err(ResolveError::Contradicted {
            source_board,
            id,
            verdict,
        }),
        (Stage::Gone | Stage::Failed, _) => Ok(report),
        (Stage::Taken, _) => Err(ResolveError::NotItsSource { source_board, id }),
        _ => Err(ResolveError::NoMove { source_board }),
    }
}

/// Hands the verdict to the source, unless a destination was named that does not bear it out.
fn give(
    source: &mut Client,
    doubt: Box<Doubt>,
    verdict: Verdict,
) -> Result<MoveReport, ResolveError> {
    match (verdict, doubt.destination.clone()) {
        (_, DestinationReport::Silent { board, reason }) => {
            return Err(ResolveError::Unasked {
                doubt,
                board,
                reason,
                verdict,
            });
        }
        (Verdict::Drop, DestinationReport::Unknown { board, .. }) => {
            return Err(ResolveError::NotVouchedFor { doubt, board });
        }
        _ => {}
    }
    match source.resolve_move(doubt.id, verdict) {
        // It is over: this request came twice, or the destination was quicker. How it ended is asked next.
        Ok(())
        | Err(ClientError::Refused {
            error: RequestError::NoSuchMove,
            ..
        }) => {}
        Err(error) => return Err(error.into()),
    }
    agree(&doubt.source, source.query_move(doubt.id)?, Some(verdict))
}
