// SPDX-License-Identifier: BSD-2-Clause
//! A board's link, shared between those who manage it and whoever runs it.
//!
//! Responsible for: owning the one connection that QEMU takes, passing frames between it and several clients of a
//! public socket, and telling whoever runs the board what becomes of the guest. Only whole frames pass: a client that
//! dies in the middle of one leaves nothing behind that the board would have to recover from, and the next one begins
//! at a frame. An answer goes to whoever asked, an event to everybody, and what the other board of a move is to hear to
//! those who take part in one, so that others can ask and be answered while a guest moves. Never: makes a request that
//! changes anything, but for calling off a move whose relay has gone; or changes what two boards say to each other.

mod clients;

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::frame::finish;
use protocol::management::{MoveReport, StatusReport};
use protocol::{Answer, Decoder, Event, Frame, HEADER_LENGTH, MAX_FRAME, kind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::timeouts::STUCK_CLIENT;
use clients::Clients;

/// The tag of our own question; answers with it are for us.
const OWN_TAG: u32 = u32::MAX;
/// How often we ask until the board has said anything at all.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Bytes that may wait for one side before the other is no longer listened to.
const WAITING: usize = 4 * MAX_FRAME;

/// What a board said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// What its machine is doing now.
    Status(StatusReport),
    /// A move has ended there.
    MoveEnded(MoveReport),
    /// Its link is gone, and nothing more will be heard.
    Lost,
}

/// A tapped link. Ends when it goes out of scope.
#[derive(Debug)]
pub struct Tap {
    heard: Arc<Mutex<Vec<LinkEvent>>>,
    /// Readable while something was heard that nobody took.
    news: UnixStream,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    /// Passes frames between `link` and one client of `listener` at a time.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn start(link: UnixStream, listener: UnixListener) -> std::io::Result<Self> {
        let (news, tell) = UnixStream::pair()?;
        let (stop, stopped) = UnixStream::pair()?;
        link.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        news.set_nonblocking(true)?;
        tell.set_nonblocking(true)?;
        let heard = Arc::default();
        let exchange = Exchange {
            link: Side::new(link),
            listener,
            clients: Clients::default(),
            stopped,
            tell,
            heard: Arc::clone(&heard),
            answered: false,
        };
        let thread = std::thread::Builder::new()
            .name("tap".to_owned())
            .spawn(move || exchange.run())?;
        Ok(Self {
            heard,
            news,
            stop,
            thread: Some(thread),
        })
    }

    /// Readable while [`Tap::take`] has something to give.
    #[must_use]
    pub const fn news(&self) -> &UnixStream {
        &self.news
    }

    /// What was heard since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<LinkEvent> {
        // Emptied before the list is taken, so that nothing is left unannounced.
        let mut bytes = [0; 64];
        while matches!((&self.news).read(&mut bytes), Ok(count) if count > 0) {}
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.stop.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection that frames come from and go to.
#[derive(Debug)]
struct Side {
    stream: UnixStream,
    decoder: Decoder<Vec<u8>>,
    /// Whole frames on their way, and how much of them has been sent.
    outgoing: Vec<u8>,
    sent: usize,
    /// When it last took something, or had nothing to take.
    moved: Instant,
}

