//! A bare-metal guest that measures exits.
#![no_std]
#![no_main]
