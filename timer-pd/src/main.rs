//! The virtual timers: the VM-wide count and offset, wake-ups, the release gate: the shell.
#![no_std]
#![no_main]
