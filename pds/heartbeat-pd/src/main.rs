// SPDX-License-Identifier: BSD-2-Clause
//! `heartbeat-pd`: wakes `migration-pd` when it has asked for that, a period of its own scheduling context later.
//!
//! Responsible for: one notification for each one that it gets, by a clock that no guest can touch: the kernel's own timer,
//! which brings a new budget in each period. `system.xml` says how long that is. It sleeps whenever nobody has asked, so
//! that an idle board stays idle. Must never: know what the time is for.
#![no_std]
#![no_main]

use memory_functions as _;

use channel::ids::heartbeat::MIGRATION;
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, protection_domain};

/// The domain.
struct Heartbeat;

#[protection_domain]
fn init() -> Heartbeat {
    Heartbeat
}

impl Handler for Heartbeat {
    type Error = Infallible;

    fn notified(&mut self, _channels: ChannelSet) -> Result<(), Infallible> {
        // MCS: what is left of the budget is gone, and the thread continues when the next period brings a new one.
        sel4::r#yield();
        Channel::new(MIGRATION).notify();
        Ok(())
    }
}
