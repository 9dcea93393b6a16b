//! The migration agent: collecting records, walking RAM, admission, hand-over.
#![cfg_attr(not(test), no_std)]
