// SPDX-License-Identifier: BSD-2-Clause
//! Looking at a machine's state: what a snapshot holds, as people and programs read it.
//!
//! Responsible for: registers by name or identifier, with their fields where that helps; interrupts, timers and memory in
//! words and pictures; what differs between two snapshots. Never: changes what it looks at, except for
//! [`access::set`], which changes a [`State`](crate::snapshot::State) as a restore would write it.

pub mod access;
pub mod diff;
pub mod fields;
pub mod json;
pub mod list;
pub mod live;
pub mod map;
#[cfg(test)]
mod tests;
pub mod text;
mod words;
