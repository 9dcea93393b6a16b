//! The operator's program as a library, for the system tests.

pub mod guest;
pub mod image;
pub mod prepare;
pub mod qemu;
