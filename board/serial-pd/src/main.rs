//! The console UART: the shell.
#![no_std]
#![no_main]
