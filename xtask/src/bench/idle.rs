// SPDX-License-Identifier: BSD-2-Clause
//! What an idle Linux guest costs the host.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use godwit::guest_output;
use godwit::qemu::{Console, Machine, MachineOptions};
use image::guest::{Guest, Program};
use image::prepare;
use image::{ImageRequest, Kernel, build_image, workspace};

/// How long to watch.
pub(crate) const SECONDS: u64 = 10;

/// How long a guest may take from power-on until it is idle, and then to calm down.
const BOOT: Duration = Duration::from_secs(120);
const CALM: Duration = Duration::from_secs(5);

/// Processor time that QEMU takes while the guest idles, as a share of one host CPU in percent.
pub(crate) fn measure(kernel: Kernel) -> anyhow::Result<f64> {
    let linux = prepare::linux_guest(&workspace()?, &|message| println!("{message}"))?;
    let image = build_image(&ImageRequest {
        name: format!("idle-{kernel}"),
        transient: true,
        kernel,
        guest: Some(Guest {
            program: Program::Linux {
                kernel: linux.kernel,
                initramfs: Some(linux.initramfs),
            },
            vcpus: 1,
            arguments: "console=ttyAMA0 quiet godwit.mode=idle".to_owned(),
            seeds: None,
        }),
        ..ImageRequest::default()
    })?;
    let socket = std::env::temp_dir().join(format!("godwit-idle-{}", std::process::id()));
    let mut machine = Machine::start(MachineOptions {
        name: format!("idle Linux on {kernel}"),
        image,
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
    std::thread::sleep(CALM);
    let start = Instant::now();
    let before = machine.processor_time()?;
    std::thread::sleep(Duration::from_secs(SECONDS));
    let used = machine.processor_time()? - before;
    Ok(100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64())
}
