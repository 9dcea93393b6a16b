// SPDX-License-Identifier: BSD-2-Clause
//! Where a board's link is: what the operator types, and what messages say.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// Where a board's link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix-domain socket, as QEMU offers one for a virtual console.
    Unix(PathBuf),
    /// That of a board which runs here under a name; messages call it by that.
    Running {
        /// Its name.
        name: String,
        /// Its socket.
        link: PathBuf,
    },
    /// A TCP socket.
    Tcp {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A serial line.
    Serial {
        /// Its device file.
        device: PathBuf,
        /// Its speed in bits a second.
        baud: u32,
    },
}

/// What a board's address looks like.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{given:?} is not the address of a board: use unix:PATH (or a path with a slash in it), \
     tcp:HOST:PORT, or serial:DEVICE,BAUD"
)]
pub struct AddressError {
    /// What was given.
    pub given: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(given: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError {
            given: given.to_owned(),
        };
        if let Some(path) = given.strip_prefix("unix:") {
            return match path {
                "" => Err(wrong()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if let Some(rest) = given.strip_prefix("tcp:") {
            let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            return match (host, port.parse()) {
                ("", _) | (_, Err(_)) => Err(wrong()),
                (host, Ok(port)) => Ok(Self::Tcp {
                    host: host.to_owned(),
                    port,
                }),
            };
        }
        if let Some(rest) = given.strip_prefix("serial:") {
            let (device, baud) = rest.rsplit_once(',').ok_or_else(wrong)?;
            return match (device, baud.parse()) {
                ("", _) | (_, Err(_) | Ok(0)) => Err(wrong()),
                (device, Ok(baud)) => Ok(Self::Serial {
                    device: device.into(),
                    baud,
                }),
            };
        }
        if given.contains('/') {
            Ok(Self::Unix(given.into()))
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Running { name, .. } => formatter.write_str(name),
            Self::Tcp { host, port } if host.contains(':') => {
                write!(formatter, "tcp:[{host}]:{port}")
            }
            Self::Tcp { host, port } => write!(formatter, "tcp:{host}:{port}"),
            Self::Serial { device, baud } => {
                write!(formatter, "serial:{},{baud}", device.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_they_are_written() {
        let cases = [
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("./a.sock", "unix:./a.sock"),
            ("tcp:board-7:4000", "tcp:board-7:4000"),
            ("tcp:[::1]:4000", "tcp:[::1]:4000"),
            ("serial:/dev/ttyUSB0,115200", "serial:/dev/ttyUSB0,115200"),
        ];
        for (given, shown) in cases {
            let address: Address = given.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
        for wrong in [
            "",
            "a.sock",
            "unix:",
            "tcp:host",
            "tcp::1",
            "tcp:host:70000",
            "serial:/dev/ttyUSB0",
            "serial:,9600",
            "serial:/dev/ttyUSB0,0",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
