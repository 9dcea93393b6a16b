// SPDX-License-Identifier: BSD-2-Clause
//! What a byte on the console costs, in both directions, beside a plain QEMU `virt` with the same guest.
//!
//! The guest is Debian's kernel with a BusyBox shell. It prints lines of text, and reads what is typed with its terminal in
//! raw mode. Both times are the host's: from the first byte to the guest's next word after the last.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use godwit::qemu::{Console, Machine, MachineOptions};
use image::guest::{Guest, Program};
use image::prepare::{self, LinuxGuest};
use image::{ImageRequest, Kernel, build_image, workspace};

/// How much is said and typed.
const BYTES: usize = 128 << 10;
/// A line of what is said, with its end.
const LINE: usize = 64;
/// How long a guest may keep silent, from power-on on.
const TIMEOUT: Duration = Duration::from_secs(300);
const PROMPT: &[u8] = b"/ # ";
const ARGUMENTS: &str = "console=ttyAMA0 quiet godwit.mode=shell";

/// One machine's figures.
#[derive(Debug)]
pub(crate) struct Speed {
    machine: String,
    output: Duration,
    input: Duration,
}

/// How much longer than a plain QEMU it may take (issue 11 of the project).
const GOAL: f64 = 6.0;

/// Measures on `kernel`.
pub(crate) fn measure(kernel: Kernel) -> anyhow::Result<Speed> {
    let LinuxGuest {
        kernel: linux,
        initramfs,
        ..
    } = guest()?;
    let image = build_image(&ImageRequest {
        name: format!("console-{kernel}"),
        kernel,
        guest: Some(Guest {
            program: Program::Linux {
                kernel: linux,
                initramfs: Some(initramfs),
            },
            vcpus: 1,
            arguments: ARGUMENTS.to_owned(),
            seeds: None,
        }),
        ..ImageRequest::default()
    })?;
    let mut machine = Machine::start(MachineOptions {
        name: format!("console on {kernel}"),
        image,
        console: Console::Socket(socket()),
        console_log: None,
        link: None,
        icount: false,
        extra: Vec::new(),
    })?;
    let console = machine
        .connect_console(TIMEOUT)
        .context("the board has no console")??;
    talk(kernel.to_string(), console)
}

/// Measures QEMU alone.
pub(crate) fn reference() -> anyhow::Result<Speed> {
    let guest = guest()?;
    let socket = socket();
    let _ = std::fs::remove_file(&socket);
    let child = Command::new("qemu-system-aarch64")
        .args(["-nodefaults", "-display", "none", "-cpu", "cortex-a53"])
        .args(["-machine", "virt,gic-version=2", "-m", "128"])
        .args(["-append", ARGUMENTS])
        .arg("-kernel")
        .arg(&guest.kernel)
        .arg("-initrd")
        .arg(&guest.initramfs)
        .arg("-serial")
        .arg(format!("unix:{},server=on,wait=on", socket.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("qemu-system-aarch64")?;
    let mut plain = Plain(child);
    let console = plain.connect(&socket)?;
    talk("plain QEMU".to_owned(), console)
}

/// A QEMU that ends when it goes out of scope.
struct Plain(Child);

impl Plain {
    fn connect(&mut self, socket: &Path) -> anyhow::Result<UnixStream> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => {}
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("QEMU ended ({status})");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn guest() -> anyhow::Result<LinuxGuest> {
    Ok(prepare::linux_guest(&workspace()?, &|message| {
        println!("{message}");
    })?)
}

fn socket() -> PathBuf {
    std::env::temp_dir().join(format!("godwit-console-{}", std::process::id()))
}

fn talk(machine: String, console: UnixStream) -> anyhow::Result<Speed> {
    console.set_read_timeout(Some(TIMEOUT))?;
    console.set_write_timeout(Some(TIMEOUT))?;
    let mut guest = Talk {
        console,
        heard: Vec::new(),
    };
    guest.expect(PROMPT)?;
    let output = guest.output()?;
    let input = guest.input()?;
    Ok(Speed {
        machine,
        output,
        input,
    })
}

/// A shell at the other end.
struct Talk {
    console: UnixStream,
    /// What it has said since it was expected to say something.
    heard: Vec<u8>,
}

impl Talk {
    fn say(&mut self, command: &str) -> anyhow::Result<()> {
        Ok(self.console.write_all(command.as_bytes())?)
    }

    /// Listens until that was said; how many bytes came before.
    fn expect(&mut self, words: &[u8]) -> anyhow::Result<usize> {
        let mut looked = 0;
        loop {
            let found = self.heard[looked..]
                .windows(words.len())
                .position(|window| window == words);
            if let Some(position) = found {
                let before = looked + position;
                self.heard.drain(..before + words.len());
                return Ok(before);
            }
            looked = self.heard.len().saturating_sub(words.len());
            let mut bytes = [0; 4096];
            let count = self
                .console
                .read(&mut bytes)
                .context("the guest is silent")?;
            if count == 0 {
                bail!("the board ended");
            }
            self.heard.extend_from_slice(&bytes[..count]);
        }
    }

    /// The guest prints.
    fn output(&mut self) -> anyhow::Result<Duration> {
        let line = "x".repeat(LINE - 1);
        // The words that are waited for are not in what is typed, which is echoed.
        self.say(&format!(
            "echo be\"\"gin; yes {line} | head -c {BYTES}; echo e\"\"nd\n"
        ))?;
        self.expect(b"begin\r\n")?;
        let begin = Instant::now();
        let said = self.expect(b"end\r\n")?;
        let took = begin.elapsed();
        // Each line ends in two bytes on the line.
        let expected = BYTES + BYTES / LINE;
        if said != expected {
            bail!("{said} bytes came, of {expected}");
        }
        self.expect(PROMPT)?;
        Ok(took)
    }

    /// The guest reads what is typed.
    fn input(&mut self) -> anyhow::Result<Duration> {
        self.say(&format!(
            "stty raw -echo; echo be\"\"gin; head -c {BYTES} | wc -c; stty sane; echo e\"\"nd\n"
        ))?;
        self.expect(b"begin\n")?;
        let mut typist = self.console.try_clone()?;
        let begin = Instant::now();
        let typing = std::thread::spawn(move || typist.write_all(&vec![b'x'; BYTES]));
        let said = format!("{BYTES}\n");
        self.expect(said.as_bytes())
            .context("not all that was typed was read")?;
        let took = begin.elapsed();
        typing.join().ok().context("typing")??;
        self.expect(b"end")?;
        Ok(took)
    }
}

/// What stands above the figures.
pub(crate) const HEADING: &str = "| console | output, µs a byte | of plain QEMU | input, µs a byte | of plain QEMU |\n|---|---|---|---|---|";

/// A row, beside the reference's.
#[derive(Debug)]
pub(crate) struct Row<'a>(pub(crate) &'a Speed, pub(crate) &'a Speed);

impl fmt::Display for Row<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(speed, reference) = self;
        write!(formatter, "| {} |", speed.machine)?;
        for (took, plain) in [
            (speed.output, reference.output),
            (speed.input, reference.input),
        ] {
            let times = took.as_secs_f64() / plain.as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let each = took.as_secs_f64() * 1e6 / BYTES as f64;
            write!(formatter, " {each:.1} | {times:.1} × (goal {GOAL}) |")?;
        }
        writeln!(formatter)
    }
}
