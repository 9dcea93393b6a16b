//! The virtual timers: the VM-wide count and offset, wake-ups, the release gate.
#![cfg_attr(not(test), no_std)]
