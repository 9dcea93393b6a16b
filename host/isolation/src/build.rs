// SPDX-License-Identifier: BSD-2-Clause
//! Building what is reviewed: images of the description under review, for both kernels.
//!
//! Responsible for: the policy's and the description's files, and the facts of freshly built images. Never: runs an image.

use std::path::Path;

use super::policy::Policy;
use super::{Facts, IsolationError, Review, capdl, embedded, prefill};
use image::board::Parameters;
use image::microkit::{Sdk, SdkError};
use image::{Board, Config, ImageRequest, Kernel, bundle_room, directory, programs};

/// The policy's file, in the workspace.
pub const POLICY: &str = "policy.toml";

/// Reads the workspace's policy.
///
/// # Errors
///
/// It cannot be read, or is malformed.
pub fn policy(root: &Path) -> Result<Policy, IsolationError> {
    Policy::parse(POLICY, &read(&root.join(POLICY))?)
}

/// The workspace's description as it is on a board, with the default amount of guest RAM.
///
/// # Errors
///
/// It cannot be read, or does not fit the board.
pub fn description(root: &Path, board: &Board) -> Result<String, IsolationError> {
    let guest_ram = ImageRequest::default().ram_mib << 20;
    let parameters = Parameters {
        guest_ram,
        guest_ram_at: None,
        bundle_room: bundle_room(guest_ram),
    };
    Ok(board.substitute(&read(&root.join("system.xml"))?, &parameters)?)
}

/// Adds the facts of an image for a kernel, which is built first. Without an SDK, the review says that one is missing.
///
/// # Errors
///
/// The image cannot be built or read.
pub fn add_image(
    review: &mut Review<'_>,
    root: &Path,
    xml: &str,
    kernel: Kernel,
) -> Result<(), IsolationError> {
    let Some(system) = review.system.clone() else {
        let why = format!("{kernel} image: a description that is refused cannot be built");
        review.missing.push(why);
        return Ok(());
    };
    let board = review.board;
    board.check_kernel(kernel)?;
    if review.guest_debug && kernel == Kernel::Sel4 {
        return Err(image::ImageError::GuestDebug.into());
    }
    let request = ImageRequest {
        guest_debug: review.guest_debug,
        ..request(board, kernel)
    };
    let facts = match kernel {
        Kernel::Embedded => {
            let (programs, kernel) = programs(root, &system, board, &request)?;
            let Some(kernel) = kernel else {
                return Ok(());
            };
            let image = image::embedded::assemble(&system, &programs, &kernel, board.ram.range())?;
            embedded::facts(&image.bytes, &image.layout)?
        }
        Kernel::Sel4 => match Sdk::find(board, Config::Release) {
            Ok(sdk) => of_sel4(&sdk, root, &system, xml, board)?,
            Err(error @ (SdkError::Missing { .. } | SdkError::Board { .. })) => {
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                review.missing.push(format!("sel4 image: {first}"));
                return Ok(());
            }
            Err(error) => return Err(image::ImageError::from(error).into()),
        },
    };
    review.add(facts);
    Ok(())
}

fn request(board: &Board, kernel: Kernel) -> ImageRequest {
    ImageRequest {
        board: board.name.clone(),
        kernel,
        ..ImageRequest::default()
    }
}

fn of_sel4(
    sdk: &Sdk,
    root: &Path,
    system: &image::system::System,
    xml: &str,
    board: &Board,
) -> Result<Facts, IsolationError> {
    let name = format!("isolation-{}-sel4", board.name);
    let (directory, _lock) = directory(root, &name)?;
    let (programs, _) = programs(root, system, board, &request(board, Kernel::Sel4))?;
    let list = sdk.build_and_list(&directory, xml, &prefill(xml), &programs)?;
    let memory = sdk.memory().map_err(image::ImageError::from)?;
    capdl::facts(&read(&list)?, system, &memory)
}

/// Reads a text.
///
/// # Errors
///
/// It cannot be read.
pub fn read(path: &Path) -> Result<String, IsolationError> {
    std::fs::read_to_string(path).map_err(|source| IsolationError::File {
        path: path.to_owned(),
        source,
    })
}

/// Writes a text.
///
/// # Errors
///
/// It cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), IsolationError> {
    std::fs::write(path, text).map_err(|source| IsolationError::File {
        path: path.to_owned(),
        source,
    })
}
