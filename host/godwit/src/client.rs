// SPDX-License-Identifier: BSD-2-Clause
//! Management of one board: typed requests over its link.
//!
//! Responsible for: asking, asking again when no answer comes, and saying in every error which
//! board, what was attempted, and what to do. Must never: leave a request that changes something
//! in doubt without saying so.

mod error;

use crate::link::{Address, Frame, Link, LinkError};
use crate::timeouts::{ANSWER, ASK_AGAIN, LOOK_AGAIN};
pub use error::{ClientError, Step};
use protocol::management::{
    Looked, MoveReport, Phase, SetRegister, Statistics, StatusReport, Verdict, Welcome,
};
use protocol::{Answer, Domain, Event, MoveId, Pace, Request, RequestError, VERSION};
use state::{MachineRecordV2, Register};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many events are kept for whoever asks: later ones take the place of the earliest.
const MOST_EVENTS: usize = 64;

/// One board.
#[derive(Debug)]
pub struct Client {
    pub(crate) link: Link,
    next_tag: u32,
    events: VecDeque<Event>,
    /// How fast its link is, as soon as that is known.
    pace: Pace,
}

impl Client {
    /// Connects to the board at `address`, which may take until `timeout` to appear, and greets it.
    ///
    /// # Errors
    ///
    /// [`ClientError`], as for all requests.
    pub fn connect(address: &Address, timeout: Duration) -> Result<Self, ClientError> {
        let mut client = Self {
            link: Link::open(address, timeout)?,
            next_tag: first_tag(),
            events: VecDeque::new(),
            pace: match address {
                Address::Serial { baud, .. } => Pace::line(*baud),
                Address::Unix(_) | Address::Running { .. } | Address::Tcp { .. } => Pace::UNLIMITED,
            },
        };
        client.greet(timeout)?;
        Ok(client)
    }

