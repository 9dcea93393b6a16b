// SPDX-License-Identifier: BSD-2-Clause
//! Messages of calls and faults, and the message registers.

/// A message's label.
pub type MessageLabel = sel4::Word;

/// A word of a message.
pub type MessageRegisterValue = sel4::Word;

/// What a message is: its label and how many words it has.
#[derive(Debug, Clone)]
pub struct MessageInfo {
    inner: sel4::MessageInfo,
}

impl MessageInfo {
    /// seL4's view of it.
    #[doc(hidden)]
    #[inline(always)]
    pub fn from_inner(inner: sel4::MessageInfo) -> Self {
        Self { inner }
    }

    /// seL4's view of it.
    #[doc(hidden)]
    #[inline(always)]
    pub fn inner(&self) -> &sel4::MessageInfo {
        &self.inner
    }

    /// seL4's view of it.
    #[doc(hidden)]
    #[inline(always)]
    pub fn into_inner(self) -> sel4::MessageInfo {
        self.inner
    }

    /// A message of a label and a number of words.
    ///
    /// # Panics
    ///
    /// The label has more than 52 bits, or the number more than 7.
    #[inline(always)]
    pub fn new(label: MessageLabel, count: usize) -> Self {
        Self::from_inner(sel4::MessageInfo::new(label, 0, 0, count))
    }

    /// The label.
    #[inline(always)]
    pub fn label(&self) -> MessageLabel {
        self.inner.label()
    }

    /// The number of bits of a label.
    pub const fn label_width() -> usize {
        sel4::MessageInfo::label_width()
    }

    /// The number of words. The sender chose it: there are no more than 120 message registers.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.inner.length()
    }

    /// The fault that the message reports, which must be one's.
    #[inline(always)]
    pub fn fault(&self) -> sel4::Fault {
        sel4::with_ipc_buffer(|ipc_buffer| sel4::Fault::new(ipc_buffer, self.inner()))
    }
}

impl Default for MessageInfo {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

/// Runs `f` with the message registers.
#[inline(always)]
pub fn with_msg_regs<T>(f: impl FnOnce(&[MessageRegisterValue]) -> T) -> T {
    sel4::with_ipc_buffer(|ipc_buffer| f(ipc_buffer.msg_regs()))
}

/// Runs `f` with the message registers.
#[inline(always)]
pub fn with_msg_regs_mut<T>(f: impl FnOnce(&mut [MessageRegisterValue]) -> T) -> T {
    sel4::with_ipc_buffer_mut(|ipc_buffer| f(ipc_buffer.msg_regs_mut()))
}

/// Runs `f` with the message registers, as bytes.
#[inline(always)]
pub fn with_msg_bytes<T>(f: impl FnOnce(&[u8]) -> T) -> T {
    sel4::with_ipc_buffer(|ipc_buffer| f(ipc_buffer.msg_bytes()))
}

/// Runs `f` with the message registers, as bytes.
#[inline(always)]
pub fn with_msg_bytes_mut<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    sel4::with_ipc_buffer_mut(|ipc_buffer| f(ipc_buffer.msg_bytes_mut()))
}

/// Sets a message register.
///
/// # Panics
///
/// `i` is above 119.
#[inline(always)]
pub fn set_mr(i: usize, value: MessageRegisterValue) {
    with_msg_regs_mut(|regs| regs[i] = value);
}

/// Gets a message register.
///
/// # Panics
///
/// `i` is above 119.
#[inline(always)]
pub fn get_mr(i: usize) -> MessageRegisterValue {
    with_msg_regs(|regs| regs[i])
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;

    /// One test for all of it, because there is one IPC buffer.
    #[test]
    fn message_registers_are_the_words_of_the_ipc_buffer() {
        sel4::set_ipc_buffer(Box::leak(Box::default()));
        set_mr(0, 0x4000_0000);
        set_mr(119, 7);
        assert_eq!((get_mr(0), get_mr(119)), (0x4000_0000, 7));
        assert_eq!(with_msg_bytes(|bytes| (bytes.len(), bytes[3])), (960, 0x40));

        with_msg_regs_mut(|regs| regs[..4].copy_from_slice(&[1, 2, 0, 4]));
        let sel4::Fault::VmFault(abort) = MessageInfo::new(6, 4).fault() else {
            panic!("not an abort");
        };
        assert_eq!((abort.ip(), abort.addr(), abort.fsr()), (1, 2, 4));
    }
}
