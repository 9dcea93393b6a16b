// SPDX-License-Identifier: BSD-2-Clause
//! What differs between kernel configurations, as ELF symbols that the image builder patches.
//!
//! `sel4_invocation_labels` holds the labels of invocations in the order of
//! [`sel4_sys::INVOCATIONS`], eight little-endian bytes each. `sel4_printing` is one such word: 1
//! if the kernel has `DebugPutChar`, and 0 if a domain that uses it would be stopped. `sel4_user_top` is another: the last
//! address of user memory, which depends on how many bits a physical address has.

use core::cell::UnsafeCell;
use core::ptr;

use sel4_sys::{Invocation, InvocationLabels};

use crate::Word;

/// A value in an ELF file that is patched before the domain runs, and constant while it does.
#[doc(hidden)]
#[repr(transparent)]
pub struct Patched<T>(UnsafeCell<T>);

// SAFETY: nothing writes to the value while the domain runs.
unsafe impl<T: Sync> Sync for Patched<T> {}

impl<T> Patched<T> {
    /// A value to patch, and what it is if nobody does.
    pub const fn new(default: T) -> Self {
        Self(UnsafeCell::new(default))
    }

    /// The value that the domain was given.
    ///
    /// The address goes through a barrier for the optimiser, which otherwise may take a static
    /// that it never sees written for its default.
    #[inline(always)]
    pub fn get(&self) -> &T {
        // SAFETY: nothing writes to the value while the domain runs.
        unsafe { &*core::hint::black_box(self.0.get()) }
    }
}

impl<T: Copy> Patched<T> {
    /// The value that the domain was given, with one load.
    #[inline(always)]
    pub fn load(&self) -> T {
        // SAFETY: the pointer comes from a reference; volatile for the reason given at `get`.
        unsafe { ptr::read_volatile(self.0.get()) }
    }
}

/// The labels of the kernel's invocations.
#[used]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name of an ELF symbol")]
#[cfg_attr(target_os = "none", unsafe(link_section = ".data.patched"))]
pub(crate) static sel4_invocation_labels: Patched<InvocationLabels> =
    Patched::new(InvocationLabels::DEFAULT);

/// Whether the kernel prints; there only if the domain does too.
#[cfg(feature = "printing")]
#[used]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name of an ELF symbol")]
#[cfg_attr(target_os = "none", unsafe(link_section = ".data.patched"))]
pub(crate) static sel4_printing: Patched<Word> = Patched::new(0);

/// The last address of user memory.
#[used]
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name of an ELF symbol")]
#[cfg_attr(target_os = "none", unsafe(link_section = ".data.patched"))]
static sel4_user_top: Patched<Word> = Patched::new(sel4_sys::USER_TOP);

/// The last address of user memory in the kernel that the domain runs on.
#[doc(hidden)]
#[must_use]
pub fn user_top() -> Word {
    sel4_user_top.load()
}

/// The label of an invocation in the kernel that the domain runs on.
#[inline(always)]
pub(crate) fn label(invocation: Invocation) -> Word {
    let table = sel4_invocation_labels.0.get().cast::<Word>();
    // SAFETY: the table is an array of words, with one for each invocation; volatile for the
    // reason given at `get`.
    unsafe { ptr::read_volatile(table.add(invocation.index())) }
}

/// The label that acknowledges an interrupt, for combining it with a receive.
#[doc(hidden)]
#[inline(always)]
pub fn irq_ack_label() -> Word {
    label(Invocation::IrqAckIrq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_invocation_has_its_own_label_of_the_table() {
        for invocation in Invocation::ALL {
            assert_eq!(
                label(invocation),
                InvocationLabels::DEFAULT.label(invocation)
            );
        }
    }
}
