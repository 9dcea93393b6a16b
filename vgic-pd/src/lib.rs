//! The virtual GIC: distributor, CPU interface state, choice of list registers.
#![cfg_attr(not(test), no_std)]
