//! The embedded kernel's decisions that need no hardware.
#![no_std]
