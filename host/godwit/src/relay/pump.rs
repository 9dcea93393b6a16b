// SPDX-License-Identifier: BSD-2-Clause
//! The relay's loop: one thread for each direction, and one that follows the move.

use super::rate::Rate;
use super::{Plan, Progress};
use crate::client::Client;
use crate::link::{Frame, FrameReader, FrameWriter, LinkError};
use crate::timeouts::{self, LINGER};
use protocol::management::{MoveReport, Phase, Stage, StartMove};
use protocol::pages::ENTRY_LENGTH;
use protocol::{Answer, Event, MoveId, Pace, Request, RequestError, Transfer, kind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use vm::PAGE_SIZE;

/// How often the loop looks at the clock.
const TICK: Duration = Duration::from_millis(50);
/// After so long without news of the move, the source is asked for it.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// How a move ended on its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// The source's last word.
    pub(super) report: MoveReport,
}

/// Why relaying ended before the move did.
#[derive(Debug)]
pub(super) enum Interruption {
    /// A link broke.
    Link(LinkError),
    /// The source does not start the move.
    Refused(RequestError),
    /// There was no news for too long.
    Silence,
    /// The guest ended before it was handed over.
    GuestEnded(Phase),
    /// The destination says that it is not the one that the guest was handed over to.
    NotKnown,
}

impl From<LinkError> for Interruption {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// Which board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// What a thread has heard that is not for the other board.
type Received = (Side, Instant, Result<Frame, LinkError>);

/// What is known of the move, over all connections that it takes.
#[derive(Debug)]
pub(super) struct Pump {
    id: MoveId,
    /// The request that starts the move, until the source has accepted it. It is made here
    /// because the source's first message to the destination comes with the answer.
    start: Option<StartMove>,
    /// The guest is expected to run at the destination.
    will_run: bool,
    began: Instant,
    /// After so long without any news the move is given up as a relay; the boards continue by themselves.
    give_up_after: Duration,
    /// The slower link's.
    pace: Pace,
    source_stopped_at: Option<Instant>,
    destination_runs_at: Option<Instant>,
    ended: Option<(MoveReport, Instant)>,
    rate: Rate,
    /// How the guest ended on its source, if it has.
    guest_ended: Option<Phase>,
    /// The source was asked to call the move off.
    calling_off: bool,
}

impl Pump {
    /// Of a move that has begun already.
    pub(super) fn new(id: MoveId, began: Instant) -> Self {
        Self {
            id,
            start: None,
            will_run: false,
            began,
            give_up_after: timeouts::MOVE,
            pace: Pace::UNLIMITED,
            source_stopped_at: None,
            destination_runs_at: None,
            ended: None,
            rate: Rate::new(began),
            guest_ended: None,
            calling_off: false,
        }
    }

    /// Of a move that is to be started.
    pub(super) fn start(plan: &Plan, began: Instant) -> Self {
        Self {
            start: Some(plan.start),
            will_run: plan.runs,
            ..Self::new(plan.start.id, began)
        }
    }

    pub(super) fn give_up_after(&mut self, silence: Duration) {
        self.give_up_after = silence;
    }

