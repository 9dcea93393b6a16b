// SPDX-License-Identifier: BSD-2-Clause
//! The hand-over: who may run the guest, whatever gets lost on the way.
//!
//! Responsible for: the two state machines, one on each board, as pure functions of state and
//! event. Must never: do anything itself, or look at a clock.
//!
//! # The rules
//!
//! 1. Prepare, then commit. Until it sends [`Commit`](source::Action::Commit) the source may call
//!    the move off at any time, and its guest continues. From then on it never resumes the guest
//!    by itself: only the destination's word, or the operator's, ends the doubt.
//! 2. The destination runs the guest only when a commit for exactly what it prepared arrives.
//!    Until then it may call the move off by itself, and remembers that it did.
//! 3. "Remembers" costs one number: moves are numbered upwards, so a destination answers *aborted*
//!    for every number up to the greatest it has seen, unless it is among those it took over. It
//!    never takes part in a move that is not greater.
//! 4. Only the board that prepared a move can answer for it. Each start of a board has its own
//!    [`Incarnation`](protocol::Incarnation), which the commit and its answers name. Another
//!    one answers *unknown*, and the source stays in doubt; an answer that another one gave
//!    earlier is ignored.
//! 5. A commit can be repeated: the answer is the same. That is how a doubt is resolved after the
//!    link comes back; there is no other question to ask.
//!
//! Messages may be lost, repeated, delayed and overtaken; `tests/handover/main.rs` checks all of it
//! exhaustively on these functions.

pub mod destination;
pub mod memory;
pub mod source;

pub use destination::Destination;
pub use memory::Memory;
pub use source::Source;

/// What a step asks for, in order.
pub type Actions<A> = heapless::Vec<A, 4>;

/// Collects actions; more than fit would be a mistake in a machine of at most four each.
fn actions<A: Copy, const N: usize>(list: [A; N]) -> Actions<A> {
    const { assert!(N <= 4) };
    list.into_iter().collect()
}
