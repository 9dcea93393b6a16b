// SPDX-License-Identifier: BSD-2-Clause
//! System calls on capabilities.
//!
//! The first four message registers travel in machine registers: a call here takes them from the
//! IPC buffer and puts them there, unless it ends in `_with_mrs`.

use sel4_sys::Syscall;

use crate::arch::{self, FastRegisters, Received};
use crate::state::Loan;
use crate::{Cap, CapType, IpcBuffer, MessageInfo, NUM_FAST_MESSAGE_REGISTERS, Word, cap};

/// The badge of the capability that a message was sent through.
pub type Badge = Word;

/// No reply capability, for a call that takes none.
const NO_REPLY: Word = 0;

/// No message, for a call that does not send.
const NO_MESSAGE: MessageInfo = MessageInfo::from_raw(sel4_sys::MessageInfo::new(0, 0, 0, 0));

/// No destination, for a call that does not send.
const NO_DESTINATION: Word = 0;

impl<T: CapType> Cap<T> {
    /// Sends a message, and waits until somebody receives it.
    #[inline(always)]
    pub fn send(self, info: MessageInfo) {
        self.send_by(Syscall::Send, info);
    }

    /// Sends a message if somebody waits for it.
    #[inline(always)]
    pub fn nb_send(self, info: MessageInfo) {
        self.send_by(Syscall::NBSend, info);
    }

    #[inline(always)]
    fn send_by(self, syscall: Syscall, info: MessageInfo) {
        let mut buffer = Loan::take();
        arch::send(
            syscall,
            self.bits(),
            info.raw(),
            registers(&buffer),
            &mut buffer,
        );
    }

    /// Sends a message if somebody waits for it, and receives one.
    #[inline(always)]
    pub fn nb_send_recv<U: CapType>(
        self,
        info: MessageInfo,
        src: Cap<U>,
        reply_authority: cap::Reply,
    ) -> (MessageInfo, Badge) {
        let from = (src.bits(), reply_authority.bits());
        receive(Syscall::NBSendRecv, from, info, self.bits())
    }

    /// Receives a message.
    #[inline(always)]
    pub fn recv(self, reply_authority: cap::Reply) -> (MessageInfo, Badge) {
        let from = (self.bits(), reply_authority.bits());
        receive(Syscall::Recv, from, NO_MESSAGE, NO_DESTINATION)
    }

    /// Receives a message if there is one; the badge is 0 if there is none.
    #[inline(always)]
    pub fn nb_recv(self, reply_authority: cap::Reply) -> (MessageInfo, Badge) {
        let from = (self.bits(), reply_authority.bits());
        receive(Syscall::NBRecv, from, NO_MESSAGE, NO_DESTINATION)
    }

    /// Sends a message and waits for the reply.
    #[inline(always)]
    pub fn call(self, info: MessageInfo) -> MessageInfo {
        receive(Syscall::Call, (self.bits(), NO_REPLY), info, NO_DESTINATION).0
    }

    /// Replies to the last message, and receives one.
    #[inline(always)]
    pub fn reply_recv(
        self,
        info: MessageInfo,
        reply_authority: cap::Reply,
    ) -> (MessageInfo, Badge) {
        let from = (self.bits(), reply_authority.bits());
        receive(Syscall::ReplyRecv, from, info, NO_DESTINATION)
    }

    /// Sends a message of up to four words, and waits until somebody receives it.
    #[inline(always)]
    pub fn send_with_mrs<M: FastMessages>(self, info: MessageInfo, messages: M) {
        let registers = messages.prepare_in_out();
        arch::send(
            Syscall::Send,
            self.bits(),
            info.raw(),
            registers,
            &mut Loan::take(),
        );
    }

    /// Receives a message, of which up to four words come back at once.
    #[inline(always)]
    pub fn recv_with_mrs(self, reply_authority: cap::Reply) -> RecvWithMRs {
        let received = arch::receive(
            Syscall::Recv,
            self.bits(),
            sel4_sys::MessageInfo::default(),
            [0; NUM_FAST_MESSAGE_REGISTERS],
            reply_authority.bits(),
            NO_DESTINATION,
            &mut Loan::take(),
        );
        RecvWithMRs {
            info: MessageInfo::from_raw(received.info),
            badge: received.badge,
            msg: received.registers,
        }
    }

    /// Sends a message of up to four words and waits for the reply, of which up to four words come
    /// back at once.
    #[inline(always)]
    pub fn call_with_mrs<M: FastMessages>(self, info: MessageInfo, messages: M) -> CallWithMRs {
        let received = self.call_raw(info.raw(), messages.prepare_in_out());
        CallWithMRs {
            info: MessageInfo::from_raw(received.info),
            msg: received.registers,
        }
    }

