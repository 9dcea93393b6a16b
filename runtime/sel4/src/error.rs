// SPDX-License-Identifier: BSD-2-Clause
//! Why an invocation was refused.

use core::{fmt, result};

use sel4_sys::SyscallError;

use crate::{Word, sys};

/// A result of an invocation.
pub type Result<T> = result::Result<T, Error>;

/// Why an invocation was refused; numbered as seL4 does.
#[repr(u32)]
#[derive(Debug, Clone, Copy, Eq, PartialEq)]
pub enum Error {
    /// A value that the object does not accept.
    InvalidArgument = 1,
    /// The slot holds no capability, or one of the wrong kind.
    InvalidCapability = 2,
    /// The object has no such invocation, or refuses it now.
    IllegalOperation = 3,
    /// A value out of range.
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

impl Error {
    /// seL4's number of the error.
    pub const fn into_sys(self) -> sys::seL4_Error::Type {
        self as sys::seL4_Error::Type
    }

    /// The error that has a number of seL4's; `None` for 0, which is success.
    ///
    /// # Panics
    ///
    /// No error has this number.
    pub fn from_sys(error: sys::seL4_Error::Type) -> Option<Self> {
        Self::wrap(Word::from(error)).err()
    }

    /// The outcome that the label of an invocation's reply stands for.
    #[inline(always)]
    pub(crate) fn wrap(label: Word) -> Result<()> {
        if label == 0 {
            Ok(())
        } else {
            Err(Self::from_label(label))
        }
    }

    #[cold]
    fn from_label(label: Word) -> Self {
        match SyscallError::from_label(label) {
            Some(SyscallError::InvalidArgument) => Self::InvalidArgument,
            Some(SyscallError::InvalidCapability) => Self::InvalidCapability,
            Some(SyscallError::IllegalOperation) => Self::IllegalOperation,
            Some(SyscallError::RangeError) => Self::RangeError,
            Some(SyscallError::AlignmentError) => Self::AlignmentError,
            Some(SyscallError::FailedLookup) => Self::FailedLookup,
            Some(SyscallError::TruncatedMessage) => Self::TruncatedMessage,
            Some(SyscallError::DeleteFirst) => Self::DeleteFirst,
            Some(SyscallError::RevokeFirst) => Self::RevokeFirst,
            Some(SyscallError::NotEnoughMemory) => Self::NotEnoughMemory,
            None => panic!("invalid seL4_Error: {label}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seL4_Error: {self:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_numbers_of_sel4() {
        assert_eq!(Error::from_sys(0), None);
        for number in 1..=10 {
            assert_eq!(Error::from_sys(number).unwrap().into_sys(), number);
        }
    }
}
