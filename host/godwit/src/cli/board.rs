// SPDX-License-Identifier: BSD-2-Clause
//! Boards as they are named on the command line.

use anyhow::Context as _;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::style::notice;

use crate::client::{Client, ClientError};
use crate::link::{Address, LinkError};
use crate::running::{Job, JobGuard, Registry, RegistryError, Role, Running};
use crate::timeouts::{CONNECT, START};

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

/// That two boards are one.
#[derive(Debug, thiserror::Error)]
#[error("{from} and {to} are the same board: name the one where the guest is, and another one")]
pub(super) struct SameBoard {
    from: BoardName,
    to: BoardName,
}

/// Begins something that takes two boards and that nobody else may disturb.
pub(super) fn begin_between(
    from: &BoardName,
    to: &BoardName,
    roles: [Role; 2],
) -> anyhow::Result<JobGuard> {
    let registry = Registry::of_user()?;
    let (source, destination) = (from.address()?, to.address()?);
    if registry.key(&source) == registry.key(&destination) {
        return Err(SameBoard {
            from: from.clone(),
            to: to.clone(),
        }
        .into());
    }
    let [leaves, arrives] = roles;
    Ok(registry.begin(vec![
        (from.to_string(), &source, leaves),
        (to.to_string(), &destination, arrives),
    ])?)
}

impl BoardName {
    /// Begins something with this board that nobody else may disturb.
    pub(super) fn begin(&self, role: Role) -> anyhow::Result<JobGuard> {
        let address = self.address()?;
        Ok(Registry::of_user()?.begin(vec![(self.to_string(), &address, role)])?)
    }

    /// What another command is doing with the board.
    pub(super) fn job(&self) -> anyhow::Result<Option<Job>> {
        Ok(Registry::of_user()?.job(&self.address()?))
    }

    /// An error if another command is at work on the board.
    pub(super) fn is_free(&self) -> anyhow::Result<()> {
        match self.job()? {
            None => Ok(()),
            Some(job) => Err(RegistryError::Busy {
                board: self.to_string(),
                job: Box::new(job),
            }
            .into()),
        }
    }

    /// Whether several commands can use its link at the same time.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// The socket of its keeper, if it runs here.
    pub(super) fn terminal(&self) -> Option<PathBuf> {
        match self {
            Self::Running(name) => Some(Registry::of_user().ok()?.find(name).ok()?.terminal),
            Self::Link(_) => None,
        }
    }

    /// Whether it is known where its link is.
    pub(super) fn exists(&self) -> bool {
        self.address().is_ok()
    }

    /// Where its link is.
    fn address(&self) -> Result<Address, RegistryError> {
        Ok(match self {
            Self::Running(name) => {
                let Running { name, link, .. } = Registry::of_user()?.find(name)?;
                Address::Running { name, link }
            }
            Self::Link(address) => address.clone(),
        })
    }

    /// Connects to the board.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        let address = self.address()?;
        let timeout = match &address {
            Address::Running { name, link } if !link.exists() => {
                notice(&format!(
                    "board {name} is being built or started; waiting for it"
                ));
                START
            }
            _ => CONNECT,
        };
        let connected = Client::connect(&address, timeout);
        let busy = matches!(
            &connected,
            Err(ClientError::Link(LinkError::Lost { error, .. }))
                if error.kind() == std::io::ErrorKind::UnexpectedEof
        );
        if busy {
            connected.with_context(|| {
                format!("board {self}: too many commands are using its link; wait for them to end")
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
