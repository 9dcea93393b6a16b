// SPDX-License-Identifier: BSD-2-Clause
//! Text on the console of a kernel that prints: here, nothing, because the feature is off.
//!
//! The arguments are checked as they would be with the feature, and never evaluated.

/// Does nothing: the feature `printing` is off.
#[cfg(not(feature = "printing"))]
#[macro_export]
macro_rules! debug_print {
    ($($arg:tt)*) => {{
        let _ = || {
            let _ = ::core::format_args!($($arg)*);
        };
    }};
}

/// Does nothing: the feature `printing` is off.
#[cfg(not(feature = "printing"))]
#[macro_export]
macro_rules! debug_println {
    () => {{}};
    ($($arg:tt)*) => {
        $crate::debug_print!($($arg)*)
    };
}
