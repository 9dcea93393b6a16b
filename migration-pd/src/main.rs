//! The migration agent: collecting records, walking RAM, admission, hand-over: the shell.
#![no_std]
#![no_main]
