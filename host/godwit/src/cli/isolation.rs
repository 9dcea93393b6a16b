// SPDX-License-Identifier: BSD-2-Clause
//! `godwit isolation`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::{FAILURE, SUCCESS, style};
use image::{Board, Kernel, workspace};
use isolation::{Review, build, document, report};

/// Says what each domain can do to each other and to the guest, and holds it against policy.toml.
///
/// The facts come from the description, from the embedded kernel's image and, where an SDK is installed, from the image
/// for seL4. The exit status is not zero if the policy is violated anywhere.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A system description to review as it stands, in place of the workspace's with the board's numbers.
    #[arg(long, value_name = "FILE")]
    system: Option<PathBuf>,
    /// The board that it is for.
    #[arg(long, default_value = "qemu_virt_aarch64")]
    board: String,
    /// Reviews what QEMU's model of the board gets, which may be more than the board itself does.
    #[arg(long)]
    qemu: bool,
    /// Reviews the image for this kernel only; without it, that of every kernel that the board runs.
    #[arg(long, value_parser = super::guest::kernel())]
    kernel: Option<Kernel>,
    /// Reviews images that leave the guest its debug registers, and says what that gives up; with the embedded kernel only.
    #[arg(long, conflicts_with_all = ["no_image", "update"])]
    guest_debug: bool,
    /// Reviews the description only, without building an image.
    #[arg(long, conflicts_with = "kernel")]
    no_image: bool,
    /// Prints facts, flows and violations as JSON.
    #[arg(long)]
    json: bool,
    /// Brings the generated parts of docs/isolation.md and docs/isolation.svg up to date.
    #[arg(long, conflicts_with_all = ["system", "json"])]
    update: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let root = workspace()?;
    let mut board = Board::load(&root, &arguments.board)?;
    if !arguments.qemu {
        board = board.on_hardware();
    }
    let policy = build::policy(&root)?;
    let (name, xml) = match &arguments.system {
        Some(path) => (path.display().to_string(), build::read(path)?),
        None => ("system.xml".to_owned(), build::description(&root, &board)?),
    };
    let mut review = Review::of_description(&name, &xml, &board, &policy)?;
    review.guest_debug = arguments.guest_debug;
    let kernels = match arguments.kernel {
        _ if arguments.no_image => Vec::new(),
        Some(kernel) => vec![kernel],
        None if arguments.guest_debug => vec![Kernel::Embedded],
        None => board.kernels.clone(),
    };
    for kernel in kernels {
        build::add_image(&mut review, &root, &xml, kernel)
            .with_context(|| format!("the image for the {kernel} kernel"))?;
    }
    if arguments.update {
        document::update(&review, &root)?;
    }
    if arguments.json {
        style::show(&format!("{}\n", report::json(&review)?))?;
    } else {
        style::show(&report::text(&review))?;
    }
    Ok(if review.holds() { SUCCESS } else { FAILURE })
}
