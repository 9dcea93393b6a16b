//! The vCPUs: exits, emulation, PSCI, boot, capture and restore.
#![cfg_attr(not(test), no_std)]
