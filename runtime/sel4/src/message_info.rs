// SPDX-License-Identifier: BSD-2-Clause
//! The info word of a message.

use crate::Word;

/// What a message is: its label, its length and the capabilities that it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageInfo(sel4_sys::MessageInfo);

impl MessageInfo {
    /// The info of a message.
    ///
    /// # Panics
    ///
    /// A field is too large for its bits: 7 for the length, 2 for the capabilities, 3 for those
    /// unwrapped, 52 for the label.
    #[inline(always)]
    pub fn new(label: Word, caps_unwrapped: usize, extra_caps: usize, length: usize) -> Self {
        assert!(label >> Self::label_width() == 0);
        assert!(caps_unwrapped < 8 && extra_caps < 4 && length < 128);
        Self(sel4_sys::MessageInfo::new(
            label,
            caps_unwrapped as Word,
            extra_caps as Word,
            length as Word,
        ))
    }

    /// The label.
    #[inline(always)]
    pub fn label(&self) -> Word {
        self.0.label()
    }

    /// The number of bits of a label.
    #[inline(always)]
    pub const fn label_width() -> usize {
        sel4_sys::MessageInfo::LABEL_WIDTH as usize
    }

    /// A bit for each capability that arrived as a badge.
    #[inline(always)]
    pub fn caps_unwrapped(&self) -> usize {
        word_to_usize(self.0.caps_unwrapped())
    }

    /// The number of capabilities.
    #[inline(always)]
    pub fn extra_caps(&self) -> usize {
        word_to_usize(self.0.extra_caps())
    }

    /// The number of words.
    #[inline(always)]
    pub fn length(&self) -> usize {
        word_to_usize(self.0.length())
    }

    #[inline(always)]
    pub(crate) const fn from_raw(raw: sel4_sys::MessageInfo) -> Self {
        Self(raw)
    }

    #[inline(always)]
    pub(crate) const fn raw(&self) -> sel4_sys::MessageInfo {
        self.0
    }
}

/// A word as an index.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "fields of at most 7 bits come here"
)]
const fn word_to_usize(word: Word) -> usize {
    word as usize
}

impl From<MessageInfoBuilder> for MessageInfo {
    #[inline(always)]
    fn from(builder: MessageInfoBuilder) -> Self {
        builder.build()
    }
}

/// Builds a [`MessageInfo`], all of whose fields start as 0.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub struct MessageInfoBuilder {
    label: Word,
    caps_unwrapped: usize,
    extra_caps: usize,
    length: usize,
}

impl MessageInfoBuilder {
    /// The info.
    ///
    /// # Panics
    ///
    /// A field is too large for its bits, as for [`MessageInfo::new`].
    #[inline(always)]
    pub fn build(self) -> MessageInfo {
        MessageInfo::new(
            self.label,
            self.caps_unwrapped,
            self.extra_caps,
            self.length,
        )
    }

    /// Sets the label.
    #[must_use]
    #[inline(always)]
    pub fn label(mut self, label: Word) -> Self {
        self.label = label;
        self
    }

    /// Sets which capabilities arrived as badges.
    #[must_use]
    #[inline(always)]
    pub fn caps_unwrapped(mut self, caps_unwrapped: usize) -> Self {
        self.caps_unwrapped = caps_unwrapped;
        self
    }

    /// Sets the number of capabilities.
    #[must_use]
    #[inline(always)]
    pub fn extra_caps(mut self, extra_caps: usize) -> Self {
        self.extra_caps = extra_caps;
        self
    }

    /// Sets the number of words.
    #[must_use]
    #[inline(always)]
    pub fn length(mut self, length: usize) -> Self {
        self.length = length;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_sets_every_field() {
        let info = MessageInfoBuilder::default()
            .label(7)
            .caps_unwrapped(5)
            .extra_caps(2)
            .length(120);
        assert_eq!(MessageInfo::from(info), MessageInfo::new(7, 5, 2, 120));
        let info = info.build();
        assert_eq!(
            (
                info.label(),
                info.caps_unwrapped(),
                info.extra_caps(),
                info.length()
            ),
            (7, 5, 2, 120)
        );
    }

    #[test]
    #[should_panic(expected = "length < 128")]
    fn a_length_that_does_not_fit_is_refused() {
        let _ = MessageInfo::new(0, 0, 0, 128);
    }
}
