//! The migration and management link.
#![cfg_attr(not(test), no_std)]
