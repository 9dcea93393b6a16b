// SPDX-License-Identifier: BSD-2-Clause
//! Where the IPC buffer lies, and that one borrower at a time has it.

use core::ops::{Deref, DerefMut};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::IpcBuffer;

/// The buffer, null until [`set_ipc_buffer`].
static IPC_BUFFER: AtomicPtr<IpcBuffer> = AtomicPtr::new(ptr::null_mut());

/// Whether the buffer is lent out. Shared borrows exclude each other too: nothing nests them.
static BORROWED: AtomicBool = AtomicBool::new(false);

/// The right to use the buffer, given back when dropped.
///
/// This crate takes one where others pass a closure: system calls are to be inlined whatever their
/// size, and a closure cannot ask for that.
pub(crate) struct Loan(NonNull<IpcBuffer>);

impl Loan {
    #[inline(always)]
    pub(crate) fn take() -> Self {
        if begin() {
            nested();
        }
        match NonNull::new(IPC_BUFFER.load(Ordering::Relaxed)) {
            Some(buffer) => Self(buffer),
            None => missing(),
        }
    }
}

impl Deref for Loan {
    type Target = IpcBuffer;

    #[inline(always)]
    fn deref(&self) -> &IpcBuffer {
        // SAFETY: the pointer comes from a `&'static mut` in `set_ipc_buffer`, and while the loan
        // lives, nobody else makes a reference of it.
        unsafe { self.0.as_ref() }
    }
}

impl DerefMut for Loan {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut IpcBuffer {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Loan {
    #[inline(always)]
    fn drop(&mut self) {
        BORROWED.store(false, END);
    }
}

/// How the end of a loan is ordered: on a host, another thread's loan may follow.
const END: Ordering = if cfg!(target_os = "none") {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// Marks the buffer as lent, and returns whether it was.
///
/// A domain has one thread and no signal handlers, so two plain accesses do; on a host, where
/// tests run side by side, it is one atomic step.
#[inline(always)]
fn begin() -> bool {
    if cfg!(target_os = "none") {
        let was = BORROWED.load(Ordering::Relaxed);
        BORROWED.store(true, Ordering::Relaxed);
        was
    } else {
        BORROWED.swap(true, Ordering::Acquire)
    }
}

#[cold]
fn nested() -> ! {
    panic!("IPC buffer already borrowed");
}

#[cold]
fn missing() -> ! {
    BORROWED.store(false, END);
    panic!("IPC buffer not set");
}

/// Runs `f` with the IPC buffer.
///
/// # Panics
///
/// There is none yet, or it is borrowed already: `f` must neither borrow it again nor invoke a
/// capability.
#[inline(always)]
pub fn with_ipc_buffer<F, T>(f: F) -> T
where
    F: FnOnce(&IpcBuffer) -> T,
{
    f(&Loan::take())
}

/// Runs `f` with the IPC buffer.
///
/// # Panics
///
/// There is none yet, or it is borrowed already: `f` must neither borrow it again nor invoke a
/// capability.
#[inline(always)]
pub fn with_ipc_buffer_mut<F, T>(f: F) -> T
where
    F: FnOnce(&mut IpcBuffer) -> T,
{
    f(&mut Loan::take())
}

/// Says where this thread's IPC buffer lies.
///
/// This does not tell the kernel; Microkit has done that.
#[inline(always)]
pub fn set_ipc_buffer(ipc_buffer: &'static mut IpcBuffer) {
    IPC_BUFFER.store(ipc_buffer, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;
    use std::panic::catch_unwind;

    /// One test for all of it, because the state is one.
    #[test]
    fn the_buffer_is_lent_to_one_borrower_at_a_time() {
        assert!(catch_unwind(|| with_ipc_buffer(|_| ())).is_err());
        set_ipc_buffer(Box::leak(Box::default()));
        with_ipc_buffer_mut(|buffer| buffer.msg_regs_mut()[119] = 7);
        assert_eq!(with_ipc_buffer(|buffer| buffer.msg_regs()[119]), 7);
        let nested = || with_ipc_buffer_mut(|_| catch_unwind(|| with_ipc_buffer(|_| ())).is_err());
        assert!(nested());
    }
}
