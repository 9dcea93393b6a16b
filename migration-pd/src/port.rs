// SPDX-License-Identifier: BSD-2-Clause
//! What the agent needs from the outside: the peer domains, guest RAM, the link, the clock.
//!
//! Responsible for: the one boundary between deciding and doing. The shell implements it with
//! channels and shared memory, the tests with a model. Must never: contain a decision.

use crate::ram::GuestRam;
use channel::{Message, ProtocolError, timer, vgic, vmm};
use protocol::fingerprint::Page;
use protocol::{Domain, Pace};

/// Where a bundle lies on a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It came with the board's image, and is not written.
    Image,
    /// It came with a guest from another board or from a file.
    Store,
}

/// The peer domains, guest RAM, the link and the clock, as the agent uses them.
pub trait Port {
    /// Guest RAM.
    type Ram: GuestRam;

    /// Guest RAM.
    fn ram(&mut self) -> &mut Self::Ram;

    /// How many pages there are for a bundle.
    fn bundle_pages(&self, place: Place) -> u32;
    /// Copies a page of a bundle out; zeros where there is none.
    fn bundle_page(&self, place: Place, page: u32, into: &mut Page);
    /// Puts a page of a bundle into the store, if there is such a page.
    fn store(&mut self, page: u32, from: &Page);

    /// Calls `vmm-pd`.
    fn vmm(&mut self, request: &vmm::Request) -> Result<Message, ProtocolError>;
    /// Calls `vgic-pd`.
    fn vgic(&mut self, request: &vgic::Request) -> Result<Message, ProtocolError>;
    /// Calls `timer-pd`.
    fn timer(&mut self, request: &timer::Request) -> Result<Message, ProtocolError>;

    /// Copies what a domain has put into its export region; false if that is shorter than `into`.
    fn exported(&mut self, domain: Domain, into: &mut [u8]) -> bool;
    /// Puts a record into a domain's import region; false if it does not fit.
    fn import(&mut self, domain: Domain, record: &[u8]) -> bool;

    /// The board's counter.
    fn now(&mut self) -> u64;
    /// How many ticks of it are a second; not 0.
    fn frequency(&self) -> u64;

    /// Asks to be woken again after a while of a few ms, which no guest can make longer.
    fn ask_for_heartbeat(&mut self);

    /// How fast the link is.
    fn pace(&self) -> Pace;

    /// Puts bytes into the link's ring; returns how many it took.
    fn send(&mut self, bytes: &[u8]) -> usize;
    /// Takes bytes out of the link's ring; returns how many there were.
    fn receive(&mut self, into: &mut [u8]) -> usize;
    /// Lets the link know of what was sent and received since the last time.
    fn flush(&mut self);
    /// Asks the link for a notification when bytes arrive and, unless `space` is 0, when so many
    /// bytes can be sent. True if one of that is so already: then there may be no notification.
    fn wait(&mut self, space: usize) -> bool;
}
