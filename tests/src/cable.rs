// SPDX-License-Identifier: BSD-2-Clause
//! A cable between the host and a board's link, which can be cut at any frame.
//!
//! Responsible for: passing on frames both ways until a rule says that the link ends before or after one; from then on
//! nobody gets through until it is mended. Never: changes or reorders what it passes on.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use godwit::session::Scratch;
use image::Kernel;
use protocol::frame::RESYNC;
use protocol::{Decoder, MAX_FRAME};

use crate::board::Board;
use crate::guests::{self, TestGuest};

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the board to the host.
    FromBoard,
    /// From the host to the board.
    ToBoard,
}

/// A frame on a cable.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'a> {
    /// The board's name.
    pub board: &'a str,
    /// Which way it goes.
    pub way: Way,
    /// Which message; see `protocol::kind`.
    pub kind: u8,
    /// The message's encoding.
    pub payload: &'a [u8],
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is passed on.
    Pass,
    /// All cables are cut before it.
    CutBefore,
    /// It is passed on, then all cables are cut.
    CutAfter,
    /// It is lost with the connection that it was on; whoever connects again gets through.
    Break,
}

/// What decides about each frame, in the order in which they come.
pub type Rule = Box<dyn FnMut(Passing<'_>) -> Action + Send>;

/// Cuts all the cables that it was given to, at once: as if whoever relays were killed.
#[derive(Clone, Default)]
pub struct LinkCutter(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rule: Option<Rule>,
    cut: bool,
    /// How often the rule has cut.
    cuts: u32,
    connections: Vec<Connection>,
    /// The number of the next connection.
    next: u64,
}

/// A connection from the host through a cable to its board.
struct Connection {
    cable: String,
    number: u64,
    ends: [UnixStream; 2],
}

impl Connection {
    fn hang_up(&self) {
        for end in &self.ends {
            // It may have ended already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl std::fmt::Debug for LinkCutter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LinkCutter")
            .field("cut", &self.lock().cut)
            .finish_non_exhaustive()
    }
}

impl LinkCutter {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides by this rule from now on, until it has cut.
    pub fn arm(&self, rule: Rule) {
        let mut state = self.lock();
        state.rule = Some(rule);
        state.cuts = 0;
    }

    /// Passes everything on again; whether the rule had cut.
    pub fn mend(&self) -> bool {
        let mut state = self.lock();
        state.rule = None;
        state.cut = false;
        std::mem::take(&mut state.cuts) > 0
    }

    /// Whether the rule has cut.
    #[must_use]
    pub fn has_cut(&self) -> bool {
        self.lock().cuts > 0
    }

    /// Whether a frame is to be passed on, and whether the cables hold afterwards.
    fn decide(&self, passing: Passing<'_>) -> Action {
        let mut state = self.lock();
        if state.cut {
            return Action::CutBefore;
        }
        let action = state
            .rule
            .as_mut()
            .map_or(Action::Pass, |rule| rule(passing));
        match action {
            Action::Pass => {}
            Action::CutBefore | Action::CutAfter => {
                state.rule = None;
                state.cuts += 1;
                state.cut = true;
            }
            Action::Break => {
                state.rule = None;
                state.cuts += 1;
            }
        }
        action
    }

    /// Ends those connections that `which` says.
    fn hang_up(&self, which: impl Fn(&Connection) -> bool) {
        self.lock().connections.retain(|connection| {
            let ends = which(connection);
            if ends {
                connection.hang_up();
            }
            !ends
        });
    }
}

/// A cable to one board.
#[derive(Debug)]
pub struct Cable {
    name: String,
    outer: PathBuf,
    cutter: LinkCutter,
    over: Arc<Mutex<bool>>,
}

impl Cable {
    /// Lays a cable from `outer`, a socket that it creates, to the board's link at `inner`.
    ///
    /// # Errors
    ///
    /// The socket cannot be created.
    pub fn new(
        name: &str,
        inner: &Path,
        outer: &Path,
        cutter: &LinkCutter,
    ) -> std::io::Result<Self> {
        let listener = UnixListener::bind(outer)?;
        let cable = Self {
            name: name.to_owned(),
            outer: outer.to_owned(),
            cutter: cutter.clone(),
            over: Arc::default(),
        };
        let (name, inner) = (name.to_owned(), inner.to_owned());
        let (cutter, over) = (cutter.clone(), Arc::clone(&cable.over));
        thread::spawn(move || {
            for outer in listener.incoming().map_while(Result::ok) {
                if *over.lock().unwrap_or_else(PoisonError::into_inner) {
                    return;
                }
                if cutter.lock().cut {
                    continue;
                }
                // A board has one connection at a time, and the latest counts.
                cutter.hang_up(|connection| connection.cable == name);
                // Of what was cut, half a frame may have arrived.
                if let Ok(mut inner) = UnixStream::connect(&inner)
                    && inner.write_all(&RESYNC).is_ok()
                {
                    join(&name, inner, outer, &cutter);
                }
            }
        });
        Ok(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.cutter
            .hang_up(|connection| connection.cable == self.name);
        // Wakes the thread that accepts connections, so that it ends.
        let _ = UnixStream::connect(&self.outer);
    }
}

/// Passes on frames both ways, in a thread each, as long as both ends hold.
fn join(name: &str, inner: UnixStream, outer: UnixStream, cutter: &LinkCutter) {
    let (Ok(board), Ok(host)) = (inner.try_clone(), outer.try_clone()) else {
        return;
    };
    let number = {
        let (Ok(inner), Ok(outer)) = (inner.try_clone(), outer.try_clone()) else {
            return;
        };
        let mut state = cutter.lock();
        let number = state.next;
        state.next += 1;
        state.connections.push(Connection {
            cable: name.to_owned(),
            number,
            ends: [inner, outer],
        });
        number
    };
    for (way, from, to) in [(Way::FromBoard, inner, host), (Way::ToBoard, outer, board)] {
        let (name, cutter) = (name.to_owned(), cutter.clone());
        thread::spawn(move || {
            pass_on(&name, way, from, to, &cutter);
            cutter.hang_up(|connection| connection.number == number);
        });
    }
}

fn pass_on(name: &str, way: Way, mut from: UnixStream, mut to: UnixStream, cutter: &LinkCutter) {
    let mut decoder = Decoder::new(vec![0; MAX_FRAME]);
    loop {
        while let Some(frame) = decoder.next() {
            let action = cutter.decide(Passing {
                board: name,
                way,
                kind: frame.kind,
                payload: frame.payload,
            });
            let passed = matches!(action, Action::Pass | Action::CutAfter)
                && to.write_all(frame.bytes).is_ok();
            if matches!(action, Action::CutBefore | Action::CutAfter) {
                cutter.hang_up(|_| true);
            }
            if !passed || action == Action::CutAfter {
                return;
            }
        }
        match from.read(decoder.space()) {
            Ok(0) | Err(_) => return,
            Ok(count) => decoder.filled(count),
        }
    }
}

/// Boards `a` with a guest and `b` without one, each at the end of a cable.
///
/// # Errors
///
/// An image cannot be built, or a board does not start.
pub fn cabled(
    kernel: Kernel,
    guest: &TestGuest,
    scratch: &Scratch,
    cutter: &LinkCutter,
) -> anyhow::Result<[Board; 2]> {
    let empty = guests::empty_image(kernel, guest.ram_mib())?;
    let mut boards = [
        Board::start("a", &guests::image(kernel, guest)?, scratch)?,
        Board::start("b", &empty, scratch)?,
    ];
    for board in &mut boards {
        let name = board.session.name().to_owned();
        board.lay_cable(scratch, |inner, outer| {
            Cable::new(&name, inner, outer, cutter)
        })?;
    }
    Ok(boards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame::{HEADER_LENGTH, finish};

    fn frame(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LENGTH + 8];
        let length = finish(&mut bytes, kind, 0, 8).unwrap();
        bytes.truncate(length);
        bytes
    }

    /// A board that answers every frame with the same frame, once for each connection.
    fn echo(path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut zeros = [1; MAX_FRAME];
                if stream.read_exact(&mut zeros).is_err() || zeros != RESYNC {
                    return;
                }
                let mut bytes = [0; HEADER_LENGTH + 8];
                while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
            }
        });
    }

    fn exchange(path: &Path, kind: u8) -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(path)?;
        let sent = frame(kind);
        stream.write_all(&sent)?;
        let mut answer = vec![0; sent.len()];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn a_cable_passes_on_until_it_is_cut_and_again_once_it_is_mended() {
        let scratch = Scratch::new().unwrap();
        let (inner, outer) = (scratch.path().join("inner"), scratch.path().join("outer"));
        echo(&inner);
        let cutter = LinkCutter::default();
        let _cable = Cable::new("a", &inner, &outer, &cutter).unwrap();
        assert_eq!(exchange(&outer, 1).unwrap(), frame(1));

        for action in [Action::CutBefore, Action::CutAfter] {
            cutter.arm(Box::new(move |passing| {
                let hit = passing.kind == 3 && passing.way == Way::ToBoard;
                if hit { action } else { Action::Pass }
            }));
            assert_eq!(exchange(&outer, 2).unwrap(), frame(2));
            assert!(!cutter.has_cut());
            assert!(exchange(&outer, 3).is_err());
            assert!(cutter.has_cut());
            assert!(exchange(&outer, 2).is_err(), "it stays cut");
            assert!(cutter.mend());
            assert_eq!(exchange(&outer, 3).unwrap(), frame(3));
        }
        assert!(!cutter.mend());
    }

    #[test]
    fn after_a_break_whoever_connects_again_gets_through() {
        let scratch = Scratch::new().unwrap();
        let (inner, outer) = (scratch.path().join("inner"), scratch.path().join("outer"));
        echo(&inner);
        let cutter = LinkCutter::default();
        let _cable = Cable::new("a", &inner, &outer, &cutter).unwrap();
        cutter.arm(Box::new(|passing| match passing.way {
            Way::FromBoard => Action::Break,
            Way::ToBoard => Action::Pass,
        }));
        assert!(exchange(&outer, 1).is_err());
        assert_eq!(exchange(&outer, 1).unwrap(), frame(1));
    }
}
