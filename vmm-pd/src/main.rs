//! The vCPUs: exits, emulation, PSCI, boot, capture and restore: the shell.
#![no_std]
#![no_main]