impl Side {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::new(vec![0; MAX_FRAME]),
            outgoing: Vec::new(),
            sent: 0,
            moved: Instant::now(),
        }
    }

    const fn waiting(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// What to wait for besides input.
    fn interest(&self) -> PollFlags {
        if self.waiting() > 0 {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        }
    }

    /// Much waits for it, and it has taken nothing for long.
    fn is_stuck(&self) -> bool {
        self.waiting() > WAITING && self.moved.elapsed() > STUCK_CLIENT
    }

    /// Queues a frame.
    fn put(&mut self, kind: u8, tag: u32, payload: &[u8]) {
        let start = self.outgoing.len();
        self.outgoing.resize(start + HEADER_LENGTH, 0);
        self.outgoing.extend_from_slice(payload);
        let frame = self.outgoing.get_mut(start..).unwrap_or_default();
        if finish(frame, kind, tag, payload.len()).is_none() {
            self.outgoing.truncate(start);
        }
    }

    /// Sends what it takes.
    fn send(&mut self) -> std::io::Result<()> {
        while self.waiting() > 0 {
            let rest = self.outgoing.get(self.sent..).unwrap_or_default();
            match self.stream.write(rest) {
                Ok(count) => {
                    self.sent += count;
                    self.moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        self.moved = Instant::now();
        Ok(())
    }

    /// Reads what there is and gives `each` the frames in it. Whether there may be more one day.
    fn receive(&mut self, mut each: impl FnMut(&Frame<'_>)) -> std::io::Result<bool> {
        // Bounded, so that one side that never stops cannot keep the other from being heard.
        for _ in 0..16 {
            match self.stream.read(self.decoder.space()) {
                Ok(0) => return Ok(false),
                Ok(count) => self.decoder.filled(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            while let Some(frame) = self.decoder.next() {
                each(&frame);
            }
        }
        Ok(true)
    }
}

/// What happens on a tapped link.
#[derive(Debug)]
struct Exchange {
    link: Side,
    listener: UnixListener,
    clients: Clients,
    stopped: UnixStream,
    tell: UnixStream,
    heard: Arc<Mutex<Vec<LinkEvent>>>,
    answered: bool,
}

impl Exchange {
    fn run(mut self) {
        let mut asked: Option<Instant> = None;
        loop {
            if !self.answered && asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN) {
                asked = Some(Instant::now());
                self.link.put(kind::STATUS, OWN_TAG, &[]);
            }
            let Some(ready) = self.wait() else {
                return self.clients.send(&mut self.link);
            };
            // Before a newcomer: it may have waited for one of these to go.
            self.clients.read(&ready.clients, &mut self.link);
            if ready.newcomer {
                self.admit();
            }
            let lost = (ready.link && self.read_link().is_err()) || self.link.send().is_err();
            self.clients.send(&mut self.link);
            if lost {
                self.tell(LinkEvent::Lost);
                return;
            }
        }
    }

    /// Waits until there is something to do. `None` if it is to end.
    fn wait(&self) -> Option<Ready> {
        let timeout = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let mut flags = self.link.interest();
        flags.set(PollFlags::IN, self.clients.keep_up());
        let mut polled = vec![
            PollFd::new(&self.stopped, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.link.stream, flags),
        ];
        polled.extend(self.clients.polled(self.link.waiting() <= WAITING));
        // Interrupted or out of time: there may be nothing to do, which harms nobody.
        let _ = poll(&mut polled, Some(&timeout));
        let input = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let mut ready = polled
            .iter()
            .map(|polled| polled.revents().intersects(input));
        let mut next = || ready.next().unwrap_or(false);
        let (stopped, newcomer, link) = (next(), next(), next());
        (!stopped).then(|| Ready {
            newcomer,
            link,
            clients: ready.collect(),
        })
    }

    /// Takes a client, or closes its connection at once if there are too many.
    fn admit(&mut self) {
        if let Ok((stream, _)) = self.listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            self.clients.admit(Side::new(stream));
        }
    }

    fn read_link(&mut self) -> std::io::Result<()> {
        let mut heard = Vec::new();
        let (clients, answered) = (&mut self.clients, &mut self.answered);
        let open = self.link.receive(|frame| {
            *answered = true;
            heard.extend(understand(frame));
            if frame.tag != OWN_TAG {
                clients.put(frame);
            }
        });
        for heard in heard {
            self.tell(heard);
        }
        match open {
            Ok(true) => Ok(()),
            Ok(false) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(error),
        }
    }

    fn tell(&mut self, heard: LinkEvent) {
        let mut list = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(heard);
        // If it cannot take a byte, it has some that nobody read: enough to wake somebody.
        let _ = self.tell.write(&[0]);
    }
}

/// Which connections want attention.
struct Ready {
    newcomer: bool,
    link: bool,
    clients: Vec<bool>,
}

/// What a frame says of the board that it comes from.
fn understand(frame: &Frame<'_>) -> Option<LinkEvent> {
    match frame.kind {
        kind::STATUS_REPORT => match Answer::decode(frame.kind, frame.payload) {
            Ok(Answer::Status(status)) => Some(LinkEvent::Status(status)),
            _ => None,
        },
        kind::PHASE_CHANGED | kind::MOVE_ENDED => match Event::decode(frame.kind, frame.payload) {
            Ok(Event::PhaseChanged(status)) => Some(LinkEvent::Status(status)),
            Ok(Event::MoveEnded(report)) => Some(LinkEvent::MoveEnded(report)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
