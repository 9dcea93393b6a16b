// SPDX-License-Identifier: BSD-2-Clause
//! The demonstration: Debian's Linux leaves one board while it runs, and carries on, in mid-sentence, on another.
//!
//! Responsible for: the order of events from an empty machine to the guest's own report, each wait with a bound, and
//! errors that say what, where and what to do. Never: knows how any of it looks ([`Ui`]), or concludes for the guest.

mod setting;
mod summary;
mod ui;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

pub use setting::{BoardOptions, DemoOptions, Side};
pub use summary::{BoardFacts, Outcome, Summary};
pub use ui::{Nobody, Ui};

use crate::client::{Client, ClientError};
use crate::guest_output::{
    HELLO, MARK, PROCESSOR, READY, REPORT, Report, SeenProcessor, WORKLOAD, command,
};
use crate::relay::{self, MoveError};
use crate::session::{LastLines, Scratch, Session, SessionError};
use image::errata;
use image::prepare::{self, LinuxGuest, Need, PrepareError};
use image::{Image, ImageError, Kernel, build_image, workspace};
use setting::Moments;
use summary::whole;

/// How often the consoles are looked at.
const GLANCE: Duration = Duration::from_millis(20);
/// How long the guest may take to answer a line. Its report waits until every check has made progress, at most 30 s.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a board may take until its link answers.
const LINK: Duration = Duration::from_secs(60);

/// Why there was nothing to demonstrate.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something that is needed is missing.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// An image could not be built.
    #[error("building the image of board {}: {source}", side.name())]
    Image {
        /// The board.
        side: Side,
        /// Why.
        source: Box<ImageError>,
    },
    /// The second board is not one that can be shown here.
    #[error("board {board} exists as hardware only: QEMU does not emulate it. See docs/boards.md")]
    NotEmulated {
        /// The board.
        board: String,
    },
    /// The second board cannot have the processor that was asked for.
    #[error("board B cannot have the processor {model}: {reason}")]
    Core {
        /// The processor.
        model: String,
        /// Why.
        reason: String,
    },
    /// A board did not do what it should.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A board cannot be managed.
    #[error("board {}: {source}{quoted}", side.name())]
    Link {
        /// The board.
        side: Side,
        /// Why.
        source: ClientError,
        /// The last lines of its console.
        quoted: LastLines,
    },
    /// A move failed.
    #[error(
        "moving the guest from board {} to {}: {source}\nboard {}:{}\nboard {}:{}",
        from.name(), from.other().name(), from.name(), quoted[0], from.other().name(), quoted[1]
    )]
    Move {
        /// The board that it was to leave.
        from: Side,
        /// Why, and where the guest is.
        source: Box<MoveError>,
        /// The last lines of both boards' consoles, this one's first.
        quoted: [LastLines; 2],
    },
    /// The guest's report cannot be read.
    #[error("board {}: the guest's report cannot be read: {source}\n  {line}", side.name())]
    Report {
        /// The board.
        side: Side,
        /// What it said.
        line: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Somebody wanted it to end.
    #[error("ended before its end; both boards are gone")]
    Stopped,
    /// The system has no place for the boards' sockets, or no workspace.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// A demonstration that failed, and where the consoles' logs are.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", logs.as_ref().map(|logs| format!("\nthe consoles' logs are in {}", logs.display())).unwrap_or_default())]
pub struct DemoFailure {
    /// Why.
    pub error: Box<DemoError>,
    /// The directory of the logs, if there are any.
    pub logs: Option<PathBuf>,
}

type Result<T, E = DemoError> = std::result::Result<T, E>;

/// Runs the demonstration.
///
/// # Errors
///
/// It could not be brought to its end. A guest whose checks do not hold is no error but an [`Outcome`].
pub fn run(options: &DemoOptions, ui: &mut dyn Ui) -> Result<Outcome, DemoFailure> {
    let mut scratch = None;
    let stopped = || options.stop.load(Ordering::Relaxed);
    let result = match demonstrate(options, ui, &mut scratch) {
        // Whatever failed meanwhile, cargo for instance, was asked to end as well.
        Err(_) if stopped() => Err(DemoError::Stopped),
        result => result,
    };
    let failed = match &result {
        Ok(outcome) => !outcome.ok(),
        // Nobody wants to know why.
        Err(DemoError::Stopped) => false,
        Err(_) => true,
    };
    let logs = scratch
        .filter(|_| failed || options.keep)
        .map(|mut scratch: Scratch| {
            scratch.keep();
            scratch.path().to_owned()
        });
    if let (Some(logs), Ok(_)) = (&logs, &result) {
        ui.step(&format!("the consoles' logs are in {}", logs.display()));
    }
    result.map_err(|error| DemoFailure {
        error: Box::new(error),
        logs,
    })
}

fn demonstrate(
    options: &DemoOptions,
    ui: &mut dyn Ui,
    scratch: &mut Option<Scratch>,
) -> Result<Outcome> {
    let files = prepare(ui)?;
    let images = images(options, ui, &files)?;
    let made = Scratch::new().map_err(|source| DemoError::System {
        what: "making a directory",
        source,
    });
    let mut stage = Stage::set(options, ui, images, scratch.insert(made?))?;
    stage.boot()?;
    stage.perform()
}

/// Sees to everything that has to be there before an image can be built.
fn prepare(ui: &mut dyn Ui) -> Result<LinuxGuest> {
    ui.step("looking for what is needed: Rust's targets, QEMU, the guest's packages");
    let ui = std::cell::RefCell::new(ui);
    let report = |text: &str| ui.borrow_mut().step(text);
    let root = workspace().map_err(|source| DemoError::System {
        what: "looking for the sources",
        source,
    })?;
    prepare::prerequisites(&root, &[Need::Demo], &report)?;
    Ok(prepare::linux_guest(&root, &report)?)
}

/// Builds both boards' images.
fn images(options: &DemoOptions, ui: &mut dyn Ui, files: &LinuxGuest) -> Result<[Image; 2]> {
    ui.step(match options.kernel {
        Kernel::Embedded => "building the domains and the embedded kernel",
        Kernel::Sel4 => "building the domains and the seL4 images",
    });
    let image = |side| {
        build_image(&options.request(side, files)).map_err(|source| DemoError::Image {
            side,
            source: Box::new(source),
        })
    };
    Ok([image(Side::A)?, image(Side::B)?])
}

/// The boards, and who watches them.
struct Stage<'a> {
    options: &'a DemoOptions,
    ui: &'a mut dyn Ui,
    boards: [Board; 2],
    /// Whether the consoles are.
    shown: bool,
}