    /// Connects again, for instance after the link broke.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn reconnect(&mut self, timeout: Duration) -> Result<(), ClientError> {
        let address = self.address().clone();
        self.link.close();
        self.link = Link::open(&address, timeout)?;
        self.greet(timeout)
    }

    /// The first word on a new connection.
    fn greet(&mut self, timeout: Duration) -> Result<(), ClientError> {
        self.link.writer.resynchronise()?;
        self.hello(timeout).map(|_| ())
    }

    /// Where the board is.
    pub fn address(&self) -> &Address {
        self.link.address()
    }

    /// Who are you?
    fn hello(&mut self, timeout: Duration) -> Result<Welcome, ClientError> {
        let deadline = Instant::now() + timeout.max(ANSWER);
        loop {
            match self.ask(Step::Connect, &Request::Hello, |answer| match answer {
                Answer::Welcome(welcome) => Some(welcome),
                _ => None,
            }) {
                Err(ClientError::Silent { .. }) if Instant::now() < deadline => {}
                Err(error @ ClientError::Silent { .. }) => {
                    return Err(self.speaks_otherwise()?.unwrap_or(error));
                }
                Err(error) => return Err(error),
                Ok(welcome) => {
                    self.pace = welcome.pace.slower(self.pace);
                    self.link.writer.allow(self.allowance())?;
                    return Ok(welcome);
                }
            }
        }
    }

    /// Whether a board that does not answer would in another version: to it, what we say is garbage, so it is greeted in
    /// those that there were before ours.
    fn speaks_otherwise(&mut self) -> Result<Option<ClientError>, LinkError> {
        let hello = Request::Hello;
        for version in 1..VERSION {
            let tag = self.next_tag();
            let write = |payload: &mut [u8]| hello.encode(payload);
            self.link
                .writer
                .send_in(version, hello.kind(), tag, write)?;
        }
        let deadline = Instant::now() + ASK_AGAIN + self.allowance();
        while self.link.reader.other_version().is_none() {
            if self.read(deadline)?.is_none() {
                break;
            }
        }
        let board = self.link.reader.other_version();
        Ok(board.map(|board| ClientError::OtherVersion {
            address: self.address().clone(),
            board,
        }))
    }

    /// How fast its link is.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        self.pace
    }

    /// What an answer may take longer than over a link without a limit.
    #[must_use]
    pub fn allowance(&self) -> Duration {
        Duration::from_millis(self.pace.silence_ms())
    }

    /// What the board is, as far as management is concerned.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn welcome(&mut self) -> Result<Welcome, ClientError> {
        self.hello(Duration::ZERO)
    }

    /// What the machine is doing.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn status(&mut self) -> Result<StatusReport, ClientError> {
        self.ask(Step::Status, &Request::Status, |answer| match answer {
            Answer::Status(status) => Some(status),
            _ => None,
        })
    }

    /// Pauses the guest, and waits until it is paused.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn pause(&mut self, timeout: Duration) -> Result<StatusReport, ClientError> {
        self.begin_pause()?;
        let status = self.status()?;
        // A guest that has arrived and was not started is paused already.
        if status.phase == Phase::Imported {
            return Ok(status);
        }
        self.wait_for(Phase::Stopped, timeout)
    }

    /// Pauses the guest, and does not ask the board how far it is. It says so itself: see
    /// [`Self::next_event`].
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn begin_pause(&mut self) -> Result<(), ClientError> {
        self.act(Step::Pause, &Request::Pause)
    }

    /// Resumes the guest, and waits until it does.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn resume(&mut self, timeout: Duration) -> Result<StatusReport, ClientError> {
        self.begin_resume()?;
        self.wait_for(Phase::Running, timeout)
    }

    /// Resumes the guest, and does not ask the board how far it is, as [`Self::begin_pause`].
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn begin_resume(&mut self) -> Result<(), ClientError> {
        self.act(Step::Resume, &Request::Resume)
    }

    /// Discards the guest.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn discard(&mut self) -> Result<(), ClientError> {
        self.act(Step::Discard, &Request::Discard)
    }

    /// How often the guest has exited since the board started, by cause.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn statistics(&mut self) -> Result<Statistics, ClientError> {
        let request = Request::Statistics;
        self.ask(Step::Statistics, &request, |answer| match answer {
            Answer::Statistics(statistics) => Some(statistics),
            _ => None,
        })
    }

    /// What each of the guest's vCPUs hangs in, if it does so at two moments that are a while apart.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn look(&mut self) -> Result<Looked, ClientError> {
        let first = self.look_once()?;
        if first.iter().all(Option::is_none) {
            return Ok(first);
        }
        std::thread::sleep(LOOK_AGAIN);
        let second = self.look_once()?;
        let mut both = first;
        for (hang, later) in both.iter_mut().zip(second) {
            *hang = hang.filter(|hang| later == Some(*hang));
        }
        Ok(both)
    }

    /// The same at one moment.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn look_once(&mut self) -> Result<Looked, ClientError> {
        self.ask(Step::Look, &Request::Look, |answer| match answer {
            Answer::Looked(looked) => Some(looked),
            _ => None,
        })
    }

    /// What the board is to a guest.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn describe(&mut self) -> Result<MachineRecordV2, ClientError> {
        let request = Request::Describe;
        self.ask(Step::Describe, &request, |answer| match answer {
            Answer::Description(record) => state::record::decode(record).ok(),
            _ => None,
        })
    }

    /// What a domain holds of the paused guest.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`RequestError::WrongPhase`] if it does not.
    pub fn examine(&mut self, domain: Domain) -> Result<Vec<u8>, ClientError> {
        self.ask(
            Step::Examine,
            &Request::Examine(domain),
            |answer| match answer {
                Answer::Examined(of, record) if of == domain => Some(record.to_vec()),
                _ => None,
            },
        )
    }

    /// Gives a register of the paused guest another value.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`RequestError::BadRegister`] if it cannot have that.
    pub fn set_register(
        &mut self,
        vcpu: usize,
        register: Register,
        value: u128,
    ) -> Result<(), ClientError> {
        let set = SetRegister {
            vcpu: u8::try_from(vcpu).unwrap_or(u8::MAX),
            register: register.key(),
            value,
        };
        self.act(Step::SetRegister, &Request::SetRegister(set))
    }

    /// Calls a move off. A move that this board does not know (any more) is off.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`RequestError::InDoubt`] if it may have happened.
    pub fn cancel_move(&mut self, id: MoveId) -> Result<(), ClientError> {
        match self.act(Step::Cancel, &Request::Cancel(id)) {
            Err(ClientError::Refused {
                error: RequestError::NoSuchMove,
                ..
            }) => Ok(()),
            done => done,
        }
    }

    /// What became of a move, as far as this board knows.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn query_move(&mut self, id: MoveId) -> Result<MoveReport, ClientError> {
        self.ask(Step::Query, &Request::Query(id), |answer| match answer {
            Answer::Move(report) => Some(report),
            _ => None,
        })
    }

    /// Resolves the doubt about a move by the operator's word.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn resolve_move(&mut self, id: MoveId, verdict: Verdict) -> Result<(), ClientError> {
        self.act(Step::Resolve, &Request::Resolve(id, verdict))
    }

    /// Waits until the guest is in this phase.
    ///
    /// # Errors
    ///
    /// [`ClientError::Late`], at once if the guest ended instead.
    pub fn wait_for(
        &mut self,
        wanted: Phase,
        timeout: Duration,
    ) -> Result<StatusReport, ClientError> {
        let deadline = Instant::now() + timeout + self.allowance();
        loop {
            let status = self.status()?;
            let phase = status.phase;
            if phase == wanted {
                return Ok(status);
            }
            let ended = matches!(phase, Phase::Off | Phase::Failed);
            let left = deadline.saturating_duration_since(Instant::now());
            if ended || left.is_zero() {
                return Err(ClientError::Late {
                    address: self.address().clone(),
                    phase,
                    wanted,
                });
            }
            self.next_event(left.min(ASK_AGAIN))?;
        }
    }

    /// What the board says unasked, if it does within `timeout`.
    ///
    /// # Errors
    ///
    /// [`LinkError::Lost`].
    pub fn next_event(&mut self, timeout: Duration) -> Result<Option<Event>, LinkError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        let deadline = Instant::now() + timeout;
        while let Some(frame) = self.read(deadline)? {
            if let Ok(event) = Event::decode(frame.kind, frame.payload()) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// A request that is answered with nothing but that it was begun.
    fn act(&mut self, step: Step, request: &Request) -> Result<(), ClientError> {
        self.ask(step, request, |answer| match answer {
            Answer::Accepted => Some(()),
            _ => None,
        })
    }

    /// Makes a request, more than once if need be: requests are safe to repeat.
    fn ask<T>(
        &mut self,
        step: Step,
        request: &Request,
        read: impl Fn(Answer<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        let give_up_at = Instant::now() + ANSWER + self.allowance();
        while Instant::now() < give_up_at {
            let tag = self.send(request)?;
            let deadline = Instant::now() + ASK_AGAIN + self.allowance();
            while let Some(frame) = self.read(deadline)? {
                if let Some(answer) = self.answer(&frame, tag) {
                    return self.understand(step, answer, &read);
                }
            }
        }
        Err(ClientError::Silent {
            address: self.address().clone(),
            step,
        })
    }

    /// The next frame. None after `deadline`, also of a board that sends frames without end.
    fn read(&mut self, deadline: Instant) -> Result<Option<Frame>, LinkError> {
        let frame = self.link.reader.read(deadline)?;
        Ok(frame.filter(|_| Instant::now() < deadline))
    }

    fn send(&mut self, request: &Request) -> Result<u32, LinkError> {
        let tag = self.next_tag();
        self.link
            .writer
            .send(request.kind(), tag, |payload| request.encode(payload))?;
        Ok(tag)
    }

    /// A tag that no answer under way carries.
    pub(crate) fn next_tag(&mut self) -> u32 {
        self.next_tag = self.next_tag.wrapping_add(1);
        self.next_tag
    }

    /// The answer that a frame is to the request with this tag. Events are kept; frames for the
    /// other board, and answers to earlier requests, are of nobody's interest any more.
    fn answer<'a>(&mut self, frame: &'a Frame, tag: u32) -> Option<Option<Answer<'a>>> {
        if let Ok(event) = Event::decode(frame.kind, frame.payload()) {
            if self.events.len() == MOST_EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(event);
            return None;
        }
        let is_answer = (0x20..0x30).contains(&frame.kind) && frame.tag == tag;
        is_answer.then(|| Answer::decode(frame.kind, frame.payload()).ok())
    }

    fn understand<T>(
        &self,
        step: Step,
        answer: Option<Answer<'_>>,
        read: impl Fn(Answer<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        let address = self.address().clone();
        match answer {
            Some(Answer::Refused(error)) => Err(ClientError::Refused {
                address,
                step,
                error,
            }),
            answer => answer
                .and_then(read)
                .ok_or(ClientError::Nonsense { address, step }),
        }
    }
}

/// Tags begin where no predecessor's are likely to be, so that an answer to it is not taken for
/// one to us.
fn first_tag() -> u32 {
    let [first, _] = crate::random::random_bits();
    u32::try_from(first >> 33).unwrap_or(0)
}

#[cfg(test)]
mod tests;
