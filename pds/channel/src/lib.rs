//! Typed messages and shared-memory rings between protection domains.
#![cfg_attr(not(test), no_std)]
