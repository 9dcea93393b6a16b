//! The migration and management link: the shell.
#![no_std]
#![no_main]
