// SPDX-License-Identifier: BSD-2-Clause
//! Somebody at a console, with this test in place of the keeper.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::*;
use crate::console::ESCAPE;
use crate::console::tests::terminal;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

type Done = (Left, Vec<String>);

/// The keeper's end, and the watcher in a thread.
struct Setting {
    stream: UnixStream,
    incoming: Incoming,
    watcher: JoinHandle<Done>,
}

fn options() -> Attach {
    Attach {
        name: "a".to_owned(),
        owner: true,
        history: 0,
        held_until: None,
    }
}

fn setting<I, O>(options: Attach, input: I, output: O) -> Setting
where
    I: AsFd + Read + Send + 'static,
    O: AsFd + Write + Send + 'static,
{
    let (keeper, stream) = UnixStream::pair().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let watcher = thread::spawn(move || {
        let mut notices = Vec::new();
        let mut notice = |text: &str| notices.push(text.to_owned());
        let left = attach(
            keeper,
            &options,
            Signals::new().unwrap(),
            (input, output),
            &mut notice,
        )
        .unwrap();
        (left, notices)
    });
    let mut setting = Setting {
        stream,
        incoming: Incoming::default(),
        watcher,
    };
    assert!(matches!(setting.hear(), Say::Hello(_)));
    setting
}

impl Setting {
    fn hear(&mut self) -> Say {
        let mut bytes = [0; 4096];
        loop {
            if let Some(say) = self.incoming.take().unwrap() {
                return say;
            }
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "it has gone");
            self.incoming.extend(&bytes[..count]);
        }
    }

    /// What is typed, up to so many bytes.
    fn typed(&mut self, count: usize) -> Vec<u8> {
        let mut typed = Vec::new();
        while typed.len() < count {
            match self.hear() {
                Say::Input(bytes) => typed.extend(bytes),
                say => panic!("{say:?}"),
            }
        }
        typed
    }

    fn tell(&mut self, tell: &Tell) {
        let mut bytes = Vec::new();
        tell.append(&mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn say(&mut self, text: &[u8]) {
        self.tell(&Tell::Output(text.to_vec()));
    }

    fn end(mut self, end: End) -> Done {
        self.tell(&Tell::Ended(end));
        self.watcher.join().unwrap()
    }
}

/// Everything that comes until it ends.
fn all(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_are_carried_unchanged_in_both_directions_and_notices_are_no_part_of_them() {
    let [(mut typist, input), (screen, output)] = [(); 2].map(|()| UnixStream::pair().unwrap());
    let mut setting = setting(options(), input, output);
    typist.write_all(b"ls\n\x1d\xff").unwrap();
    assert_eq!(
        setting.typed(5),
        b"ls\n\x1d\xff",
        "no key is special but a terminal's"
    );
    drop(typist);
    setting.say(b"# \x1b[6n\xfe");
    setting.tell(&Tell::Notice("paused".to_owned()));
    setting.tell(&Tell::Dropped(77));
    setting.say(b"still here");
    let (left, notices) = setting.end(End::PoweredOff);
    assert_eq!(left, Left::Ended(End::PoweredOff));
    assert_eq!(all(screen), b"# \x1b[6n\xfestill here");
    assert_eq!(notices[0], "paused");
    assert!(notices[1].contains("77 bytes"), "{notices:?}");
}

#[test]
fn input_waits_until_the_guest_listens_and_takes_it() {
    let [(mut typist, input), (_screen, output)] = [(); 2].map(|()| UnixStream::pair().unwrap());
    let options = Attach {
        held_until: Some("ready".to_owned()),
        ..options()
    };
    let mut setting = setting(options, input, output);
    typist.write_all(&[b'x'; 3 * WAITING]).unwrap();
    setting.say(b"booting, rea");
    setting.stream.set_nonblocking(true).unwrap();
    assert!(setting.stream.read(&mut [0]).is_err(), "too early");
    setting.stream.set_nonblocking(false).unwrap();
    setting.say(b"dy\n");
    let mut taken = 0;
    while taken < 3 * WAITING {
        let Say::Input(bytes) = setting.hear() else {
            panic!("something else than input");
        };
        taken += bytes.len();
        setting.tell(&Tell::Took(bytes.len() as u64));
    }
    assert_eq!(setting.end(End::Ended).0, Left::Ended(End::Ended));
}

#[test]
fn the_key_at_a_terminal_asks_leaves_and_ends() {
    let end = |bytes: &[u8], say: &Say, wanted: Left| {
        let (mut master, terminal) = terminal();
        let _raw = crate::console::RawTerminal::enter(&terminal).unwrap();
        let (_screen, output) = UnixStream::pair().unwrap();
        let mut setting = setting(options(), terminal, output);
        master.write_all(b"a\x03").unwrap();
        assert_eq!(setting.typed(2), b"a\x03", "Ctrl-C is the guest's");
        master.write_all(&[ESCAPE, ESCAPE]).unwrap();
        assert_eq!(setting.typed(1), [ESCAPE]);
        master.write_all(&[ESCAPE]).unwrap();
        master.write_all(bytes).unwrap();
        assert_eq!(setting.hear(), *say);
        let (left, notices) = match wanted {
            // It does not wait for an answer.
            Left::Detached => setting.watcher.join().unwrap(),
            _ => setting.end(End::Ended),
        };
        assert_eq!(left, wanted);
        assert!(notices[0].contains("d leaves"), "{notices:?}");
    };
    end(b"d", &Say::Detach, Left::Detached);
    end(b"q", &Say::End, Left::Ended(End::Ended));
}

#[test]
fn a_terminal_that_is_hung_up_leaves_the_board_alone() {
    let (master, terminal) = terminal();
    let (_screen, output) = UnixStream::pair().unwrap();
    let mut setting = setting(options(), terminal, output);
    drop(master);
    assert_eq!(setting.hear(), Say::Detach);
    assert_eq!(setting.watcher.join().unwrap().0, Left::Detached);
}

#[test]
fn a_reader_that_has_gone_ends_it_without_a_complaint() {
    let (_typist, input) = UnixStream::pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut setting = setting(options(), input, writer);
    drop(reader);
    setting.say(b"to nobody");
    assert_eq!(setting.hear(), Say::End);
    assert_eq!(setting.end(End::Ended).0, Left::Ended(End::Ended));
}

#[test]
fn what_a_guest_asked_before_is_not_asked_again() {
    let (mut master, terminal) = terminal();
    let _raw = crate::console::RawTerminal::enter(&terminal).unwrap();
    let output = terminal.try_clone().unwrap();
    let mut setting = setting(options(), terminal, output);
    setting.say(b"/ # \x1b[6nls\r\n\x1b[");
    setting.say(b"6n/ # ");
    setting.tell(&Tell::Started);
    setting.say(b"\x1b[6n!");
    let mut shown = vec![0; 18];
    master.read_exact(&mut shown).unwrap();
    // The terminal adds a return to each line feed.
    assert_eq!(shown, b"/ # ls\r\r\n/ # \x1b[6n!");
    assert_eq!(setting.end(End::Ended).0, Left::Ended(End::Ended));
}

#[test]
fn keys_count_while_the_output_takes_nothing() {
    let (mut master, terminal) = terminal();
    let _raw = crate::console::RawTerminal::enter(&terminal).unwrap();
    let (unread, full) = std::io::pipe().unwrap();
    let mut setting = setting(options(), terminal, full);
    // Much more than a pipe holds, and than is taken from the keeper meanwhile.
    setting.stream.set_nonblocking(true).unwrap();
    let mut much = Vec::new();
    Tell::Output(vec![b'y'; 1 << 20]).append(&mut much).unwrap();
    let mut sent = 0;
    let until = std::time::Instant::now() + Duration::from_millis(300);
    while std::time::Instant::now() < until {
        sent += setting.stream.write(&much[sent..]).unwrap_or(0);
    }
    setting.stream.set_nonblocking(false).unwrap();
    master.write_all(b"x").unwrap();
    assert_eq!(setting.typed(1), b"x");
    master.write_all(&[ESCAPE, b'd']).unwrap();
    assert_eq!(setting.hear(), Say::Detach);
    assert_eq!(setting.watcher.join().unwrap().0, Left::Detached);
    drop(unread);
}
