//! The part of rust-sel4's sel4-microkit crate that the domains use.
#![cfg_attr(not(test), no_std)]
