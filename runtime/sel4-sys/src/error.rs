// SPDX-License-Identifier: BSD-2-Clause
//! What an invocation answers: the label of the reply message.
//!
//! Numbers from `sel4/errors.h`. Label 0 means that the invocation was done.

use crate::Word;

/// Why an invocation was refused, seL4's `seL4_Error` without `seL4_NoError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum SyscallError {
    /// A value that the object does not accept.
    InvalidArgument = 1,
    /// The slot holds no capability, or one of the wrong kind.
    InvalidCapability = 2,
    /// The object has no such invocation, or refuses it now.
    IllegalOperation = 3,
    /// A value out of range; message registers 0 and 1 hold the smallest and largest allowed.
    RangeError = 4,
    /// A misaligned address.
    AlignmentError = 5,
    /// A capability that the message names could not be found.
    FailedLookup = 6,
    /// The message is shorter than the invocation needs.
    TruncatedMessage = 7,
    /// A slot that must be empty is not.
    DeleteFirst = 8,
    /// An object that must have no descendants has some.
    RevokeFirst = 9,
    /// An untyped object is too small.
    NotEnoughMemory = 10,
}

impl SyscallError {
    /// The error that a reply's label stands for: `None` for success and for no error of seL4's.
    #[must_use]
    pub const fn from_label(label: Word) -> Option<Self> {
        Some(match label {
            1 => Self::InvalidArgument,
            2 => Self::InvalidCapability,
            3 => Self::IllegalOperation,
            4 => Self::RangeError,
            5 => Self::AlignmentError,
            6 => Self::FailedLookup,
            7 => Self::TruncatedMessage,
            8 => Self::DeleteFirst,
            9 => Self::RevokeFirst,
            10 => Self::NotEnoughMemory,
            _ => return None,
        })
    }

    /// The label of the reply message.
    #[must_use]
    pub const fn label(self) -> Word {
        self as Word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_decodes_to_the_error_that_has_it() {
        for label in 1..=10 {
            assert_eq!(SyscallError::from_label(label).unwrap().label(), label);
        }
        assert_eq!(SyscallError::from_label(0), None);
        assert_eq!(SyscallError::from_label(11), None);
    }
}
