// SPDX-License-Identifier: BSD-2-Clause
//! How a domain starts, and how it stops.

use crate::Handler;

/// Runs the domain; the macros call it on the domain's own stack.
#[doc(hidden)]
#[inline(always)]
pub fn run_main<T: Handler>(init: impl FnOnce() -> T) -> ! {
    set_ipc_buffer();
    match init().run() {
        Ok(never) => match never {},
        Err(error) => panic!("main thread terminated with error: {error}"),
    }
}

#[cfg(target_os = "none")]
#[inline(always)]
fn set_ipc_buffer() {
    let address = sel4_sys::ipc_buffer_address(sel4::_private::user_top()) as *mut sel4::IpcBuffer;
    // SAFETY: Microkit maps a page there for this thread alone, and this runs once.
    sel4::set_ipc_buffer(unsafe { &mut *address });
}

/// On a host there is no such page, and nothing that would run a domain.
#[cfg(not(target_os = "none"))]
fn set_ipc_buffer() {}

/// Says why, if the kernel prints, and stops the domain for good.
///
/// The store to an address that is never mapped is how the kernel learns of it: the monitor
/// reports a fault at [`sel4_sys::PANIC_ADDRESS`] of the domain's name.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "printing")]
    sel4::debug_println!("{}: {info}", crate::pd_name().unwrap_or("?"));
    let (file, line) = info
        .location()
        .map_or(("", 0), |location| (location.file(), location.line()));
    loop {
        // SAFETY: the store faults before it changes anything, and the kernel does not resume.
        unsafe {
            core::arch::asm!(
                "strb wzr, [x3]",
                in("x0") file.as_ptr(),
                in("x1") file.len(),
                in("w2") line,
                in("x3") sel4_sys::PANIC_ADDRESS,
                options(nostack),
            );
        }
    }
}
