//! Messages over Microkit's protected procedure calls.

use crate::{MAX_WORDS, Message, ProtocolError};
use sel4_microkit::{Channel, MessageInfo, get_mr, set_mr};

/// Puts `message` into the message registers.
#[inline]
pub fn put(message: &Message) -> MessageInfo {
    for (register, word) in message.words().iter().enumerate() {
        set_mr(register, *word);
    }
    MessageInfo::new(message.label(), message.words().len())
}

/// Takes the message that `info` announces out of the message registers.
#[inline]
pub fn take(info: &MessageInfo) -> Result<Message, ProtocolError> {
    let count = info.count();
    if count > MAX_WORDS {
        return Err(ProtocolError::Length {
            label: info.label(),
            found: count,
        });
    }
    Ok(
        (0..count).fold(Message::new(info.label()), |message, register| {
            message.with(get_mr(register))
        }),
    )
}

/// Calls the domain at the other end of `channel` and waits for its answer.
#[inline]
pub fn call(channel: Channel, request: &Message) -> Result<Message, ProtocolError> {
    take(&channel.pp_call(put(request)))
}
