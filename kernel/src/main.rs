//! The embedded kernel.
#![no_std]
#![no_main]
