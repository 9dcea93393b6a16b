// SPDX-License-Identifier: BSD-2-Clause
//! What Microkit's tool writes into the domain's ELF file.
//!
//! The tool finds symbols by name and refuses a domain that lacks one, so they must exist even
//! when nothing reads them: they are `#[used]`, and the linker script keeps their section.

use core::str::{self, Utf8Error};

use sel4_sys::microkit::NAME_LENGTH;

/// A value that the tool sets, such as by `setvar`: `var!(symbol: Type = default)`, a
/// `&'static Type`.
#[macro_export]
macro_rules! var {
    ($(#[$attrs:meta])* $symbol:ident: $ty:ty = $default:expr) => {{
        $(#[$attrs])*
        #[used]
        #[unsafe(no_mangle)]
        #[cfg_attr(target_os = "none", unsafe(link_section = ".data.patched"))]
        #[allow(non_upper_case_globals)]
        static $symbol: $crate::_private::Patched<$ty> = $crate::_private::Patched::new($default);

        $symbol.get()
    }}
}

/// Where the tool mapped a memory region, from `setvar_vaddr`: a `NonNull` of the type named.
///
/// Three forms: `symbol: *mut T`, the same with `, bytes = size` to assert the size of `T`, and
/// `symbol: *mut [T], n = count`.
#[macro_export]
macro_rules! memory_region_symbol {
    ($(#[$attrs:meta])* $symbol:ident: *mut $ty:ty, bytes = $bytes:expr $(,)?) => {{
        assert!($bytes == core::mem::size_of::<$ty>());
        $crate::memory_region_symbol!($(#[$attrs])* $symbol: *mut $ty)
    }};
    ($(#[$attrs:meta])* $symbol:ident: *mut [$ty:ty], n = $n:expr $(,)?) => {{
        core::ptr::NonNull::slice_from_raw_parts(
            $crate::memory_region_symbol!($(#[$attrs])* $symbol: *mut $ty),
            $n,
        )
    }};
    ($(#[$attrs:meta])* $symbol:ident: *mut $ty:ty $(,)?) => {{
        core::ptr::NonNull::new(*$crate::var!($(#[$attrs])* $symbol: usize = 0) as *mut $ty)
            .unwrap_or_else(|| panic!("{} is null", stringify!($symbol)))
    }};
}

macro_rules! patched {
    ($($(#[$documentation:meta])* $symbol:ident: $ty:ty = $default:expr;)*) => {
        $(
            $(#[$documentation])*
            #[used]
            #[unsafe(no_mangle)]
            #[allow(non_upper_case_globals, reason = "the name of an ELF symbol")]
            #[cfg_attr(target_os = "none", unsafe(link_section = ".data.patched"))]
            static $symbol: crate::_private::Patched<$ty> =
                crate::_private::Patched::new($default);
        )*
    };
}

patched! {
    /// The domain's name, filled up with zeros.
    microkit_name: [u8; NAME_LENGTH] = [0; NAME_LENGTH];
    /// Whether the domain gives its time back once it has started.
    microkit_passive: u8 = 0;
    /// A bit for each channel that is an interrupt.
    microkit_irqs: usize = 0;
    /// A bit for each channel that the domain may notify.
    microkit_notifications: usize = 0;
    /// A bit for each channel that the domain may call.
    microkit_pps: usize = 0;
    /// A bit for each x86 I/O port; the tool wants the symbol on every architecture.
    microkit_ioports: usize = 0;
}

/// Whether the domain is passive: after its start it runs on its callers' time only.
#[inline(always)]
pub fn pd_is_passive() -> bool {
    microkit_passive.load() != 0
}

/// A bit for each channel that is an interrupt.
#[inline(always)]
pub(crate) fn pd_irqs() -> usize {
    microkit_irqs.load()
}

/// A bit for each channel that the domain may notify.
#[inline(always)]
pub(crate) fn pd_notifications() -> usize {
    microkit_notifications.load()
}

/// A bit for each channel that the domain may call.
#[inline(always)]
pub(crate) fn pd_pps() -> usize {
    microkit_pps.load()
}

/// The domain's name.
///
/// # Errors
///
/// It is cut in the middle of a character, or not text.
pub fn pd_name() -> Result<&'static str, Utf8Error> {
    let name = microkit_name.get();
    let length = name.iter().take_while(|byte| **byte != 0).count();
    str::from_utf8(&name[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpatched_domain_has_no_name_and_no_channels() {
        assert_eq!(pd_name(), Ok(""));
        assert!(!pd_is_passive());
        assert_eq!((pd_irqs(), pd_notifications(), pd_pps()), (0, 0, 0));
    }

    #[test]
    fn a_variable_has_its_default_until_it_is_patched() {
        assert_eq!(*var!(sel4_microkit_test_variable: u64 = 42), 42);
    }

    #[test]
    #[should_panic(expected = "sel4_microkit_test_region is null")]
    fn a_region_that_was_not_mapped_is_refused() {
        let _ = memory_region_symbol!(sel4_microkit_test_region: *mut [u8], n = 4096);
    }
}