    /// The slower of both links has this pace.
    pub(super) const fn allow(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// What everything may take longer because a link is slow.
    fn allowance(&self) -> Duration {
        Duration::from_millis(self.pace.silence_ms())
    }

    /// When the source said that it pauses the guest.
    pub(super) const fn source_stopped_at(&self) -> Option<Instant> {
        self.source_stopped_at
    }

    /// When the destination said that the guest runs.
    pub(super) const fn destination_runs_at(&self) -> Option<Instant> {
        self.destination_runs_at
    }

    /// Relays until the move has ended.
    pub(super) fn run(
        &mut self,
        source: &mut Client,
        destination: &mut Client,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Ending, Interruption> {
        let tag = source.next_tag();
        let (source, destination) = (&mut source.link, &mut destination.link);
        let to_source = Mutex::new(&mut source.writer);
        let to_destination = Mutex::new(&mut destination.writer);
        let over = AtomicBool::new(false);
        let (heard, news) = channel();
        std::thread::scope(|scope| {
            let (over, also) = (&over, heard.clone());
            let (from_source, from_destination) = (&mut source.reader, &mut destination.reader);
            let (to_source, to_destination) = (&to_source, &to_destination);
            scope.spawn(move || relay(Side::Source, from_source, to_destination, &heard, over));
            scope.spawn(move || relay(Side::Destination, from_destination, to_source, &also, over));
            let ending = self.follow(&news, to_source, tag, on_progress);
            over.store(true, Ordering::Relaxed);
            ending
        })
    }

    /// Follows the move by what the boards say of it. `tag` is for our questions.
    fn follow(
        &mut self,
        news: &Receiver<Received>,
        to_source: &Mutex<&mut FrameWriter>,
        tag: u32,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Ending, Interruption> {
        let mut last_news = Instant::now();
        let mut last_question = last_news;
        if self.start.is_some() {
            self.ask(to_source, tag)?;
        }
        loop {
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
            match news.recv_timeout(TICK) {
                Ok((side, at, Ok(frame))) => {
                    if self.hear(side, at, &frame, tag, on_progress)? {
                        last_news = at;
                    }
                }
                Ok((_, _, Err(error))) => return self.ending_now().ok_or(self.lost(error)),
                Err(RecvTimeoutError::Disconnected) => return Err(Interruption::Silence),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if super::is_called_off() && self.start.is_none() && !self.calling_off {
                self.calling_off = true;
                let request = Request::Cancel(self.id);
                lock(to_source).send(request.kind(), tag, |payload| request.encode(payload))?;
            }
            let now = Instant::now();
            if now.duration_since(last_news) > self.give_up_after + self.allowance() {
                return Err(Interruption::Silence);
            }
            if now.duration_since(last_news.max(last_question)) > ASK_AFTER + self.allowance() {
                last_question = now;
                self.ask(to_source, tag)?;
            }
        }
    }

    /// Asks the source to start the move or, once it has, how far that is.
    fn ask(&self, to_source: &Mutex<&mut FrameWriter>, tag: u32) -> Result<(), LinkError> {
        let request = self.start.map_or(Request::Query(self.id), Request::Start);
        lock(to_source).send(request.kind(), tag, |payload| request.encode(payload))
    }

    /// Takes in what a board says; whether it was about this move.
    fn hear(
        &mut self,
        side: Side,
        at: Instant,
        frame: &Frame,
        tag: u32,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, Interruption> {
        if side == Side::Source && frame.tag == tag {
            return match Answer::decode(frame.kind, frame.payload()) {
                Ok(Answer::Move(report)) => Ok(self.report(report, at, on_progress)),
                Ok(Answer::Accepted) => Ok(self.start.take().is_some()),
                Ok(Answer::Refused(error)) if self.start.is_some() => {
                    Err(Interruption::Refused(error))
                }
                _ => Ok(false),
            };
        }
        if side == Side::Destination && frame.kind == kind::UNKNOWN {
            let told = Transfer::decode(frame.kind, frame.payload());
            let this = matches!(told, Ok(Transfer::Unknown { id }) if id == self.id);
            return if this && self.ended.is_none() {
                Err(Interruption::NotKnown)
            } else {
                Ok(false)
            };
        }
        Ok(match (side, Event::decode(frame.kind, frame.payload())) {
            (Side::Source, Ok(Event::Progress(report) | Event::MoveEnded(report))) => {
                self.report(report, at, on_progress)
            }
            (Side::Source, Ok(Event::PhaseChanged(status)))
                if matches!(status.phase, Phase::Off | Phase::Failed) =>
            {
                self.guest_ended = Some(status.phase);
                true
            }
            (Side::Destination, Ok(Event::PhaseChanged(status)))
                if status.phase == Phase::Running =>
            {
                self.destination_runs_at = Some(at);
                true
            }
            _ => false,
        })
    }

    /// What the loss of a link means: a board may end with its guest.
    fn lost(&self, error: LinkError) -> Interruption {
        self.guest_ended
            .map_or(Interruption::Link(error), Interruption::GuestEnded)
    }

    fn report(
        &mut self,
        report: MoveReport,
        at: Instant,
        on_progress: &mut dyn FnMut(Progress),
    ) -> bool {
        if report.id != self.id {
            return false;
        }
        if report.stage.is_end() {
            self.ended.get_or_insert((report, at));
            return true;
        }
        if report.stage == Stage::Stopping {
            self.source_stopped_at.get_or_insert(at);
        }
        let figures = &report.figures;
        on_progress(Progress {
            report,
            elapsed: at.saturating_duration_since(self.began),
            bytes_per_second: self.rate.update(figures.rounds, figures.bytes, at),
            downtime: self.downtime(&report),
        });
        // A source in doubt has no news until the destination speaks.
        report.stage != Stage::InDoubt
    }

    /// What the pages that are left take on a line, uncompressed; not before they are known.
    fn downtime(&self, report: &MoveReport) -> Option<Duration> {
        let figures = &report.figures;
        let known = self.pace.is_line() && report.stage == Stage::Copying && figures.rounds > 0;
        let bytes = u64::from(figures.dirty_pages) * (PAGE_SIZE + ENTRY_LENGTH) as u64;
        known.then(|| Duration::from_millis(self.pace.milliseconds_for(bytes)))
    }

    /// How the move ended, once the destination has been heard as well, or long enough waited for.
    fn ending(&self) -> Option<Ending> {
        let (report, at) = self.ended?;
        let waits = report.stage == Stage::Gone
            && self.will_run
            && self.destination_runs_at.is_none()
            && at.elapsed() < LINGER + self.allowance();
        (!waits).then_some(Ending { report })
    }

    fn ending_now(&self) -> Option<Ending> {
        self.ended.map(|(report, _)| Ending { report })
    }
}

/// One direction: passes on what is for the other board, and reports the rest; also that a destination knows nothing,
/// after which neither board says more.
fn relay(
    side: Side,
    from: &mut FrameReader,
    to: &Mutex<&mut FrameWriter>,
    heard: &Sender<Received>,
    over: &AtomicBool,
) {
    while !over.load(Ordering::Relaxed) {
        let result = match from.read(Instant::now() + TICK) {
            Ok(None) => continue,
            Ok(Some(frame)) if kind::is_transfer(frame.kind) => match lock(to).forward(&frame) {
                Ok(()) if frame.kind == kind::UNKNOWN => Ok(frame),
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            Ok(Some(frame)) => Ok(frame),
            Err(error) => Err(error),
        };
        let broken = result.is_err();
        // Nobody listens once the move is over.
        if heard.send((side, Instant::now(), result)).is_err() || broken {
            return;
        }
    }
}

/// A writer, even if the other thread panicked with it in its hands: frames are written whole.
fn lock<'a, 'b>(
    writer: &'a Mutex<&'b mut FrameWriter>,
) -> std::sync::MutexGuard<'a, &'b mut FrameWriter> {
    writer
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
