//! Consoles joined to streams and to a real pseudo-terminal.

use std::fs::File;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::LocalModes;

use super::*;

const QUIET: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(10);

/// A bridge whose input, console and news are in the test's hands.
struct Setting {
    bridge: Bridge<UnixStream, Vec<u8>>,
    typist: UnixStream,
    guest: UnixStream,
    news: UnixStream,
    teller: UnixStream,
}

fn setting(held_until: Option<&str>) -> Setting {
    let [(typist, input), (guest, console), (teller, news)] =
        [(); 3].map(|()| UnixStream::pair().unwrap());
    guest.set_read_timeout(Some(LIMIT)).unwrap();
    let bridge = Bridge::new(input, Vec::new(), console, held_until).unwrap();
    Setting {
        bridge,
        typist,
        guest,
        news,
        teller,
    }
}

impl Setting {
    /// Carries until the teller's byte has been seen behind everything else.
    fn carry(&mut self) -> Turn {
        self.teller.write_all(&[0]).unwrap();
        let turn = self.bridge.carry(&self.news).unwrap();
        (&self.news).read_exact(&mut [0]).unwrap();
        turn
    }

    fn heard(&mut self, count: usize) -> String {
        let mut bytes = vec![0; count];
        self.guest.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn bytes_are_carried_unchanged_in_both_directions() {
    let mut setting = setting(None);
    setting.typist.write_all(b"ls\n\x1d\xff").unwrap();
    setting.guest.write_all(b"# \x1b[6n\xfe").unwrap();
    assert_eq!(setting.carry(), Turn::News);
    assert_eq!(setting.bridge.output, b"# \x1b[6n\xfe");
    let mut bytes = [0; 5];
    setting.guest.read_exact(&mut bytes).unwrap();
    assert_eq!(
        &bytes, b"ls\n\x1d\xff",
        "no key is special but a terminal's"
    );
}

#[test]
fn input_waits_until_the_guest_listens() {
    let mut setting = setting(Some("ready"));
    setting.typist.write_all(b"poweroff\n").unwrap();
    setting.guest.write_all(b"booting, rea").unwrap();
    assert_eq!(setting.carry(), Turn::News);
    setting.guest.set_nonblocking(true).unwrap();
    let early = setting.guest.read(&mut [0]);
    assert_eq!(early.unwrap_err().kind(), ErrorKind::WouldBlock);
    setting.guest.set_nonblocking(false).unwrap();
    setting.guest.write_all(b"dy\n").unwrap();
    assert_eq!(setting.carry(), Turn::News);
    assert_eq!(setting.carry(), Turn::News);
    assert_eq!(setting.heard(9), "poweroff\n");
}

#[test]
fn the_end_of_the_input_is_not_the_end_of_the_console() {
    let mut setting = setting(None);
    let (other, _) = UnixStream::pair().unwrap();
    setting.typist.write_all(b"x").unwrap();
    setting.typist = other;
    assert_eq!(setting.carry(), Turn::News);
    assert_eq!(setting.carry(), Turn::News);
    assert_eq!(setting.heard(1), "x");
    setting.guest.write_all(b"still here").unwrap();
    assert_eq!(setting.carry(), Turn::News);
    assert_eq!(setting.bridge.output, b"still here");
}

#[test]
fn a_console_that_is_gone_ends_it() {
    let mut setting = setting(None);
    setting.guest.write_all(b"bye").unwrap();
    let (other, _) = UnixStream::pair().unwrap();
    setting.guest = other;
    assert_eq!(setting.bridge.carry(&setting.news).unwrap(), Turn::Closed);
    assert_eq!(setting.bridge.output, b"bye");
}

#[test]
fn last_words_are_carried_and_notices_begin_on_a_line_of_their_own() {
    let mut setting = setting(None);
    setting.guest.write_all(b"Power down\r").unwrap();
    setting.bridge.drain(QUIET, LIMIT).unwrap();
    setting.bridge.finish_line().unwrap();
    setting.bridge.finish_line().unwrap();
    assert_eq!(setting.bridge.output, b"Power down\r\n");
    setting.guest.write_all(b"one\r\n").unwrap();
    setting.bridge.drain(QUIET, LIMIT).unwrap();
    setting.bridge.finish_line().unwrap();
    assert_eq!(setting.bridge.output, b"Power down\r\none\r\n");
}

/// Both ends of a pseudo-terminal.
fn terminal() -> (File, File) {
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
fn the_escape_key_leaves_and_what_was_typed_before_stays_with_the_guest() {
    let (mut master, terminal) = terminal();
    let _raw = RawTerminal::enter(&terminal).unwrap();
    let (mut guest, console) = UnixStream::pair().unwrap();
    let (_teller, news) = UnixStream::pair().unwrap();
    let mut bridge = Bridge::new(terminal, Vec::new(), console, Some("never")).unwrap();
    master.write_all(b"a\x03").unwrap();
    let typist = std::thread::spawn(move || {
        let mut bytes = [0; 2];
        guest.read_exact(&mut bytes).unwrap();
        master.write_all(&[ESCAPE]).unwrap();
        (bytes, master, guest)
    });
    assert_eq!(bridge.carry(&news).unwrap(), Turn::Escape);
    let (bytes, _master, _guest) = typist.join().unwrap();
    assert_eq!(&bytes, b"a\x03", "Ctrl-C is the guest's");
}
