// SPDX-License-Identifier: BSD-2-Clause
//! The event loop.

use core::fmt;

use crate::defer::PreparedDeferredAction;
use crate::ipc::{self, Event};
use crate::symbols::pd_irqs;
use crate::{Channel, ChannelSet, Child, DeferredAction, MessageInfo, pd_is_passive};

pub use core::convert::Infallible;

/// What a domain does when something arrives. Each method panics unless implemented.
///
/// A domain has one reply object: a fault that is not answered at once is answered later by
/// resuming the thread, not by a message.
pub trait Handler {
    /// Why the domain cannot continue.
    type Error: fmt::Display;

    /// Other domains or interrupts notified these channels.
    ///
    /// # Errors
    ///
    /// The domain cannot continue: it stops for good.
    fn notified(&mut self, channels: ChannelSet) -> Result<(), Self::Error> {
        panic!(
            "unexpected notification from channels {}",
            channels.display()
        )
    }

    /// Another domain calls, and waits for the answer that this returns.
    ///
    /// # Errors
    ///
    /// The domain cannot continue: it stops for good, and the caller waits for ever.
    fn protected(
        &mut self,
        channel: Channel,
        msg_info: MessageInfo,
    ) -> Result<MessageInfo, Self::Error> {
        panic!(
            "unexpected protected procedure call from channel {channel:?} with msg_info={msg_info:?}"
        )
    }

    /// A child or a vCPU has a fault. Returning a message lets it run on.
    ///
    /// # Errors
    ///
    /// The domain cannot continue: it stops for good.
    fn fault(
        &mut self,
        child: Child,
        msg_info: MessageInfo,
    ) -> Result<Option<MessageInfo>, Self::Error> {
        panic!("unexpected fault from protection domain {child:?} with msg_info={msg_info:?}")
    }

    /// An action to do before the next event, in the same system call if there is no answer to
    /// give.
    fn take_deferred_action(&mut self) -> Option<DeferredAction> {
        None
    }

    /// Handles events until that fails.
    ///
    /// # Errors
    ///
    /// One of the other methods failed.
    #[doc(hidden)]
    #[inline(always)]
    fn run(&mut self) -> Result<Never, Self::Error> {
        acknowledge_interrupts();
        let mut reply: Option<MessageInfo> = None;
        let mut deferred = pd_is_passive().then(ipc::forfeit_sc);
        loop {
            match next_event(reply.take(), deferred.take()) {
                Event::Notified(channels) => self.notified(channels)?,
                Event::Protected(channel, msg_info) => {
                    reply = Some(self.protected(channel, msg_info)?);
                }
                Event::Fault(child, msg_info) => reply = self.fault(child, msg_info)?,
            }
            deferred = self.take_deferred_action().map(DeferredAction::prepare);
        }
    }
}

/// Answers and does what is due, and waits for the next event.
#[inline(always)]
fn next_event(reply: Option<MessageInfo>, deferred: Option<PreparedDeferredAction>) -> Event {
    match (reply, deferred) {
        (Some(msg_info), None) => ipc::reply_recv(msg_info),
        (Some(msg_info), Some(action)) => {
            ipc::send(action);
            ipc::reply_recv(msg_info)
        }
        (None, Some(action)) => ipc::nb_send_recv(action),
        (None, None) => ipc::recv(),
    }
}

/// Acknowledges every interrupt once: one that came before the domain started would otherwise
/// stay masked for ever (seL4 issue 1536).
fn acknowledge_interrupts() {
    let mut bits = pd_irqs();
    while bits != 0 {
        if let Err(error) = Channel::new(bits.trailing_zeros() as usize).irq_ack() {
            panic!("{error}");
        }
        bits &= bits - 1;
    }
}

/// What [`Handler::run`] never returns.
#[doc(hidden)]
pub enum Never {}

impl Handler for Never {
    type Error = Infallible;
}

/// A handler for a domain to which nothing ever arrives.
pub struct NullHandler(());

impl NullHandler {
    /// The handler.
    #[allow(clippy::new_without_default, reason = "the original has no default")]
    pub fn new() -> Self {
        Self(())
    }
}

impl Handler for NullHandler {
    type Error = Infallible;
}
