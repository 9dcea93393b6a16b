//! The relay's loop: one thread for each direction, and one that follows the move.

use super::Progress;
use crate::client::Client;
use crate::link::{Frame, FrameReader, FrameWriter, LinkError};
use migration_pd::protocol::management::{MoveReport, Phase, Stage};
use migration_pd::protocol::{Answer, Event, MoveId, Request, kind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How often the loop looks at the clock.
const TICK: Duration = Duration::from_millis(50);
/// After so long without news of the move, the source is asked for it.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// After so long without any news the move is given up as a relay; the boards go on by themselves.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// How long to listen for the destination's word that the guest runs, after the source has said
/// that the move is over.
const LINGER: Duration = Duration::from_secs(2);

/// How a move ended on its source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// The source's last word.
    pub(super) report: MoveReport,
}

/// Which board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// What a thread has heard that is not for the other board.
type Heard = (Side, Instant, Result<Frame, LinkError>);

/// What is known of the move, over all connections that it takes.
#[derive(Debug)]
pub(super) struct Pump {
    id: MoveId,
    began: Instant,
    give_up_after: Duration,
    source_stopped_at: Option<Instant>,
    destination_runs_at: Option<Instant>,
    ended: Option<(MoveReport, Instant)>,
    last_progress: (u64, Instant),
}

impl Pump {
    pub(super) fn new(id: MoveId, began: Instant) -> Self {
        Self {
            id,
            began,
            give_up_after: GIVE_UP_AFTER,
            source_stopped_at: None,
            destination_runs_at: None,
            ended: None,
            last_progress: (0, began),
        }
    }

    pub(super) fn give_up_after(&mut self, silence: Duration) {
        self.give_up_after = silence;
    }

    /// When the source said that it lets the guest stand still.
    pub(super) const fn source_stopped_at(&self) -> Option<Instant> {
        self.source_stopped_at
    }

    /// When the destination said that the guest runs.
    pub(super) const fn destination_runs_at(&self) -> Option<Instant> {
        self.destination_runs_at
    }

    /// Relays until the move has ended; None if there was no news for too long.
    pub(super) fn run(
        &mut self,
        source: &mut Client,
        destination: &mut Client,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Ending>, LinkError> {
        let query = query_frame(self.id);
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
            let ending = self.follow(&news, to_source, &query, on_progress);
            over.store(true, Ordering::Relaxed);
            ending
        })
    }

    /// Follows the move by what the boards say of it.
    fn follow(
        &mut self,
        news: &Receiver<Heard>,
        to_source: &Mutex<&mut FrameWriter>,
        query: &Request,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Ending>, LinkError> {
        let mut last_news = Instant::now();
        let mut last_query = last_news;
        loop {
            if let Some(ending) = self.ending() {
                return Ok(Some(ending));
            }
            match news.recv_timeout(TICK) {
                Ok((side, at, Ok(frame))) => {
                    if self.hear(side, at, &frame, on_progress) {
                        last_news = at;
                    }
                }
                Ok((_, _, Err(_))) if self.ended.is_some() => return Ok(self.ending_now()),
                Ok((_, _, Err(error))) => return Err(error),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now.duration_since(last_news) > self.give_up_after {
                return Ok(None);
            }
            if now.duration_since(last_news.max(last_query)) > ASK_AFTER {
                last_query = now;
                lock(to_source).send(query.kind(), 0, |payload| query.encode(payload))?;
            }
        }
    }

    /// Takes in what a board says; whether it was about this move.
    fn hear(
        &mut self,
        side: Side,
        at: Instant,
        frame: &Frame,
        on_progress: &mut dyn FnMut(Progress),
    ) -> bool {
        if side == Side::Source && frame.kind == kind::MOVE_REPORT {
            if let Ok(Answer::Move(report)) = Answer::decode(frame.kind, frame.payload()) {
                return self.report(report, at, on_progress);
            }
            return false;
        }
        match (side, Event::decode(frame.kind, frame.payload())) {
            (Side::Source, Ok(Event::Progress(report) | Event::MoveEnded(report))) => {
                self.report(report, at, on_progress)
            }
            (Side::Destination, Ok(Event::PhaseChanged(status)))
                if status.phase == Phase::Running =>
            {
                self.destination_runs_at = Some(at);
                true
            }
            _ => false,
        }
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
        let (bytes_before, before) = self.last_progress;
        let bytes = report.figures.bytes;
        let seconds = at.saturating_duration_since(before).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let gained = bytes.saturating_sub(bytes_before) as f64;
        self.last_progress = (bytes, at);
        on_progress(Progress {
            report,
            elapsed: at.saturating_duration_since(self.began),
            bytes_per_second: if seconds > 0.0 { gained / seconds } else { 0.0 },
        });
        // A source in doubt has no news until the destination speaks.
        report.stage != Stage::InDoubt
    }

    /// How the move ended, once the destination has been heard as well, or long enough waited for.
    fn ending(&self) -> Option<Ending> {
        let (report, at) = self.ended?;
        let waits = report.stage == Stage::Gone
            && self.destination_runs_at.is_none()
            && at.elapsed() < LINGER;
        (!waits).then_some(Ending { report })
    }

    fn ending_now(&self) -> Option<Ending> {
        self.ended.map(|(report, _)| Ending { report })
    }
}

fn query_frame(id: MoveId) -> Request {
    Request::Query(id)
}

/// One direction: passes on what is for the other board, and reports the rest.
fn relay(
    side: Side,
    from: &mut FrameReader,
    to: &Mutex<&mut FrameWriter>,
    heard: &Sender<Heard>,
    over: &AtomicBool,
) {
    while !over.load(Ordering::Relaxed) {
        let result = match from.read(Instant::now() + TICK) {
            Ok(None) => continue,
            Ok(Some(frame)) if kind::is_transfer(frame.kind) => match lock(to).forward(&frame) {
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
