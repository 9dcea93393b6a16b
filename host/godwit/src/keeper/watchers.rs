// SPDX-License-Identifier: BSD-2-Clause
//! Those who watch a board's console.
//!
//! Responsible for: each hearing everything that the guest says, in order and with notices where they belong, as fast as
//! he takes it; and a note of how much he has missed if that is too slow. Never: waits for one of them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags};

use super::history::History;
use super::messages::{Hello, Incoming, Message as _, Say, Tell};

/// Output that is made ready for a watcher at once, in bytes.
const PIECE: usize = 32 << 10;

/// Somebody who watches.
#[derive(Debug)]
pub(super) struct Watcher {
    /// Nobody else's, ever.
    pub(super) number: u64,
    stream: UnixStream,
    incoming: Incoming,
    outgoing: Vec<u8>,
    sent: usize,
    /// Up to where he has been told what the guest says; nothing until he has greeted.
    place: Option<u64>,
    /// What else he is to be told, and after which byte.
    notices: VecDeque<(u64, Tell)>,
    gone: bool,
}

/// All of them, and what they watch.
#[derive(Debug)]
pub(super) struct Watchers {
    list: Vec<Watcher>,
    history: History,
    next: u64,
}

impl Watchers {
    /// Nobody yet; so many bytes are kept for those who come.
    pub(super) const fn new(kept: usize) -> Self {
        Self {
            list: Vec::new(),
            history: History::new(kept),
            next: 0,
        }
    }

    /// Somebody comes.
    pub(super) fn admit(&mut self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.next += 1;
        self.list.push(Watcher {
            number: self.next,
            stream,
            incoming: Incoming::default(),
            outgoing: Vec::new(),
            sent: 0,
            place: None,
            notices: VecDeque::new(),
            gone: false,
        });
        Ok(())
    }

    /// Whether this one is there.
    pub(super) fn has(&self, number: u64) -> bool {
        self.list.iter().any(|watcher| watcher.number == number)
    }

    /// The guest says something.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        self.history.push(bytes);
    }

    /// Everybody is told something, at this place in what the guest says.
    pub(super) fn tell(&mut self, tell: &Tell) {
        let place = self.history.end();
        for watcher in &mut self.list {
            watcher.notices.push_back((place, tell.clone()));
        }
    }

    /// One of them is told something.
    pub(super) fn tell_one(&mut self, number: u64, tell: Tell) {
        // At once: it is not about what the guest says.
        let place = 0;
        if let Some(watcher) = self.find(number) {
            watcher.notices.push_front((place, tell));
        }
    }

    /// One of them is told something behind everything that the guest has said.
    pub(super) fn tell_last(&mut self, number: u64, tell: Tell) {
        let place = self.history.end();
        if let Some(watcher) = self.find(number) {
            watcher.notices.push_back((place, tell));
        }
    }

    /// One of them has greeted.
    pub(super) fn greeted(&mut self, number: u64, hello: Hello) {
        let (start, end) = (self.history.start(), self.history.end());
        if let Some(watcher) = self.find(number) {
            watcher.place = Some(end.saturating_sub(hello.history).max(start));
        }
    }

    fn find(&mut self, number: u64) -> Option<&mut Watcher> {
        self.list
            .iter_mut()
            .find(|watcher| watcher.number == number)
    }

    /// Their connections, in order.
    pub(super) fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.list.iter().map(|watcher| {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, !watcher.is_told(&self.history));
            PollFd::new(&watcher.stream, flags)
        })
    }

    /// What they say, and who has said it.
    pub(super) fn hear(&mut self) -> Vec<(u64, Say)> {
        let mut heard = Vec::new();
        for watcher in &mut self.list {
            watcher.gone |= watcher.read().is_err();
            while let Ok(Some(say)) = watcher.incoming.take() {
                heard.push((watcher.number, say));
            }
        }
        heard
    }

    /// Sends to each what he takes, and parts with those who have gone.
    pub(super) fn send(&mut self) {
        for watcher in &mut self.list {
            watcher.gone |= watcher.send(&self.history).is_err();
        }
        self.list.retain(|watcher| !watcher.gone);
    }

    /// Whether everybody who is there has been told everything.
    pub(super) fn are_told(&self) -> bool {
        self.list
            .iter()
            .all(|watcher| watcher.is_told(&self.history))
    }

    /// How much the guest has said.
    pub(super) fn said(&self) -> u64 {
        self.history.end()
    }

    /// Whether everybody who is there has greeted.
    pub(super) fn are_greeted(&self) -> bool {
        self.list.iter().all(|watcher| watcher.place.is_some())
    }
}

