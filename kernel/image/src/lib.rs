//! The image format of the embedded kernel: what its loader maps and grants.
#![cfg_attr(not(test), no_std)]
