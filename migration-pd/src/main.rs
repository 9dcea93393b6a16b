// SPDX-License-Identifier: BSD-2-Clause
//! `migration-pd`, the shell: what the agent decides, done through channels and shared memory.
//!
//! Responsible for: the memory regions and channels that `system.xml` gives this domain. Must
//! never: decide. The domain has nobody who calls it; it runs when notified, and returns.
#![no_std]
#![no_main]

use memory_functions as _;

mod shell;

use channel::ids;
use migration_pd::agent::{Agent, Wake};
use sel4_microkit::{Channel, ChannelSet, Handler, Infallible, protection_domain};
use shell::Shell;

/// The domain: the agent and its shell.
struct Migration {
    agent: Agent<'static>,
    shell: Shell,
}

#[protection_domain]
fn init() -> Migration {
    let (mut shell, heap, compressor) = Shell::new();
    let agent = Agent::new(heap, compressor, &mut shell);
    let mut agent = agent.unwrap_or_else(|error| panic!("{error}"));
    // The guest may have changed its phase before we could hear of it.
    let wake = Wake {
        guest: true,
        heartbeat: false,
    };
    agent.run(&mut shell, wake);
    Migration { agent, shell }
}

impl Handler for Migration {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        let wake = Wake {
            guest: channels.contains(Channel::new(ids::migration::VMM)),
            heartbeat: channels.contains(Channel::new(ids::migration::HEARTBEAT)),
        };
        self.agent.run(&mut self.shell, wake);
        Ok(())
    }
}