impl Watcher {
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.incoming.extend(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, history: &History) -> io::Result<()> {
        loop {
            if self.sent == self.outgoing.len() {
                self.outgoing.clear();
                self.sent = 0;
                self.fill(history)?;
            }
            let rest = self.outgoing.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes ready what comes next.
    fn fill(&mut self, history: &History) -> io::Result<()> {
        let Some(mut place) = self.place else {
            return Ok(());
        };
        let missed = history.start().saturating_sub(place);
        if missed > 0 {
            Tell::Dropped(missed).append(&mut self.outgoing)?;
            place = history.start();
        }
        while self.outgoing.len() < PIECE {
            let until = match self.notices.front() {
                Some((at, _)) if *at <= place => {
                    let notice = self.notices.pop_front();
                    notice.map_or(Ok(()), |(_, tell)| tell.append(&mut self.outgoing))?;
                    continue;
                }
                Some((at, _)) => *at,
                None => history.end(),
            };
            let most = usize::try_from(until - place).unwrap_or(PIECE).min(PIECE);
            let bytes = history.from(place, most);
            if bytes.is_empty() {
                break;
            }
            place += bytes.len() as u64;
            Tell::Output(bytes).append(&mut self.outgoing)?;
        }
        self.place = Some(place);
        Ok(())
    }

    /// Whether there is nothing more to send. Who has not greeted is told nothing.
    fn is_told(&self, history: &History) -> bool {
        let told = self.place.is_none_or(|place| place == history.end());
        let notified = self.place.is_none() || self.notices.is_empty();
        told && notified && self.sent == self.outgoing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Listener {
        stream: UnixStream,
        incoming: Incoming,
    }

    fn listener(watchers: &mut Watchers, history: u64) -> Listener {
        let (ours, theirs) = UnixStream::pair().unwrap();
        watchers.admit(theirs).unwrap();
        let mut hello = Vec::new();
        let owner = false;
        Say::Hello(Hello { owner, history })
            .append(&mut hello)
            .unwrap();
        (&ours).write_all(&hello).unwrap();
        for (number, say) in watchers.hear() {
            if let Say::Hello(hello) = say {
                watchers.greeted(number, hello);
            }
        }
        ours.set_nonblocking(true).unwrap();
        Listener {
            stream: ours,
            incoming: Incoming::default(),
        }
    }

    impl Listener {
        /// Everything that is under way, with output in one piece where nothing is in between.
        fn hear(&mut self, watchers: &mut Watchers) -> Vec<Tell> {
            let mut heard = Vec::new();
            let mut bytes = [0; 4096];
            loop {
                watchers.send();
                match self.stream.read(&mut bytes) {
                    Ok(count @ 1..) => self.incoming.extend(&bytes[..count]),
                    _ => break,
                }
                while let Some(tell) = self.incoming.take().unwrap() {
                    match (heard.last_mut(), tell) {
                        (Some(Tell::Output(before)), Tell::Output(more)) => before.extend(more),
                        (_, tell) => heard.push(tell),
                    }
                }
            }
            heard
        }
    }

    fn output(bytes: &[u8]) -> Tell {
        Tell::Output(bytes.to_vec())
    }

    #[test]
    fn several_hear_everything_and_notices_where_they_belong() {
        let mut watchers = Watchers::new(1000);
        watchers.output(b"boot\n");
        let mut early = listener(&mut watchers, u64::MAX);
        watchers.output(b"half");
        let notice = Tell::Notice("paused".to_owned());
        watchers.tell(&notice);
        watchers.output(b" a line\n");
        let mut late = listener(&mut watchers, 7);
        watchers.output(b"more");
        assert_eq!(
            early.hear(&mut watchers),
            [output(b"boot\nhalf"), notice, output(b" a line\nmore")]
        );
        assert_eq!(late.hear(&mut watchers), [output(b"a line\nmore")]);
        assert!(watchers.are_told());
        drop(late);
        watchers.output(b"!");
        assert_eq!(early.hear(&mut watchers), [output(b"!")]);
    }

    #[test]
    fn who_takes_nothing_is_told_how_much_was_dropped_and_holds_up_nobody() {
        let kept = 100_000;
        let mut watchers = Watchers::new(kept);
        let mut slow = listener(&mut watchers, 0);
        let mut quick = listener(&mut watchers, 0);
        let line: Vec<u8> = (0..=255).collect();
        let mut said = Vec::new();
        let mut heard = Vec::new();
        for _ in 0..10_000 {
            watchers.output(&line);
            said.extend_from_slice(&line);
            for tell in quick.hear(&mut watchers) {
                match tell {
                    Tell::Output(bytes) => heard.extend(bytes),
                    tell => panic!("{tell:?}"),
                }
            }
        }
        assert!(heard == said, "the quick one has missed something");
        let mut place = 0;
        let mut dropped = 0;
        for tell in slow.hear(&mut watchers) {
            match tell {
                Tell::Output(bytes) => {
                    assert!(said[place..].starts_with(&bytes));
                    place += bytes.len();
                }
                Tell::Dropped(count) => {
                    dropped += 1;
                    place += usize::try_from(count).unwrap();
                }
                tell => panic!("{tell:?}"),
            }
        }
        assert_eq!((place, dropped), (said.len(), 1));
    }
}
