// SPDX-License-Identifier: BSD-2-Clause
//! What QEMU is started with.
//!
//! Responsible for: filling in a board's template for a machine, and what only some versions of QEMU want to hear. Never:
//! adds a device; what is in a machine is its board's to say.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Console, MachineError, MachineOptions, Result, SOCKET_PATH};
use image::board::{Newer, QemuTemplate};

/// The program and its arguments.
pub(super) fn command_line(options: &MachineOptions) -> Result<(String, Vec<String>)> {
    let board = &options.image.board;
    let not_emulated = || MachineError::NotEmulated {
        board: board.name.clone(),
    };
    let template = board.qemu.as_ref().ok_or_else(not_emulated)?;
    // Nothing is in a machine that its board does not name: QEMU's own choice would bring a network card and its firmware,
    // and would differ from version to version.
    let mut arguments = vec!["-nodefaults".to_owned()];
    arguments.extend(["-name".to_owned(), escaped_text(&options.name)]);
    // The link first: QEMU waits at the console's socket, and nobody should have to connect in a certain order.
    let (console, link) = channels(options)?;
    arguments.extend(["-chardev".to_owned(), link, "-chardev".to_owned(), console]);
    arguments.extend(filled_in(template, options));
    if !template.newer.is_empty() {
        let version = version(&template.program);
        arguments.extend(since(&template.newer, &version).cloned());
    }
    if options.icount {
        arguments.extend(["-icount".to_owned(), "shift=0".to_owned()]);
    }
    arguments.extend(options.extra.iter().cloned());
    Ok((template.program.clone(), arguments))
}

/// The character devices that the template refers to: the console's, the link's.
fn channels(options: &MachineOptions) -> Result<(String, String)> {
    let console_socket = match &options.console {
        Console::Socket(path) => Some(path),
        _ => None,
    };
    let serial = options.image.board.link_is_serial();
    let link = options.link.as_deref();
    let line = link.filter(|_| serial).map(line_path);
    let sockets = console_socket.into_iter().chain(&options.link);
    for path in sockets.chain(&line) {
        if path.as_os_str().len() > SOCKET_PATH {
            return Err(MachineError::SocketPath {
                name: options.name.clone(),
                path: path.clone(),
            });
        }
    }
    let mut console = match &options.console {
        // Signals stay off: what is typed is for the guest.
        Console::Stdio => "stdio,id=console,signal=off".to_owned(),
        Console::Socket(path) => {
            format!("socket,id=console,path={},server=on,wait=on", escaped(path))
        }
        Console::File(path) => format!("file,id=console,path={}", escaped(path)),
    };
    let is_file = matches!(options.console, Console::File(_));
    if let (Some(log), false) = (&options.console_log, is_file) {
        console += &format!(",logfile={}", escaped(log));
    }
    let link = match line.as_deref().or(link) {
        Some(path) => format!("socket,id=link,path={},server=on,wait=off", escaped(path)),
        None => "null,id=link".to_owned(),
    };
    Ok((console, link))
}

/// The template's arguments for this machine.
fn filled_in(template: &QemuTemplate, options: &MachineOptions) -> Vec<String> {
    let image = escaped(&options.image.path);
    let address = format!("{:#x}", options.image.load_address);
    let firmware = escaped(options.image.firmware.as_deref().unwrap_or(Path::new("")));
    let ram = match options.image.board_ram {
        Some(bytes) => format!("{}M", bytes >> 20),
        None => template.ram.clone(),
    };
    let filled = template.arguments.iter().map(|argument| {
        argument
            .replace("{image}", &image)
            .replace("{load_address}", &address)
            .replace("{ram}", &ram)
            .replace("{firmware}", &firmware)
    });
    filled.collect()
}

/// What a version wants to hear besides.
fn since<'a>(newer: &'a [Newer], version: &[u32]) -> impl Iterator<Item = &'a String> {
    let wanted = newer
        .iter()
        .filter(move |newer| numbers(&newer.since).as_slice() <= version);
    wanted.flat_map(|newer| &newer.arguments)
}

/// The version that a program is of; none if it does not say, which it will be asked about when it is started.
fn version(program: &str) -> Vec<u32> {
    let mut command = Command::new(program);
    let output = command.arg("--version").stdin(Stdio::null()).output();
    let said = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    let said = String::from_utf8_lossy(&said);
    let (_, version) = said.split_once("version ").unwrap_or_default();
    numbers(version.split_whitespace().next().unwrap_or_default())
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}

/// Where QEMU offers the line that a link goes over.
pub(super) fn line_path(link: &Path) -> PathBuf {
    let mut path = link.as_os_str().to_owned();
    path.push(".line");
    path.into()
}

/// A value within one of QEMU's comma-separated arguments.
fn escaped(path: &Path) -> String {
    escaped_text(&path.to_string_lossy())
}

fn escaped_text(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_versions_hear_what_older_ones_do_not_know() {
        let newer = [Newer {
            since: "8.2".to_owned(),
            arguments: vec!["-audio".to_owned(), "none".to_owned()],
        }];
        for (version, count) in [
            ("7.2.22", 0),
            ("8.1.99", 0),
            ("8.2", 2),
            ("10.0.2", 2),
            ("", 0),
        ] {
            assert_eq!(since(&newer, &numbers(version)).count(), count, "{version}");
        }
    }

    #[test]
    fn a_program_that_does_not_say_its_version_has_none() {
        assert_eq!(version("no-such-program-anywhere"), [0_u32; 0]);
        assert_eq!(numbers("10.0.2-rc1"), [10, 0]);
    }
}
