//! An operator at boards that `godwit run` keeps: their consoles, who may leave and what then lives on, and what is left
//! when all of it has ended.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use godwit::guest_output::READY;
use godwit::image::{target_directory, workspace};
use godwit::prepare::{self, LinuxGuest};
use godwit::session::Scratch;
use rustix::process::{Pid, Signal, kill_process};
use tests::random::Random;
use tests::{ANSWER, BOOT};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(100);
/// How often a program is ended at a moment that the seed draws.
const MOMENTS: u64 = 20;
/// Within this time a board has begun and is still there.
const LIFE: Duration = Duration::from_secs(3);

/// The program, with a directory of running boards of its own.
struct Shell {
    scratch: Scratch,
}

/// A program that runs, and what it has said.
struct Running {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Shell {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            scratch: Scratch::new()?,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_operator"));
        command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", self.scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments).stdin(Stdio::null()).output()?)
    }

    /// Runs a command that is to succeed; what it says to programs and to people.
    fn succeeds(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "{arguments:?}: {text}");
        Ok(text)
    }

    fn start(&self, arguments: &[&str]) -> anyhow::Result<Running> {
        let mut child = self.command(arguments).spawn()?;
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let mut output = child.stdout.take().context("its output")?;
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend_from_slice(&bytes[..count]);
            }
        });
        Ok(Running { child, said })
    }

    /// What is left of boards in the directory of running ones, once a board list has cleared away what can be.
    fn left(&self) -> anyhow::Result<Vec<PathBuf>> {
        self.succeeds(&["boards"])?;
        let directory = self.scratch.path().join("godwit");
        let entries = std::fs::read_dir(directory)?;
        Ok(entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<_>>()?)
    }

    /// Processes that have something to do with this directory.
    fn processes(&self) -> Vec<String> {
        let here = self.scratch.path().to_string_lossy().into_owned();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let of = |entry: std::fs::DirEntry, file: &str| {
            let bytes = std::fs::read(entry.path().join(file)).ok()?;
            Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
        };
        entries
            .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
            .filter_map(|entry| {
                let environment = std::fs::read(entry.path().join("environ")).ok()?;
                let ours = String::from_utf8_lossy(&environment).contains(&here);
                ours.then(|| of(entry, "cmdline")).flatten()
            })
            .collect()
    }

    /// Waits until nothing is left of any board.
    fn is_clean(&self) -> anyhow::Result<()> {
        let until = Instant::now() + ANSWER;
        loop {
            let (files, processes) = (self.left()?, self.processes());
            if files.is_empty() && processes.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "left behind: {files:?}, {processes:?}"
            );
            thread::sleep(LOOK);
        }
    }
}

impl Running {
    fn text(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).into_owned()
    }

    fn expect(&self, wanted: &str, timeout: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + timeout;
        while !self.text().contains(wanted) {
            ensure!(Instant::now() < until, "no {wanted:?} in {}", self.text());
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn send(&mut self, text: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("its input")?;
        Ok(input.write_all(text.as_bytes())?)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = i32::try_from(self.child.id())?;
        Ok(kill_process(
            Pid::from_raw(process).context("no process")?,
            signal,
        )?)
    }
}

fn guest() -> anyhow::Result<LinuxGuest> {
    Ok(prepare::linux_guest(&workspace()?, &|_| {})?)
}

/// The arguments that run our Linux guest as if it were somebody's own.
fn own_guest<'a>(
    name: &'a str,
    kernel: &'a Path,
    initramfs: &'a Path,
) -> anyhow::Result<Vec<&'a str>> {
    Ok(vec![
        "run",
        "--name",
        name,
        "--linux",
        kernel.to_str().context("a path")?,
        "--initrd",
        initramfs.to_str().context("a path")?,
    ])
}

/// The arguments that run a program as a guest.
fn endless<'a>(program: &'a str, name: &'a str) -> [&'a str; 7] {
    ["run", "--flat", program, "--ram", "72", "--name", name]
}

#[test]
fn a_guest_hears_the_first_words_that_are_typed_and_its_last_ones_are_heard() -> anyhow::Result<()>
{
    let (shell, files) = (Shell::new()?, guest()?);
    let arguments = own_guest("words", &files.kernel, &files.initramfs)?;
    let mut run = shell.start(&arguments)?;
    // More than a UART's FIFOs hold, long before anybody listens.
    let first =
        "# The first words, of which none may be missing: 0123456789 abcdefghijklmnopqrstuvwxyz";
    run.send(&format!("{first}\necho LAST-$((6*7)); poweroff -f\n"))?;
    let status = run.child.wait()?;
    run.expect("Power down\r\n", ANSWER)?;
    let text = run.text();
    ensure!(status.success(), "{status}: {text}");
    ensure!(text.contains(first) && text.contains("LAST-42"), "{text}");
    ensure!(
        text.ends_with("Power down\r\n"),
        "something follows: {text}"
    );
    shell.is_clean()
}

#[test]
fn a_board_lives_on_without_a_terminal_and_several_can_watch_it() -> anyhow::Result<()> {
    let (shell, files) = (Shell::new()?, guest()?);
    let mut arguments = own_guest("left", &files.kernel, &files.initramfs)?;
    arguments.push("--detach");
    shell.succeeds(&arguments)?;
    let console = || shell.start(&["console", "left"]);
    let (mut first, second) = (console()?, console()?);
    first.expect(READY, BOOT)?;
    second.expect(READY, ANSWER)?;
    first.send("echo SEEN-$((40+2))\n")?;
    for watcher in [&first, &second] {
        watcher.expect("SEEN-42", ANSWER)?;
    }
    // However they leave, and whatever they have not read.
    for (watcher, signal) in [(&mut first, Signal::HUP), (&mut { second }, Signal::KILL)] {
        watcher.signal(signal)?;
        watcher.child.wait()?;
    }
    let status = shell.succeeds(&["status", "left"])?;
    ensure!(status.contains("running"), "{status}");
    let late = console()?;
    late.expect(READY, ANSWER)?;
    late.expect("SEEN-42", ANSWER)?;
    late.signal(Signal::TERM)?;
    shell.succeeds(&["end", "left"])?;
    shell.is_clean()
}

#[test]
fn nothing_is_left_behind_however_and_whenever_a_board_is_ended() -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let program = shell.scratch.path().join("program");
    // `b .`: it runs for ever, and says nothing.
    std::fs::write(&program, 0x1400_0000_u32.to_le_bytes())?;
    let program = program.to_str().context("a path")?;
    let mut random = Random::seeded(1);
    let signals = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TERM,
        Signal::KILL,
    ];
    for moment in 0..MOMENTS {
        let signal = signals[usize::try_from(moment)? % signals.len()];
        let name = format!("ended-{moment}");
        let mut run = shell.start(&endless(program, &name))?;
        let after = random.moment(LIFE);
        thread::sleep(after);
        run.signal(signal)?;
        let status = run.child.wait()?;
        println!("{signal:?} after {after:?}: {status}");
        ensure!(!status.success(), "{signal:?}: {status}");
        shell.is_clean()?;
    }
    // The images of those that were killed go with the next board.
    shell.succeeds(&[&endless(program, "last")[..], &["--detach"]].concat())?;
    shell.succeeds(&["end", "last"])?;
    shell.is_clean()?;
    let images = target_directory(&workspace()?)?.join("images");
    let left: Vec<_> = std::fs::read_dir(images)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("run-ended-") || name == "run-last")
        .collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}
