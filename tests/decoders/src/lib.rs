// SPDX-License-Identifier: BSD-2-Clause
//! What every decoder promises of bytes that somebody else wrote, whatever they are.
//!
//! Responsible for: one function a decoder that takes arbitrary bytes and panics if a promise is broken. The promises: no
//! panic; no more memory allocated than a bound that is said here; and whatever is accepted is what we would have written,
//! byte for byte. Must never: pass over an input because it is unlikely; bytes that must carry a checksum are given one,
//! so that what lies behind it is reached.
//!
//! The functions are called by the libFuzzer targets in `fuzz/` (`cargo fuzz run records`, see `docs/fuzzing.md`) and by
//! `tests/bounded.rs`, which needs nothing but stable Rust and runs with all other tests.
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod allocation;
mod bundles;
mod channels;
mod lines;
pub mod mutate;
mod protocol;
mod records;
mod samples;
mod snapshots;

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;

/// A decoder to be tried.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The target's name in `fuzz/`.
    pub name: &'static str,
    /// Tries arbitrary bytes; panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Bytes to begin with, which get far.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "records",
        run: records::run,
        seeds: records::seeds,
    },
    Target {
        name: "snapshots",
        run: snapshots::run,
        seeds: snapshots::seeds,
    },
    Target {
        name: "frames",
        run: protocol::frames,
        seeds: protocol::frame_seeds,
    },
    Target {
        name: "messages",
        run: protocol::messages,
        seeds: protocol::message_seeds,
    },
    Target {
        name: "pages",
        run: protocol::pages,
        seeds: protocol::page_seeds,
    },
    Target {
        name: "lines",
        run: lines::run,
        seeds: lines::seeds,
    },
    Target {
        name: "bundles",
        run: bundles::run,
        seeds: bundles::seeds,
    },
    Target {
        name: "channels",
        run: channels::run,
        seeds: channels::seeds,
    },
];

/// The target of this name.
///
/// # Panics
///
/// There is none.
#[must_use]
pub fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no target {name:?}"))
}
