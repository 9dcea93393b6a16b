// SPDX-License-Identifier: BSD-2-Clause
//! A move between two boards, as seen from the host.
//!
//! Responsible for: relaying what the boards say to each other, telling how far the move is, and
//! saying at the end where the guest now is, whatever happened. Must never: be needed. The boards
//! decide; a relay that dies leaves the guest at its source or its destination, never at both, and
//! the next relay resolves what is open.

pub mod doubt;
mod error;
pub mod estimate;
mod location;
mod pump;
mod rate;
#[cfg(test)]
mod tests;

pub use error::{Cause, MoveError};
pub use location::GuestLocation;

use crate::client::{Client, ClientError, Step};
use crate::link::LinkError;
use crate::random::random_bits;
use crate::timeouts::{self, ARRIVAL};
use protocol::management::{Figures, MoveReport, Phase, Stage, StartMove, StatusReport};
use protocol::{MoveFailure, MoveId, Pace};
use pump::{Ending, Interruption, Pump};
use state::admission::{self, OtherCore};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long to listen for a board that is starting before it is asked again.
const START_SLICE: Duration = Duration::from_millis(200);

/// How a move is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Pause the guest as soon as the rest can be sent in this time.
    pub downtime_target: Duration,
    /// Rather call the move off than pause the guest for longer than this before the commit.
    pub downtime_limit: Option<Duration>,
    /// Pause the guest after so many pre-copy rounds over its RAM in any case.
    pub max_rounds: u16,
    /// How much of the source's time the move may take while the guest runs, in per cent.
    pub share: u8,
    /// The most bytes a second to send while the guest runs; 0 for what the link carries.
    pub bandwidth: u64,
    /// What the guest's clock does while it is paused.
    pub time: GuestTime,
    /// What becomes of a core that the guest was not started on and does not know of.
    pub other_core: OtherCore,
    /// How long a board waits, while the guest runs, when it hears nothing from the other, beyond what its link's speed
    /// makes necessary; see [`protocol::timeouts`].
    pub timeout: Duration,
    /// How long to try to reach a board again whose link broke in the middle of the move.
    pub reconnect: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            downtime_target: Duration::from_millis(50),
            downtime_limit: None,
            max_rounds: 16,
            share: 60,
            bandwidth: 0,
            time: GuestTime::default(),
            other_core: OtherCore::default(),
            timeout: timeouts::MOVE,
            reconnect: timeouts::RECONNECT,
        }
    }
}

/// What a guest's clock does while the guest is paused in a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GuestTime {
    /// It is frozen as well: the guest does not notice, and its wall clock is behind afterwards.
    #[default]
    Still,
    /// It advances: the guest sees a gap, and timers that were due meanwhile fire when it runs.
    Advance,
}

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What the source says.
    pub report: MoveReport,
    /// Since the move was asked for.
    pub elapsed: Duration,
    /// Bytes a second, over the round.
    pub bytes_per_second: f64,
    /// For how long the guest would be paused if it were stopped now, over a line that keeps its rate: at most
    /// this, for the pages known to be left. None over links without a limit.
    pub downtime: Option<Duration>,
}

/// A move that took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its number.
    pub id: MoveId,
    /// The source's figures.
    pub figures: Figures,
    /// From the request to the guest running at its destination.
    pub total: Duration,
    /// How long the guest was paused, as the host saw it: from the source's word that it stops
    /// it to the destination's that it runs. None for a guest that was paused anyway.
    pub downtime: Option<Duration>,
}

/// Moves the guest of `source` to `destination`.
///
/// # Errors
///
/// [`MoveError`], which says where the guest is.
pub fn migrate(
    source: &mut Client,
    destination: &mut Client,
    options: &Options,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Summary, MoveError> {
    let mut relay = Relay {
        source,
        destination,
        options,
    };
    let began = Instant::now();
    let plan = relay
        .prepare()
        .map_err(|cause| relay.explain(cause, None))?;
    relay
        .carry_out(&plan, began, on_progress)
        .map_err(|cause| relay.explain(cause, Some(plan.start.id)))
}

/// Lets the two boards of an earlier move resolve what became of it; returns how it ended on the
/// source.
///
/// # Errors
///
/// [`MoveError`] if they do not, within the options' time to reconnect.
pub fn resolve(
    source: &mut Client,
    destination: &mut Client,
    options: &Options,
) -> Result<MoveReport, MoveError> {
    let mut relay = Relay {
        source,
        destination,
        options,
    };
    relay.resolve().map_err(|cause| relay.explain(cause, None))
}

/// The request that starts a move with these options, on boards that have seen moves up to `newest`
/// and over links of which the slower one has this pace.
pub(crate) fn start_request(options: &Options, newest: MoveId, pace: Pace) -> StartMove {
    // Numbers grow with the time of day, so that they grow over restarts of the boards too.
    let now = u64::try_from(now_since_epoch().as_micros()).unwrap_or(0);
    let timeout = options.timeout + Duration::from_millis(pace.silence_ms());
    StartMove {
        id: MoveId(now.max(newest.0.saturating_add(1))),
        seed: random_bits(),
        downtime_target_us: u32::try_from(options.downtime_target.as_micros()).unwrap_or(u32::MAX),
        downtime_limit_ms: options.downtime_limit.map_or(0, |limit| {
            u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1)
        }),
        max_rounds: options.max_rounds,
        share: options.share,
        bandwidth: options.bandwidth,
        timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        pace,
        advance: options.time == GuestTime::Advance,
        accept_core: options.other_core == OtherCore::Accepted,
    }
}

