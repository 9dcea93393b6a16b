// SPDX-License-Identifier: BSD-2-Clause
//! What a keeper and those who watch its board say to each other, over a Unix socket.
//!
//! Responsible for: the one definition of these messages. Both ends are the same program; a keeper of another version
//! refuses a greeting that it does not understand. Never: read from anybody but this user: the socket is in a directory
//! that only he can enter.

use std::io;

use serde::{Deserialize, Serialize};

/// A message is its kind, its length in four bytes, little-endian, and so many bytes.
const HEAD: usize = 5;
/// No message is longer.
const MOST: usize = 1 << 20;

/// How a board ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The guest switched itself off.
    PoweredOff,
    /// The guest was stopped for a fault.
    Failed(String),
    /// Somebody ended it.
    Ended,
    /// Its keeper was asked to end.
    Signal,
    /// It does not work, or no longer.
    Broken(String),
}

/// To a keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// The first word.
    Hello(Hello),
    /// What was typed.
    Input(Vec<u8>),
    /// The board does not end with this watcher any more.
    Detach,
    /// The board is to end.
    End,
    /// What a guest that is about to arrive has said last elsewhere.
    History(Vec<u8>),
}

/// The first word of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The board ends with it, unless it detaches first.
    pub owner: bool,
    /// How many bytes of what was said before it wants to hear.
    pub history: u64,
}

/// From a keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// What the guest says.
    Output(Vec<u8>),
    /// So many bytes of that were not kept for this watcher, which took nothing for too long.
    Dropped(u64),
    /// What a person should know.
    Notice(String),
    /// The board runs, and what was to be heard of before has been told.
    Started,
    /// What the guest has said last elsewhere: for a screen, and no part of what it says here.
    Screen(Vec<u8>),
    /// The console has taken so many bytes of this watcher's input.
    Took(u64),
    /// The board has ended; the last message.
    Ended(End),
}

/// A message as bytes.
pub trait Message: Sized {
    /// Its kind and what it consists of.
    fn parts(&self) -> io::Result<(u8, Vec<u8>)>;
    /// The message of this kind that consists of this, if that is one.
    fn of(kind: u8, body: Vec<u8>) -> Option<Self>;

    /// Appends it to what is on its way.
    ///
    /// # Errors
    ///
    /// It is too long.
    fn append(&self, to: &mut Vec<u8>) -> io::Result<()> {
        let (kind, body) = self.parts()?;
        let length = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= MOST)
            .ok_or(io::ErrorKind::InvalidInput)?;
        to.push(kind);
        to.extend(length.to_le_bytes());
        to.extend(body);
        Ok(())
    }
}

fn number(body: &[u8]) -> Option<u64> {
    body.try_into().ok().map(u64::from_le_bytes)
}

impl Message for Say {
    fn parts(&self) -> io::Result<(u8, Vec<u8>)> {
        Ok(match self {
            Self::Hello(hello) => (1, serde_json::to_vec(hello)?),
            Self::Input(bytes) => (2, bytes.clone()),
            Self::Detach => (3, Vec::new()),
            Self::End => (4, Vec::new()),
            Self::History(bytes) => (5, bytes.clone()),
        })
    }

    fn of(kind: u8, body: Vec<u8>) -> Option<Self> {
        Some(match kind {
            1 => Self::Hello(serde_json::from_slice(&body).ok()?),
            2 => Self::Input(body),
            3 => Self::Detach,
            4 => Self::End,
            5 => Self::History(body),
            _ => return None,
        })
    }
}

impl Message for Tell {
    fn parts(&self) -> io::Result<(u8, Vec<u8>)> {
        let number = |value: &u64| value.to_le_bytes().to_vec();
        Ok(match self {
            Self::Output(bytes) => (1, bytes.clone()),
            Self::Dropped(count) => (2, number(count)),
            Self::Notice(text) => (3, text.clone().into_bytes()),
            Self::Started => (4, Vec::new()),
            Self::Took(count) => (5, number(count)),
            Self::Ended(end) => (6, serde_json::to_vec(end)?),
            Self::Screen(bytes) => (7, bytes.clone()),
        })
    }

    fn of(kind: u8, body: Vec<u8>) -> Option<Self> {
        Some(match kind {
            1 => Self::Output(body),
            2 => Self::Dropped(number(&body)?),
            3 => Self::Notice(String::from_utf8(body).ok()?),
            4 => Self::Started,
            5 => Self::Took(number(&body)?),
            6 => Self::Ended(serde_json::from_slice(&body).ok()?),
            7 => Self::Screen(body),
            _ => return None,
        })
    }
}

/// Bytes that become messages.
#[derive(Debug, Default)]
pub struct Incoming(Vec<u8>);

impl Incoming {
    /// More bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next message, if it is complete.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn take<M: Message>(&mut self) -> io::Result<Option<M>> {
        let [kind, length @ ..] = match self.0.first_chunk::<HEAD>() {
            Some(head) => *head,
            None => return Ok(None),
        };
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(body) = self.0.get(HEAD..HEAD + length) else {
            return Ok(None);
        };
        let message = M::of(kind, body.to_vec()).ok_or(io::ErrorKind::InvalidData)?;
        self.0.drain(..HEAD + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent_however_they_are_cut() {
        let says = [
            Say::Hello(Hello {
                owner: true,
                history: 5,
            }),
            Say::Input(b"ls\n\x1d\xff".to_vec()),
            Say::Detach,
            Say::End,
            Say::History(Vec::new()),
        ];
        let tells = [
            Tell::Output(vec![0xff; 70_000]),
            Tell::Dropped(u64::MAX),
            Tell::Notice("größer".to_owned()),
            Tell::Started,
            Tell::Screen(b"/ # ".to_vec()),
            Tell::Took(7),
            Tell::Ended(End::Broken("QEMU ended".to_owned())),
        ];
        for piece in [1, 4, 5, 4096, usize::MAX] {
            assert_eq!(through(&says, piece), says);
            assert_eq!(through(&tells, piece), tells);
        }
    }

    fn through<M: Message>(messages: &[M], piece: usize) -> Vec<M> {
        let mut bytes = Vec::new();
        messages
            .iter()
            .for_each(|message| message.append(&mut bytes).unwrap());
        let mut incoming = Incoming::default();
        let mut arrived = Vec::new();
        for bytes in bytes.chunks(piece.min(bytes.len())) {
            incoming.extend(bytes);
            while let Some(message) = incoming.take().unwrap() {
                arrived.push(message);
            }
        }
        arrived
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [
            [9, 0, 0, 0, 0],
            [1, 0xff, 0xff, 0xff, 0xff],
            [1, 0, 0, 0, 0],
        ] {
            let mut incoming = Incoming::default();
            incoming.extend(&bytes);
            assert!(incoming.take::<Say>().is_err(), "{bytes:?}");
        }
        let long = Say::Input(vec![0; MOST + 1]);
        assert!(long.append(&mut Vec::new()).is_err());
    }
}