/// A board, and up to where its console was shown.
struct Board {
    session: Session,
    shown: usize,
}

impl<'a> Stage<'a> {
    /// Starts both boards, the second one later than the first.
    fn set(
        options: &'a DemoOptions,
        ui: &'a mut dyn Ui,
        [a, b]: [Image; 2],
        scratch: &Scratch,
    ) -> Result<Self> {
        let root = workspace().unwrap_or_default();
        let mut start = |side, image| {
            ui.step(&options.describe(side, &root));
            if let Some(line) = options.describe_line(side, &root) {
                ui.step(&line);
            }
            let session = Session::start(options.session(side, image), scratch)?;
            Ok::<_, DemoError>(Board { session, shown: 0 })
        };
        let a = start(Side::A, a)?;
        // Not at the same time: a counter that has come less far is what a guest must not notice.
        thread::sleep(Duration::from_secs(1));
        let boards = [a, start(Side::B, b)?];
        Ok(Self {
            options,
            ui,
            boards,
            shown: true,
        })
    }

    /// Waits until the guest's workload runs on A.
    fn boot(&mut self) -> Result<()> {
        let (vcpus, ram) = (self.options.vcpus, self.options.ram_mib);
        let plural = if vcpus == 1 { "" } else { "s" };
        self.ui.step(&format!(
            "board A boots Debian's Linux with {vcpus} vCPU{plural} and {ram} MiB"
        ));
        self.expect(Side::A, READY, self.options.boot_timeout)?;
        self.expect(Side::A, WORKLOAD, ANSWER)?;
        Ok(())
    }

    /// Moves the guest as often as asked for, and hears what it has to say about it.
    fn perform(mut self) -> Result<Outcome> {
        let mut moments = Moments::new(self.options);
        let mut clients = [self.connect(Side::A)?, self.connect(Side::B)?];
        let mut moves = Vec::new();
        let mut answer = String::new();
        let mut boards = None;
        let mut processors = Vec::new();
        let count = self.options.ping_pong.map_or(1, |times| 2 * times.max(1));
        let mut at = Side::A;
        for number in 0..count {
            self.watch(moments.next())?;
            if number == 0 {
                self.ask_processor(at, &mut processors)?;
                self.ask(at, command::MARK, MARK)?;
            }
            boards.get_or_insert_with(|| Side::BOTH.map(|side| self.facts(side)));
            let (back, moved) = self.relocate(at, clients)?;
            clients = back;
            moves.push(moved);
            at = at.other();
            if number < 2 {
                self.ask_processor(at, &mut processors)?;
            }
            if number == 0 {
                self.watch(self.options.watch)?;
                self.ui.step(&format!(
                    "typing \"{}\" on board {}",
                    command::HELLO,
                    at.name()
                ));
                answer = self.ask(at, command::HELLO, HELLO)?;
            }
        }
        self.watch(Duration::from_secs(1))?;
        self.ui.step("asking the guest whether it noticed anything");
        let report = self.report(at)?;
        Ok(Outcome {
            kernel: self.options.kernel.to_string(),
            moves,
            report,
            answer,
            processors,
            boards: boards.unwrap_or_else(|| Side::BOTH.map(|side| self.facts(side))),
        })
    }

