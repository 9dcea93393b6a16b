// SPDX-License-Identifier: BSD-2-Clause
//! Text on the console of a kernel that prints.

use core::fmt;

use sel4_sys::Syscall;

use crate::{arch, patched};

/// Prints a character; does nothing on a kernel that cannot.
pub fn debug_put_char(c: u8) {
    if patched::sel4_printing.load() != 0 {
        arch::simple(Syscall::DebugPutChar, c.into());
    }
}

/// Prints what is written to it.
pub struct DebugWrite;

impl fmt::Write for DebugWrite {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        s.bytes().for_each(debug_put_char);
        Ok(())
    }
}

/// Prints formatted text.
#[doc(hidden)]
pub fn debug_print_helper(arguments: fmt::Arguments<'_>) {
    // An error comes from an argument's own formatting: there is nowhere better to report it.
    let _ = fmt::write(&mut DebugWrite, arguments);
}

/// Prints formatted text on the kernel's console.
#[macro_export]
macro_rules! debug_print {
    ($($arg:tt)*) => ($crate::_private::debug_print_helper(format_args!($($arg)*)));
}

/// Prints formatted text and a line end on the kernel's console.
#[macro_export]
macro_rules! debug_println {
    () => ($crate::debug_print!("\n"));
    ($($arg:tt)*) => ($crate::debug_print!("{}\n", format_args!($($arg)*)));
}
