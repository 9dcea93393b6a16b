//! The operator's program as a library, for the system tests.

pub mod guest;
pub mod guest_output;
pub mod image;
pub mod prepare;
pub mod qemu;
pub mod running;
pub mod session;
pub mod tap;
