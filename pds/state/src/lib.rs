//! The register table and the canonical records of a virtual machine's state.
#![cfg_attr(not(test), no_std)]
