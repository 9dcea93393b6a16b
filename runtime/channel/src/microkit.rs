// SPDX-License-Identifier: BSD-2-Clause
//! Messages over Microkit's protected procedure calls.

use crate::{Message, ProtocolError};
use sel4_microkit::{Channel, MessageInfo, with_msg_regs, with_msg_regs_mut};

/// Puts `message` into the message registers.
#[inline]
pub fn put(message: &Message) -> MessageInfo {
    let words = message.words();
    with_msg_regs_mut(|registers| {
        for (register, word) in registers.iter_mut().zip(words) {
            *register = *word;
        }
    });
    MessageInfo::new(message.label(), words.len())
}

/// Takes the message that `info` announces out of the message registers.
#[inline]
pub fn take(info: &MessageInfo) -> Result<Message, ProtocolError> {
    let mut message = Message::new(info.label());
    take_into(info, &mut message)?;
    Ok(message)
}

/// Like [`take`], in the place of another message.
#[inline]
pub fn take_into(info: &MessageInfo, message: &mut Message) -> Result<(), ProtocolError> {
    let (label, found) = (info.label(), info.count());
    with_msg_regs(|registers| {
        let words = registers.get(..found);
        message.receive(label, words.ok_or(ProtocolError::Length { label, found })?)
    })
}

/// Calls the domain at the other end of `channel` and waits for its answer.
#[inline]
pub fn call(channel: Channel, request: &Message) -> Result<Message, ProtocolError> {
    take(&channel.pp_call(put(request)))
}