    /// Asks the guest which processor it has, where that is another on the other board.
    fn ask_processor(&mut self, side: Side, found: &mut Vec<SeenProcessor>) -> Result<()> {
        if !self.options.cores_differ() {
            return Ok(());
        }
        let line = self.ask(side, command::PROCESSOR, PROCESSOR)?;
        if let Some(seen) = SeenProcessor::parse(&line) {
            self.ui.step(&format!(
                "on board {} the guest reads {} in MIDR_EL1; its /proc/cpuinfo says {}, as when it started",
                side.name(),
                errata::name(seen.now),
                errata::name(seen.recorded)
            ));
            found.push(seen);
        }
        Ok(())
    }

    fn connect(&mut self, side: Side) -> Result<Client> {
        let address = self.board(side).session.address();
        Client::connect(&address, LINK).map_err(|source| DemoError::Link {
            side,
            source,
            quoted: self.board(side).session.last_lines(),
        })
    }

    /// Moves the guest, and shows what it says meanwhile.
    fn relocate(
        &mut self,
        from: Side,
        mut clients: [Client; 2],
    ) -> Result<([Client; 2], relay::Summary)> {
        let to = from.other();
        self.ui.step(&format!(
            "moving the guest from board {} to board {}, while it runs",
            from.name(),
            to.name()
        ));
        let (sender, news) = channel();
        let options = self.options.moves;
        let relay = thread::spawn(move || {
            let report = |progress| {
                let _ = sender.send(progress);
            };
            let moved = migrate(from, &mut clients, &options, report);
            (clients, moved)
        });
        loop {
            self.check_stop()?;
            match news.recv_timeout(GLANCE) {
                Ok(progress) => self.ui.progress(&progress),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.show(from);
        }
        let (clients, moved) = match relay.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        // What the guest had said before it left, before anything that it says afterwards.
        self.show(from);
        let summary = moved.map_err(|error| DemoError::Move {
            from,
            source: Box::new(error),
            quoted: [from, to].map(|side| self.board(side).session.last_lines()),
        })?;
        self.ui.moved(from, &summary);
        self.show(to);
        Ok((clients, summary))
    }

    /// The guest's own account. It is for programs, so the consoles are no longer shown.
    fn report(&mut self, side: Side) -> Result<Report> {
        self.shown = false;
        let line = self.ask(side, command::REPORT, REPORT)?;
        match Report::parse(&line) {
            Some(Ok(report)) => Ok(report),
            Some(Err(source)) => Err(DemoError::Report { side, line, source }),
            None => Err(DemoError::Report {
                side,
                line,
                source: serde::de::Error::custom("not a report"),
            }),
        }
    }

    /// Types a line and waits for the answer, showing the consoles meanwhile.
    fn ask(&mut self, side: Side, line: &str, answer: &str) -> Result<String> {
        self.board(side).session.type_line(line)?;
        self.expect(side, answer, ANSWER)
    }

    /// Waits until a board has said a line, showing the consoles meanwhile.
    fn expect(&mut self, side: Side, wanted: &str, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            self.check_stop()?;
            self.show_all();
            let left = deadline.saturating_duration_since(Instant::now());
            let session = &mut self.board(side).session;
            match session.expect_line(wanted, left.min(GLANCE)) {
                Err(SessionError::Silent { .. }) if !left.is_zero() => {}
                Err(SessionError::Silent {
                    board,
                    wanted,
                    quoted,
                    ..
                }) => {
                    return Err(DemoError::Session(SessionError::Silent {
                        board,
                        wanted,
                        quoted,
                        waited: timeout,
                    }));
                }
                found => {
                    self.show_all();
                    return Ok(found?);
                }
            }
        }
    }

    /// Shows the consoles for a while.
    fn watch(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.check_stop()?;
            self.show_all();
            for board in &mut self.boards {
                board.session.check()?;
            }
            thread::sleep(GLANCE);
        }
        Ok(())
    }

    fn check_stop(&self) -> Result<()> {
        if self.options.stop.load(Ordering::Relaxed) {
            return Err(DemoError::Stopped);
        }
        Ok(())
    }

    fn show_all(&mut self) {
        Side::BOTH.into_iter().for_each(|side| self.show(side));
    }

    fn show(&mut self, side: Side) {
        let board = &mut self.boards[side.index()];
        let (text, end) = board.session.transcript().news(board.shown);
        board.shown = end;
        if self.shown && !text.is_empty() {
            self.ui.console(side, &text);
        }
    }

    const fn board(&mut self, side: Side) -> &mut Board {
        &mut self.boards[side.index()]
    }

    fn facts(&self, side: Side) -> BoardFacts {
        let options = self.options.board(side);
        BoardFacts {
            board: options.board.clone(),
            ram: options.ram_text(),
            placement: options.placement.clone(),
            cpu: options.core.model.clone(),
            up_ms: whole(self.boards[side.index()].session.uptime().as_millis()),
        }
    }
}

fn migrate(
    from: Side,
    [a, b]: &mut [Client; 2],
    options: &relay::Options,
    mut report: impl FnMut(relay::Progress),
) -> Result<relay::Summary, MoveError> {
    let (source, destination) = match from {
        Side::A => (a, b),
        Side::B => (b, a),
    };
    relay::migrate(source, destination, options, &mut report)
}
