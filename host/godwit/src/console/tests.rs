// SPDX-License-Identifier: BSD-2-Clause
//! A real pseudo-terminal, and what is typed at one.

use std::fs::File;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::LocalModes;

use super::*;

/// Both ends of a pseudo-terminal.
pub(crate) fn terminal() -> (File, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let path = name.to_str().unwrap().to_owned();
    let mut options = File::options();
    let terminal = options.read(true).write(true).open(path).unwrap();
    (File::from(master), terminal)
}

#[test]
fn a_terminal_is_what_it_was_once_this_ends() {
    let (_master, terminal) = terminal();
    let modes = |terminal: &File| tcgetattr(terminal).unwrap().local_modes;
    let before = modes(&terminal);
    assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    let raw = RawTerminal::enter(&terminal).unwrap().unwrap();
    assert!(!modes(&terminal).intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    drop(raw);
    assert_eq!(modes(&terminal), before);
    let file = File::open("/dev/null").unwrap();
    assert!(RawTerminal::enter(&file).unwrap().is_none());
}

#[test]
fn a_terminal_has_a_size_if_it_says_so() {
    let (master, terminal) = terminal();
    assert_eq!(size(&terminal), None);
    let mut wanted = tcgetwinsize(&terminal).unwrap();
    (wanted.ws_row, wanted.ws_col) = (33, 101);
    rustix::termios::tcsetwinsize(&master, wanted).unwrap();
    assert_eq!(size(&terminal), Some((33, 101)));
    assert_eq!(size(File::open("/dev/null").unwrap()), None);
}

#[test]
fn one_key_is_not_the_guests_and_what_follows_it_is_a_command() {
    let typed = |bytes: &[u8]| Keys::default().typed(bytes);
    let guest = |text: &[u8]| (text.to_vec(), Vec::new());
    assert_eq!(typed(b"ls\x03\n\xff"), guest(b"ls\x03\n\xff"));
    let cases: [(&[u8], &[u8], &[Command]); 6] = [
        (b"a\x1d", b"a", &[Command::Ask]),
        (b"a\x1d\x1db", b"a\x1db", &[Command::Ask]),
        (b"\x1dxq", b"q", &[Command::Ask, Command::Nothing]),
        (b"\x1ddlost", b"", &[Command::Ask, Command::Detach]),
        (b"\x1dq", b"", &[Command::Ask, Command::End]),
        (
            b"\x1d?d",
            b"",
            &[Command::Ask, Command::Help, Command::Detach],
        ),
    ];
    for (bytes, rest, commands) in cases {
        let (guest, found) = typed(bytes);
        assert_eq!(
            (guest.as_slice(), found.as_slice()),
            (rest, commands),
            "{bytes:?}"
        );
        // However it is cut.
        let (mut keys, mut guest, mut found) = (Keys::default(), Vec::new(), Vec::new());
        for byte in bytes {
            let (more, asked) = keys.typed(&[*byte]);
            let left = matches!(found.last(), Some(Command::Detach | Command::End));
            guest.extend(more.into_iter().filter(|_| !left));
            found.extend(asked);
        }
        assert_eq!(
            (guest.as_slice(), found.as_slice()),
            (rest, commands),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_text_is_seen_however_it_is_cut() {
    let mut watch = Watch::new("ready");
    assert!(!watch.sees(b"booting, rea") && watch.sees(b"dy\n"));
}
