//! A bare-metal guest that fills every register and checks it after a move.
#![no_std]