/// What becomes true when this process is asked to end.
static CALLED_OFF: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal that ends programs calls the move off that is being relayed, if that can still be; a second one
/// ends this program.
///
/// # Errors
///
/// The operating system's.
pub fn call_off_on_signals() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let flag = Arc::clone(CALLED_OFF.get_or_init(Arc::default));
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        // The first finds the flag as it was.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(())
}

/// Whether a signal has called the move off.
#[must_use]
pub fn is_called_off() -> bool {
    CALLED_OFF
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
}

fn now_since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A move that can be begun.
struct Plan {
    start: StartMove,
    /// The guest runs, and is to run on arrival.
    runs: bool,
}

struct Relay<'a> {
    source: &'a mut Client,
    destination: &'a mut Client,
    options: &'a Options,
}

impl Relay<'_> {
    /// How fast the slower board's link is.
    const fn pace(&self) -> Pace {
        self.source.pace().slower(self.destination.pace())
    }

    /// Asks both boards whether a move can be begun, before anything is.
    fn prepare(&mut self) -> Result<Plan, Cause> {
        let source = ready(self.source)?;
        let destination = ready(self.destination)?;
        if !matches!(source.phase, Phase::Running | Phase::Stopped) {
            return Err(Cause::NoGuest {
                address: self.source.address().clone(),
                phase: source.phase,
            });
        }
        if destination.phase != Phase::Empty {
            return Err(Cause::Occupied {
                address: self.destination.address().clone(),
                phase: destination.phase,
            });
        }
        let (theirs, ours) = (self.source.describe()?, self.destination.describe()?);
        admission::compare(&theirs, &ours, self.options.other_core).map_err(|refusal| {
            Cause::Incompatible {
                destination: self.destination.address().clone(),
                refusal,
            }
        })?;
        let newest = source.newest_move.max(destination.newest_move);
        Ok(Plan {
            start: start_request(self.options, newest, self.pace()),
            runs: source.phase == Phase::Running,
        })
    }

    fn carry_out(
        &mut self,
        plan: &Plan,
        began: Instant,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Summary, Cause> {
        let mut pump = Pump::start(plan, began);
        pump.allow(self.pace());
        pump.give_up_after(self.options.timeout + timeouts::BEHIND_BOARDS);
        let ending = self.pump_until_ended(&mut pump, on_progress)?;
        match ending.report.stage {
            Stage::Gone => self.arrived(plan, began, &ending, &pump),
            _ => Err(called_off(&ending.report)),
        }
    }

    /// Relays until the source says how the move ended; connects again when a link breaks.
    fn pump_until_ended(
        &mut self,
        pump: &mut Pump,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Ending, Cause> {
        let mut give_up_at: Option<Instant> = None;
        loop {
            match pump.run(self.source, self.destination, on_progress) {
                Ok(ending) => return Ok(ending),
                Err(Interruption::Silence) => return Err(Cause::TimedOut),
                Err(Interruption::NotKnown) => {
                    let address = self.destination.address().clone();
                    return Err(Cause::NotKnown { address });
                }
                Err(Interruption::Refused(error)) => {
                    let address = self.source.address().clone();
                    let step = Step::Start;
                    return Err(ClientError::Refused {
                        address,
                        step,
                        error,
                    }
                    .into());
                }
                Err(Interruption::GuestEnded(phase)) => {
                    return Err(Cause::CalledOff(MoveFailure::GuestEnded { phase }));
                }
                Err(Interruption::Link(error)) => {
                    let now = Instant::now();
                    let deadline = *give_up_at.get_or_insert(now + self.options.reconnect);
                    let left = deadline.saturating_duration_since(now);
                    if left.is_zero() {
                        return Err(ClientError::from(error).into());
                    }
                    self.reach_again(error, left)?;
                }
            }
        }
    }

    /// Connects again to the board whose link broke.
    fn reach_again(&mut self, error: LinkError, left: Duration) -> Result<(), Cause> {
        let (LinkError::Lost { address, .. } | LinkError::Connect { address, .. }) = &error;
        if address == self.source.address() {
            self.source.reconnect(left)?;
        } else if let Err(unreachable) = self.destination.reconnect(left) {
            // The source will notice by itself; it must be heard to say so.
            self.source.status()?;
            return Err(unreachable.into());
        }
        Ok(())
    }

    /// The source has given the guest up: it must be at the destination.
    fn arrived(
        &mut self,
        plan: &Plan,
        began: Instant,
        ending: &Ending,
        pump: &Pump,
    ) -> Result<Summary, Cause> {
        let arrived_at = match pump.destination_runs_at() {
            Some(at) => at,
            None => self.wait_for_arrival(plan.runs)?,
        };
        let downtime = pump
            .source_stopped_at()
            .filter(|_| plan.runs)
            .map(|at| arrived_at.saturating_duration_since(at));
        Ok(Summary {
            id: plan.start.id,
            figures: ending.report.figures,
            total: arrived_at.saturating_duration_since(began),
            downtime,
        })
    }

    fn wait_for_arrival(&mut self, runs: bool) -> Result<Instant, Cause> {
        let wanted = if runs {
            Phase::Running
        } else {
            Phase::Imported
        };
        match self.destination.wait_for(wanted, ARRIVAL) {
            Ok(_) => Ok(Instant::now()),
            Err(ClientError::Late { address, phase, .. }) => {
                Err(Cause::DoesNotRun { address, phase })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn resolve(&mut self) -> Result<MoveReport, Cause> {
        let status = self.source.status()?;
        let Some(report) = status.last_move else {
            return Err(Cause::NoGuest {
                address: self.source.address().clone(),
                phase: status.phase,
            });
        };
        if report.stage.is_end() {
            return Ok(report);
        }
        let mut pump = Pump::new(report.id, Instant::now());
        pump.give_up_after(self.options.reconnect);
        pump.allow(self.pace());
        let ending = self.pump_until_ended(&mut pump, &mut |_| {})?;
        Ok(ending.report)
    }

    /// Finds out where the guest is after the move with this number, if that was begun.
    fn explain(&mut self, cause: Cause, id: Option<MoveId>) -> MoveError {
        let source = call_off(self.source);
        let destination = ask_again(self.destination);
        let location = match cause {
            // Its board may have ended with it.
            Cause::CalledOff(MoveFailure::GuestEnded { phase }) => GuestLocation::Ended(phase),
            _ => GuestLocation::after(id, source.as_ref(), destination.as_ref()),
        };
        MoveError {
            cause: Box::new(cause),
            location,
            source_board: self.source.address().clone(),
            destination_board: self.destination.address().clone(),
        }
    }
}

/// A board's status, once it has started and has nothing left over from a relay that died.
pub(crate) fn ready(board: &mut Client) -> Result<StatusReport, Cause> {
    let mut status = board.status()?;
    let deadline = Instant::now() + ARRIVAL;
    while status.phase == Phase::Starting && Instant::now() < deadline {
        board.next_event(START_SLICE).map_err(ClientError::from)?;
        status = board.status()?;
    }
    let open = status.last_move.filter(|report| !report.stage.is_end());
    let Some(report) = open else {
        return Ok(status);
    };
    if report.stage == Stage::InDoubt {
        return Err(Cause::InDoubt {
            address: board.address().clone(),
            id: report.id,
        });
    }
    board.cancel_move(report.id)?;
    // A guest that was paused for that move is resumed first.
    let resumes = matches!(
        report.stage,
        Stage::Stopping | Stage::Finishing | Stage::Preparing
    );
    if resumes {
        return Ok(board.wait_for(Phase::Running, ARRIVAL)?);
    }
    Ok(board.status()?)
}

/// The status of a source for which no relay works any more: a move that can still be called off
/// is, so that its guest need not wait until the board notices.
fn call_off(source: &mut Client) -> Option<StatusReport> {
    let status = ask_again(source)?;
    match ready(source) {
        Ok(status) => Some(status),
        Err(_) => Some(ask_again(source).unwrap_or(status)),
    }
}

fn ask_again(board: &mut Client) -> Option<StatusReport> {
    board.status().ok().or_else(|| {
        board.reconnect(Duration::from_secs(1)).ok()?;
        board.status().ok()
    })
}

fn called_off(report: &MoveReport) -> Cause {
    report.failure.map_or(Cause::TimedOut, Cause::CalledOff)
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            rounds,
            pages_sent,
            dirty_pages,
            bytes,
            ..
        } = self.report.figures;
        write!(
            formatter,
            "round {}, {pages_sent} pages sent, {dirty_pages} left, {:.1} MB, {:.1} MB/s",
            rounds + 1,
            megabytes(bytes),
            self.bytes_per_second / 1e6,
        )
    }
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let bytes = bytes as f64;
    bytes / 1e6
}
