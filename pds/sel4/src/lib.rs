//! The part of rust-sel4's sel4 crate that the domains use.
#![cfg_attr(not(test), no_std)]
