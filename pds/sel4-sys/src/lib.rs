//! Numbers of the seL4 16.0.0 and Microkit 2.3.0 interface that the domains use.
#![cfg_attr(not(test), no_std)]
