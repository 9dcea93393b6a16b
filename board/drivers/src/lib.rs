//! Register-level drivers of the boards' devices.
#![cfg_attr(not(test), no_std)]
