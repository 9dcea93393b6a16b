// SPDX-License-Identifier: BSD-2-Clause
//! Messages: the info word and the IPC buffer.
//!
//! Layouts from `sel4/shared_types.h` and the bit fields of `sel4/shared_types.pbf`.

use crate::Word;

/// How many words a message can have, `seL4_MsgMaxLength`.
pub const MESSAGE_REGISTERS: usize = 120;

/// How many of them travel in machine registers, `seL4_FastMessageRegisters`.
pub const FAST_MESSAGE_REGISTERS: usize = 4;

/// How many capabilities a message can carry, `seL4_MsgMaxExtraCaps`.
pub const MESSAGE_EXTRA_CAPABILITIES: usize = 3;

/// What a message is: label, capabilities and length in one word, seL4's `seL4_MessageInfo_t`.
///
/// From the lowest bit: length (7), number of capabilities (2), which of them arrived as badges
/// (3), label (52).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct MessageInfo(Word);

impl MessageInfo {
    /// The number of bits of a label.
    pub const LABEL_WIDTH: u32 = 52;

    const EXTRA_CAPS_SHIFT: u32 = 7;
    const CAPS_UNWRAPPED_SHIFT: u32 = 9;
    const LABEL_SHIFT: u32 = 12;
    const LENGTH_MASK: Word = (1 << 7) - 1;
    const EXTRA_CAPS_MASK: Word = (1 << 2) - 1;
    const CAPS_UNWRAPPED_MASK: Word = (1 << 3) - 1;

    /// Packs the fields; bits that a field does not have are dropped.
    #[must_use]
    #[inline(always)]
    pub const fn new(label: Word, caps_unwrapped: Word, extra_caps: Word, length: Word) -> Self {
        Self(
            (label << Self::LABEL_SHIFT)
                | ((caps_unwrapped & Self::CAPS_UNWRAPPED_MASK) << Self::CAPS_UNWRAPPED_SHIFT)
                | ((extra_caps & Self::EXTRA_CAPS_MASK) << Self::EXTRA_CAPS_SHIFT)
                | (length & Self::LENGTH_MASK),
        )
    }

    /// The info that a register holds.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: Word) -> Self {
        Self(word)
    }

    /// The value for a register.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> Word {
        self.0
    }

    /// The label: what the message asks for, or how an invocation went.
    #[must_use]
    #[inline(always)]
    pub const fn label(self) -> Word {
        self.0 >> Self::LABEL_SHIFT
    }

    /// A bit for each capability that arrived as a badge.
    #[must_use]
    #[inline(always)]
    pub const fn caps_unwrapped(self) -> Word {
        (self.0 >> Self::CAPS_UNWRAPPED_SHIFT) & Self::CAPS_UNWRAPPED_MASK
    }

    /// The number of capabilities.
    #[must_use]
    #[inline(always)]
    pub const fn extra_caps(self) -> Word {
        (self.0 >> Self::EXTRA_CAPS_SHIFT) & Self::EXTRA_CAPS_MASK
    }

    /// The number of words; a receiver must not believe more than [`MESSAGE_REGISTERS`].
    #[must_use]
    #[inline(always)]
    pub const fn length(self) -> Word {
        self.0 & Self::LENGTH_MASK
    }
}

/// The page that a thread shares with the kernel, seL4's `seL4_IPCBuffer`: 1 KiB, aligned to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C, align(1024))]
pub struct IpcBuffer {
    /// Not used by the kernel.
    pub tag: Word,
    /// The words of the message; the first four travel in registers instead.
    pub msg: [Word; MESSAGE_REGISTERS],
    /// Not used by the kernel.
    pub user_data: Word,
    /// Capabilities to send, or the badges of those that arrived.
    pub caps_or_badges: [Word; MESSAGE_EXTRA_CAPABILITIES],
    /// Where a received capability goes: the CNode.
    pub receive_cnode: Word,
    /// Where a received capability goes: the slot.
    pub receive_index: Word,
    /// Where a received capability goes: how many bits of the slot's address count.
    pub receive_depth: Word,
}

impl Default for IpcBuffer {
    fn default() -> Self {
        Self {
            tag: 0,
            msg: [0; MESSAGE_REGISTERS],
            user_data: 0,
            caps_or_badges: [0; MESSAGE_EXTRA_CAPABILITIES],
            receive_cnode: 0,
            receive_index: 0,
            receive_depth: 0,
        }
    }
}

const _: () = assert!(size_of::<IpcBuffer>() == 1024);

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn message_info_fields_are_where_sel4_puts_them() {
        let info = MessageInfo::new(0x8_0000_0000_0001, 0b101, 0b10, 120);
        assert_eq!(
            info.word(),
            0x8000_0000_0000_1000 | (0b101 << 9) | (0b10 << 7) | 120
        );
        assert_eq!(info.label(), 0x8_0000_0000_0001);
        assert_eq!(info.caps_unwrapped(), 0b101);
        assert_eq!(info.extra_caps(), 0b10);
        assert_eq!(info.length(), 120);
        assert_eq!(MessageInfo::from_word(info.word()), info);
    }

    #[test]
    fn an_oversized_field_does_not_reach_its_peer_domain() {
        let info = MessageInfo::new(1 << 52, 8, 4, 128);
        assert_eq!(info.word(), 0);
    }

    #[test]
    fn ipc_buffer_words_are_where_sel4_puts_them() {
        assert_eq!(offset_of!(IpcBuffer, msg), 8);
        assert_eq!(offset_of!(IpcBuffer, user_data), 121 * 8);
        assert_eq!(offset_of!(IpcBuffer, caps_or_badges), 122 * 8);
        assert_eq!(offset_of!(IpcBuffer, receive_depth), 127 * 8);
    }
}
