// SPDX-License-Identifier: BSD-2-Clause
//! System calls: their numbers, and which register holds what.
//!
//! A domain issues `svc #0` with the number in `x7`. Going in, `x0` is the capability to invoke or
//! to receive from, `x1` the message info, `x2` to `x5` the first four words of the message, `x6`
//! the reply capability where the call receives, and for the combined `NBSend` calls `x8` the
//! capability to send to. Coming out, `x0` is the badge, `x1` the message info, `x2` to `x5` the
//! first four words; every other register is preserved.
//!
//! Numbers from `sel4/syscall.h`; the same in every configuration.

use crate::Word;

/// A system call of the MCS kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Syscall {
    /// Send and wait for the reply.
    Call = -1,
    /// Reply through the reply capability, then receive.
    ReplyRecv = -2,
    /// Send without waiting for a receiver, then receive with a reply capability. Threads refuse to
    /// be invoked by the sending half; interrupt handlers and vCPUs do not.
    NBSendRecv = -3,
    /// Send without waiting for a receiver, then receive without one.
    NBSendWait = -4,
    /// Send, waiting for a receiver; on a notification: signal; on an object: invoke.
    Send = -5,
    /// Send only if a receiver waits.
    NBSend = -6,
    /// Receive, with a reply capability for the caller.
    Recv = -7,
    /// Receive only if something is there.
    NBRecv = -8,
    /// Receive without a reply capability.
    Wait = -9,
    /// Receive without a reply capability, only if something is there.
    NBWait = -10,
    /// Give up the rest of the budget.
    Yield = -11,
    /// Print the character in `x0`; exists only in a kernel that prints.
    DebugPutChar = -12,
}

impl Syscall {
    /// The value of `x7`.
    #[must_use]
    pub const fn word(self) -> Word {
        (self as i64).cast_unsigned()
    }

    /// The call that a value of `x7` asks for, if it is one of ours.
    #[must_use]
    pub const fn from_word(word: Word) -> Option<Self> {
        Some(match word.cast_signed() {
            -1 => Self::Call,
            -2 => Self::ReplyRecv,
            -3 => Self::NBSendRecv,
            -4 => Self::NBSendWait,
            -5 => Self::Send,
            -6 => Self::NBSend,
            -7 => Self::Recv,
            -8 => Self::NBRecv,
            -9 => Self::Wait,
            -10 => Self::NBWait,
            -11 => Self::Yield,
            -12 => Self::DebugPutChar,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_decodes_to_the_call_that_has_it() {
        for number in -12_i64..=-1 {
            let call = Syscall::from_word(number.cast_unsigned()).unwrap();
            assert_eq!(call.word(), number.cast_unsigned());
        }
        assert_eq!(Syscall::from_word(0), None);
        assert_eq!(Syscall::from_word((-13_i64).cast_unsigned()), None);
    }
}
