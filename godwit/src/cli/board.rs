//! Boards as they are named on the command line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;

use super::style::notice;

use crate::client::{Client, ClientError};
use crate::link::{Address, LinkError};
use crate::running::Registry;

/// How long a board's link may take to answer at first.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a board that is being built or started may take until it has a link.
const START: Duration = Duration::from_secs(120);

/// A board as it was named: of those that run here, or by its link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BoardName {
    /// A name under which it runs here.
    Running(String),
    /// Its link.
    Link(Address),
}

impl FromStr for BoardName {
    type Err = crate::link::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(['/', ':']) {
            text.parse().map(Self::Link)
        } else {
            Ok(Self::Running(text.to_owned()))
        }
    }
}

impl fmt::Display for BoardName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(name) => formatter.write_str(name),
            Self::Link(address) => address.fmt(formatter),
        }
    }
}

impl BoardName {
    /// Connects to the board.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        let (address, timeout) = match self {
            Self::Running(name) => {
                let link = Registry::of_user()?.find(name)?.link;
                let starting = !link.exists();
                if starting {
                    notice(&format!(
                        "board {name} is being built or started; waiting for it"
                    ));
                }
                (Address::Unix(link), if starting { START } else { CONNECT })
            }
            Self::Link(address) => (address.clone(), CONNECT),
        };
        let connected = Client::connect(&address, timeout);
        let busy = matches!(
            &connected,
            Err(ClientError::Link(LinkError::Lost { error, .. }))
                if error.kind() == std::io::ErrorKind::UnexpectedEof
        );
        if busy {
            connected.with_context(|| {
                format!(
                    "board {self}: another command is using its link; wait for it to end, or end it"
                )
            })
        } else {
            Ok(connected?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_named_or_addressed() {
        let name: BoardName = "left".parse().unwrap();
        assert_eq!(name, BoardName::Running("left".to_owned()));
        for link in ["unix:/run/a.link", "./a.link", "tcp:board-7:4000"] {
            assert!(
                matches!(link.parse(), Ok(BoardName::Link(_))),
                "{link} is a link"
            );
        }
        assert!("udp:1".parse::<BoardName>().is_err());
    }
}
