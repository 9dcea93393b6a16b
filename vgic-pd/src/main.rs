//! The virtual GIC: distributor, CPU interface state, choice of list registers: the shell.
#![no_std]
#![no_main]
