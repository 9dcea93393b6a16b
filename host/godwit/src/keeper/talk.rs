// SPDX-License-Identifier: BSD-2-Clause
//! A few words with a board's keeper, for whoever does not stay to watch.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::messages::{End, Hello, Incoming, Message as _, Say, Tell};
use crate::timeouts::GREETING;

/// How much of what was said makes a screen: 80 columns and 25 rows, and as much again for colours.
const SCREEN: u64 = 2 * 80 * 25;

/// Ends the board behind a connection on which nothing was said, and waits until it has.
///
/// # Errors
///
/// The keeper does not say so.
pub fn end(keeper: UnixStream) -> io::Result<End> {
    let mut talk = Talk::begin(keeper, false, 0)?;
    talk.say(&Say::End)?;
    loop {
        if let Tell::Ended(end) = talk.hear()? {
            return Ok(end);
        }
    }
}

/// Leaves the board behind a connection on which nothing was said to itself, as soon as it runs. How it ended, if it did
/// instead.
///
/// # Errors
///
/// The keeper does not say so.
pub fn detach(keeper: UnixStream) -> io::Result<Option<End>> {
    let mut talk = Talk::begin(keeper, true, 0)?;
    loop {
        match talk.hear()? {
            Tell::Started => {
                talk.say(&Say::Detach)?;
                return Ok(None);
            }
            Tell::Ended(end) => return Ok(Some(end)),
            _ => {}
        }
    }
}

/// What the guest behind a connection on which nothing was said has said last: about a screen of it, from the beginning of
/// a line.
///
/// # Errors
///
/// The keeper does not say so.
pub fn last_screen(keeper: UnixStream) -> io::Result<Vec<u8>> {
    keeper.set_read_timeout(Some(GREETING))?;
    let mut talk = Talk::begin(keeper, false, SCREEN)?;
    let mut said = Vec::new();
    loop {
        match talk.hear()? {
            Tell::Output(bytes) => said.extend(bytes),
            Tell::Started => break,
            _ => {}
        }
    }
    if said.len() as u64 == SCREEN {
        let line = said.iter().position(|byte| *byte == b'\n');
        said.drain(..line.map_or(0, |line| line + 1));
    }
    Ok(said)
}

/// Gives the keeper behind a connection on which nothing was said what the guest that is about to arrive has said last.
///
/// # Errors
///
/// The keeper does not listen.
pub fn tell_last_screen(keeper: UnixStream, screen: Vec<u8>) -> io::Result<()> {
    Talk::begin(keeper, false, 0)?.say(&Say::History(screen))
}

/// A few words with a keeper.
struct Talk {
    keeper: UnixStream,
    incoming: Incoming,
}

impl Talk {
    fn begin(keeper: UnixStream, owner: bool, history: u64) -> io::Result<Self> {
        let mut talk = Self {
            keeper,
            incoming: Incoming::default(),
        };
        talk.say(&Say::Hello(Hello { owner, history }))?;
        Ok(talk)
    }

    fn say(&mut self, say: &Say) -> io::Result<()> {
        let mut bytes = Vec::new();
        say.append(&mut bytes)?;
        self.keeper.write_all(&bytes)
    }

    fn hear(&mut self) -> io::Result<Tell> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(tell) = self.incoming.take()? {
                return Ok(tell);
            }
            match self.keeper.read(&mut bytes)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.incoming.extend(bytes.get(..count).unwrap_or_default()),
            }
        }
    }
}
