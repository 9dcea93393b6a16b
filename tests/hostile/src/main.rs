// SPDX-License-Identifier: BSD-2-Clause
//! A domain that attacks, or bears witness that others live.
//!
//! Responsible for: doing the one thing that a test wrote into it, in the place of whichever domain it was put: at its
//! start, or on the running system. There it waits for a notification or a call, passes the notification on to every
//! peer domain, so that all hostile domains of an image get their turn, and attacks. Must never: reach the line after an
//! attack; if it does, it stays silent, and the test fails because nobody reports it.
#![no_std]
#![no_main]

mod attack;
mod pester;
mod regions;
mod witness;

use core::convert::Infallible;

use attack::Orders;
use hostile_pd::Attack;
use memory_functions as _;
use sel4_microkit::{Channel, ChannelSet, Child, Handler, MessageInfo, pd_name, protection_domain};
use witness::Witness;

struct Hostile {
    orders: Orders,
    witness: Option<Witness>,
    /// How many calls were answered with nonsense.
    answers: usize,
}

#[protection_domain]
fn init() -> Hostile {
    let orders = Orders::given();
    if orders.at_start {
        orders.attack_now();
    }
    Hostile {
        orders,
        witness: Witness::new(pd_name().unwrap_or_default()),
        answers: 0,
    }
}

impl Handler for Hostile {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        let lives = self.orders.attack == Attack::Witness;
        if let Some(witness) = &mut self.witness {
            witness.notified(channels, lives);
        }
        if !lives {
            pester::notify_all();
            self.orders.attack_now();
        }
        Ok(())
    }

    fn protected(&mut self, _: Channel, _: MessageInfo) -> Result<MessageInfo, Infallible> {
        if self.orders.attack == Attack::Answers {
            self.answers += 1;
            pester::disturb(self.answers);
            return Ok(pester::answer(self.answers));
        }
        self.orders.attack_now();
        Ok(MessageInfo::new(0, 0))
    }

    /// No guest is ever started.
    fn fault(&mut self, _: Child, _: MessageInfo) -> Result<Option<MessageInfo>, Infallible> {
        Ok(None)
    }
}