    /// Calls with a message in machine registers.
    #[inline(always)]
    fn call_raw(self, info: sel4_sys::MessageInfo, registers: FastRegisters) -> Received {
        arch::receive(
            Syscall::Call,
            self.bits(),
            info,
            registers,
            NO_REPLY,
            NO_DESTINATION,
            &mut Loan::take(),
        )
    }
}

impl cap::Notification {
    /// Signals the notification.
    #[inline(always)]
    pub fn signal(self) {
        let info = sel4_sys::MessageInfo::default();
        arch::send(Syscall::Send, self.bits(), info, [0; 4], &mut Loan::take());
    }

    /// Waits for a signal. The badge is the union of the badges signalled.
    #[inline(always)]
    pub fn wait(self) -> (MessageInfo, Badge) {
        let from = (self.bits(), NO_REPLY);
        receive(Syscall::Wait, from, NO_MESSAGE, NO_DESTINATION)
    }

    /// Takes the signal if there is one; the badge is 0 if there is none.
    #[inline(always)]
    pub fn poll(self) -> (MessageInfo, Badge) {
        let from = (self.bits(), NO_REPLY);
        receive(Syscall::NBWait, from, NO_MESSAGE, NO_DESTINATION)
    }
}

/// Gives up the rest of the thread's budget.
pub fn r#yield() {
    arch::simple(Syscall::Yield, 0);
}

/// Receives into the IPC buffer, with a message sent from there first.
///
/// `from` is what to receive from and the reply capability.
#[inline(always)]
fn receive(
    syscall: Syscall,
    from: (Word, Word),
    info: MessageInfo,
    destination: Word,
) -> (MessageInfo, Badge) {
    let mut buffer = Loan::take();
    let sends = !matches!(
        syscall,
        Syscall::Recv | Syscall::NBRecv | Syscall::Wait | Syscall::NBWait
    );
    let mrs = if sends {
        registers(&buffer)
    } else {
        [0; NUM_FAST_MESSAGE_REGISTERS]
    };
    let (source, reply) = from;
    let received = arch::receive(
        syscall,
        source,
        info.raw(),
        mrs,
        reply,
        destination,
        &mut buffer,
    );
    buffer.msg_regs_mut()[..NUM_FAST_MESSAGE_REGISTERS].copy_from_slice(&received.registers);
    (MessageInfo::from_raw(received.info), received.badge)
}

/// The first message registers.
#[inline(always)]
fn registers(buffer: &IpcBuffer) -> FastRegisters {
    let words = buffer.msg_regs();
    [words[0], words[1], words[2], words[3]]
}

/// What [`Cap::recv_with_mrs`] received.
pub struct RecvWithMRs {
    /// What the message is.
    pub info: MessageInfo,
    /// The badge of the capability that it was sent through.
    pub badge: Badge,
    /// Its first words.
    pub msg: [Word; NUM_FAST_MESSAGE_REGISTERS],
}

/// What [`Cap::call_with_mrs`] was answered.
pub struct CallWithMRs {
    /// What the reply is.
    pub info: MessageInfo,
    /// Its first words.
    pub msg: [Word; NUM_FAST_MESSAGE_REGISTERS],
}

/// Up to four words to send.
pub trait FastMessages: sealed::Sealed {
    /// The words, and 0 for each that is missing.
    #[doc(hidden)]
    fn prepare_in_out(self) -> FastRegisters;
}

impl<const N: usize> FastMessages for [Word; N]
where
    [Word; N]: sealed::Sealed,
{
    #[inline(always)]
    fn prepare_in_out(self) -> FastRegisters {
        let mut registers = [0; NUM_FAST_MESSAGE_REGISTERS];
        registers[..N].copy_from_slice(&self);
        registers
    }
}

impl FastMessages for &[Word] {
    #[inline(always)]
    fn prepare_in_out(self) -> FastRegisters {
        let mut registers = [0; NUM_FAST_MESSAGE_REGISTERS];
        registers[..self.len()].copy_from_slice(self);
        registers
    }
}

mod sealed {
    use super::Word;

    pub trait Sealed {}

    impl Sealed for [Word; 0] {}
    impl Sealed for [Word; 1] {}
    impl Sealed for [Word; 2] {}
    impl Sealed for [Word; 3] {}
    impl Sealed for [Word; 4] {}
    impl Sealed for &[Word] {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_missing_are_zero() {
        assert_eq!([1, 2].prepare_in_out(), [1, 2, 0, 0]);
        assert_eq!([1, 2, 3].as_slice().prepare_in_out(), [1, 2, 3, 0]);
    }
}
