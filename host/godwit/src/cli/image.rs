// SPDX-License-Identifier: BSD-2-Clause
//! `godwit image`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::guest::{BoardArguments, GuestArguments};
use super::{SUCCESS, style};
use crate::output::Output;
use image::{Board, Config, ImageRequest, Kernel, build_image, workspace};
use isolation::remains;

/// Builds an image and says where it is.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    guest: GuestArguments,
    #[command(flatten)]
    board: BoardArguments,
    /// For QEMU's model of the board, which may need more than the board itself: what runs before the image, and the
    /// right to call it. `godwit run` sees to that by itself.
    #[arg(long)]
    qemu: bool,
    /// Copies the image to this file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prints what lies where in it, and who may reach it.
    #[arg(long)]
    report: bool,
}

/// To a device as it is, for instance a card; to a file so that it is there when it is complete.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if to.exists() && !to.is_file() {
        return std::fs::copy(from, to).map(drop);
    }
    let output = Output::create(to)?;
    std::io::copy(&mut std::fs::File::open(from)?, &mut output.file())?;
    output.finish()
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut chosen = arguments.guest.choose()?;
    let known = Board::load(&workspace()?, &arguments.board.board)?;
    let known = match arguments.qemu {
        true => known,
        false => known.on_hardware(),
    };
    let made = &arguments.board;
    let promise = (arguments.guest).promise(&known, None, made, chosen.guest.as_mut())?;
    let BoardArguments {
        kernel,
        board,
        sel4_crates,
        ..
    } = &arguments.board;
    let debug = match arguments.board.guest_debug {
        true => "-guest-debug",
        false => "",
    };
    let name = format!("{board}-{kernel}{}{debug}", sel4_crates.suffix());
    let request = ImageRequest {
        hardware: !arguments.qemu,
        promise,
        ..arguments
            .guest
            .request(&arguments.board, &name, chosen.guest)?
    };
    let image = build_image(&request).context("building the image")?;
    let path = match &arguments.output {
        Some(path) => {
            copy(&image.path, path).with_context(|| path.display().to_string())?;
            path
        }
        None => &image.path,
    };
    if arguments.report {
        let report = std::fs::read_to_string(&image.report);
        style::show(&report.with_context(|| image.report.display().to_string())?)?;
    }
    style::show(&format!(
        "{}: {}, {kernel} kernel; to be loaded and entered at {:#x}\n",
        path.display(),
        image.board.description,
        image.load_address
    ))?;
    if (request.kernel, request.config) == (Kernel::Sel4, Config::Debug) {
        style::show(
            "seL4's debug configuration is for developing Godwit: its guest can stop the board with a system call (HVC)\n",
        )?;
    }
    if request.guest_debug {
        let lines = remains::GIVEN_UP.map(|line| format!("  {line}\n"));
        style::show(&format!("--guest-debug gives up:\n{}", lines.concat()))?;
    }
    Ok(SUCCESS)
}
