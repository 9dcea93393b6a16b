// SPDX-License-Identifier: BSD-2-Clause
//! The IPC buffer: the page that the domain shares with the kernel.

use crate::{Word, sys};

/// The IPC buffer.
#[derive(Default)]
#[repr(transparent)]
pub struct IpcBuffer(sys::seL4_IPCBuffer);

impl IpcBuffer {
    /// seL4's own view of the buffer.
    #[inline(always)]
    pub const fn inner(&self) -> &sys::seL4_IPCBuffer {
        &self.0
    }

    /// seL4's own view of the buffer.
    #[inline(always)]
    pub fn inner_mut(&mut self) -> &mut sys::seL4_IPCBuffer {
        &mut self.0
    }

    /// The message registers.
    #[inline(always)]
    pub fn msg_regs(&self) -> &[Word] {
        &self.inner().raw().msg
    }

    /// The message registers.
    #[inline(always)]
    pub fn msg_regs_mut(&mut self) -> &mut [Word] {
        &mut self.inner_mut().raw_mut().msg
    }

    /// The message registers, as bytes.
    #[inline(always)]
    pub fn msg_bytes(&self) -> &[u8] {
        let registers = self.msg_regs();
        // SAFETY: any word is eight valid bytes, and a byte has no alignment.
        unsafe { core::slice::from_raw_parts(registers.as_ptr().cast(), size_of_val(registers)) }
    }

    /// The message registers, as bytes.
    #[inline(always)]
    pub fn msg_bytes_mut(&mut self) -> &mut [u8] {
        let registers = self.msg_regs_mut();
        // SAFETY: as above; eight bytes of any value are a valid word.
        unsafe {
            core::slice::from_raw_parts_mut(registers.as_mut_ptr().cast(), size_of_val(registers))
        }
    }

    /// The capabilities to send, or the badges of those that arrived.
    #[inline(always)]
    pub fn caps_or_badges(&self) -> &[Word] {
        &self.inner().raw().caps_or_badges
    }

    /// The capabilities to send, or the badges of those that arrived.
    #[inline(always)]
    pub fn caps_or_badges_mut(&mut self) -> &mut [Word] {
        &mut self.inner_mut().raw_mut().caps_or_badges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_registers_are_the_same_memory() {
        let mut buffer = IpcBuffer::default();
        buffer.msg_regs_mut()[1] = 0x0807_0605_0403_0201;
        assert_eq!(buffer.msg_bytes()[8..16], [1, 2, 3, 4, 5, 6, 7, 8]);
        buffer.msg_bytes_mut()[959] = 0xff;
        assert_eq!(buffer.msg_regs()[119], 0xff00_0000_0000_0000);
    }
}
