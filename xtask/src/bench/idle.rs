//! What an idle Linux guest costs the host.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use godwit::guest::{Guest, Program};
use godwit::image::{ImageRequest, Kernel, build_image, workspace};
use godwit::qemu::{Console, Machine, MachineOptions};
use godwit::{guest_output, prepare};

/// How long to watch.
pub(crate) const SECONDS: u64 = 10;

/// How long a guest may take from power-on until it is idle, and then to settle.
const BOOT: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_secs(5);

/// Processor time that QEMU takes while the guest idles, as a share of one host CPU in percent.
pub(crate) fn measure(kernel: Kernel) -> anyhow::Result<f64> {
    let linux = prepare::linux_guest(&workspace()?, &|message| println!("{message}"))?;
    let image = build_image(&ImageRequest {
        name: format!("idle-{kernel}"),
        kernel,
        guest: Some(Guest {
            program: Program::Linux {
                kernel: linux.kernel,
                initramfs: Some(linux.initramfs),
            },
            vcpus: 1,
            arguments: "console=ttyAMA0 quiet godwit.mode=idle".to_owned(),
        }),
        ..ImageRequest::default()
    })?;
    let socket = std::env::temp_dir().join(format!("godwit-idle-{}", std::process::id()));
    let mut machine = Machine::start(MachineOptions {
        name: format!("idle Linux on {kernel}"),
        image,
        ram: None,
        console: Console::Socket(socket),
        console_log: None,
        link: None,
        icount: false,
        extra: Vec::new(),
    })?;
    let console = machine
        .connect_console(BOOT)
        .context("the board has no console")??;
    console.set_read_timeout(Some(BOOT))?;
    let mut lines = BufReader::new(console).lines();
    loop {
        match lines.next() {
            Some(line)
                if line
                    .as_ref()
                    .is_ok_and(|line| line.trim_end() == guest_output::READY) =>
            {
                break;
            }
            Some(Ok(_)) => {}
            _ => bail!("the guest did not come up"),
        }
    }
    std::thread::sleep(SETTLE);
    let start = Instant::now();
    let before = processor_time(machine.process_id())?;
    std::thread::sleep(Duration::from_secs(SECONDS));
    let used = processor_time(machine.process_id())? - before;
    Ok(100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64())
}

/// Processor time of a process so far: fields 14 and 15 of `/proc/<pid>/stat`, in hundredths of a second (proc(5)).
fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    parse_stat(&text).context("/proc/<pid>/stat is not as documented")
}

fn parse_stat(text: &str) -> Option<Duration> {
    // The program's name, in parentheses, may contain anything; what follows it begins with field 3.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 7 8 20 0 1 0 9";
        assert_eq!(parse_stat(text), Some(Duration::from_secs(2)));
        assert_eq!(parse_stat("42 (short) S 1"), None);
        assert!(processor_time(std::process::id()).is_ok());
    }
}
