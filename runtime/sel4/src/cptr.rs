// SPDX-License-Identifier: BSD-2-Clause
//! Capability pointers: where a capability lies in the domain's capability space.

use core::fmt;
use core::hash::Hash;
use core::marker::PhantomData;

use crate::Word;

/// The bits of a capability pointer.
pub type CPtrBits = Word;

/// A capability pointer.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct CPtr {
    bits: CPtrBits,
}

impl CPtr {
    /// The bits of the pointer.
    #[inline(always)]
    pub const fn bits(self) -> CPtrBits {
        self.bits
    }

    /// A pointer of these bits; using one that points nowhere is an error of the invocation.
    #[inline(always)]
    pub const fn from_bits(bits: CPtrBits) -> Self {
        Self { bits }
    }

    /// The pointer, taken to point to a capability of type `T`.
    #[inline(always)]
    pub const fn cast<T: CapType>(self) -> Cap<T> {
        Cap::from_cptr(self)
    }
}

/// A pointer to a capability that is taken to be of type `T`.
///
/// Naming the wrong type is harmless: the kernel checks what is there.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Cap<T: CapType> {
    cptr: CPtr,
    _type: PhantomData<T>,
}

impl<T: CapType> Cap<T> {
    /// The capability at a pointer.
    #[inline(always)]
    pub const fn from_cptr(cptr: CPtr) -> Self {
        Self {
            cptr,
            _type: PhantomData,
        }
    }

    /// The capability at a pointer of these bits.
    #[inline(always)]
    pub const fn from_bits(bits: CPtrBits) -> Self {
        Self::from_cptr(CPtr::from_bits(bits))
    }

    /// The pointer.
    #[inline(always)]
    pub const fn cptr(&self) -> CPtr {
        self.cptr
    }

    /// The bits of the pointer.
    #[inline(always)]
    pub const fn bits(&self) -> CPtrBits {
        self.cptr.bits()
    }

    /// The same capability, taken to be of another type.
    #[inline(always)]
    pub fn cast<T1: CapType>(self) -> Cap<T1> {
        Cap::from_cptr(self.cptr)
    }

    /// The same capability, of no particular type.
    #[inline(always)]
    pub fn upcast(self) -> cap::Unspecified {
        self.cast()
    }
}

impl cap::Unspecified {
    /// The same capability, taken to be of a particular type.
    #[inline(always)]
    pub fn downcast<T: CapType>(self) -> Cap<T> {
        self.cast()
    }
}

impl<T: CapType> fmt::Debug for Cap<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple(T::NAME).field(&self.bits()).finish()
    }
}

/// A type of capability.
pub trait CapType: Copy + Clone + Eq + PartialEq + Ord + PartialOrd + Hash {
    /// The name of the type.
    const NAME: &'static str;
}

macro_rules! capability_types {
    ($($(#[$documentation:meta])* $name:ident;)*) => {
        /// Markers of capability types, for [`Cap`].
        pub mod cap_type {
            $(
                $(#[$documentation])*
                #[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
                pub struct $name;

                impl crate::CapType for $name {
                    const NAME: &'static str = stringify!($name);
                }
            )*
        }

        /// Capabilities of each type.
        pub mod cap {
            $(
                $(#[$documentation])*
                pub type $name = crate::Cap<crate::cap_type::$name>;
            )*
        }
    };
}

capability_types! {
    /// An endpoint, for messages.
    Endpoint;
    /// A notification, for signals.
    Notification;
    /// A thread.
    Tcb;
    /// An interrupt.
    IrqHandler;
    /// A reply object.
    Reply;
    /// A virtual processor.
    VCpu;
    /// An empty slot.
    Null;
    /// Any capability.
    Unspecified;
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn a_capability_prints_its_type_and_its_slot() {
        assert_eq!(std::format!("{:?}", cap::VCpu::from_bits(330)), "VCpu(330)");
        assert_eq!(
            std::format!("{:?}", cap::VCpu::from_bits(330).upcast()),
            "Unspecified(330)"
        );
    }
}
